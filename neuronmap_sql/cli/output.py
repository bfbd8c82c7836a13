"""Print a result: a table for people, five formats for programs."""

from __future__ import annotations

import shutil
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.files import whole
from neuronmap_sql.warehouse.result import Result
from neuronmap_sql.warehouse.views import quote_name

__all__ = ["FileFormatOption", "Format", "FormatOption", "OutputOption", "emit"]

_SHOWN = 40
"""Rows that the format `table` shows."""


class Format(StrEnum):
    """What to print."""

    table = "table"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"
    arrow = "arrow"
    parquet = "parquet"


FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the rows.", show_default=True)
]
FileFormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        help="table, csv, json, jsonl, arrow or parquet; left out: as the file ends, or a table.",
    ),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write instead of standard output.")
]

_BINARY = (Format.arrow, Format.parquet)
_COPY = {
    Format.csv: "FORMAT csv, HEADER",
    Format.json: "FORMAT json, ARRAY",
    Format.jsonl: "FORMAT json",
}


def emit(result: Result | pa.Table, form: Format | None, output: Path | None = None) -> None:
    """Write a result to standard output or a file.

    Args:
        result: the rows.
        form: how; None: as the file's ending says, or as a table.
        output: the file.

    Raises:
        UsageError: the file cannot be written, the format has no such type, or bytes would go to a
            terminal.
    """
    form = form or _meant(output)
    rows = _named_apart(result.arrow() if isinstance(result, Result) else result)
    try:
        _emit(rows, form, output)
    except pa.ArrowException as error:
        raise UsageError(f"a column cannot be written as {form}: {error}: cast it") from error


def _meant(output: Path | None) -> Format:
    """Return the format that the ending of a file means."""
    ending = output.suffix.lower().removeprefix(".") if output else "txt"
    if ending in ("txt", ""):
        return Format.table
    if ending in list(Format):
        return Format(ending)
    raise UsageError(f"{output}: say with --format what to write: {', '.join(Format)}")


def _emit(rows: pa.Table, form: Format, output: Path | None) -> None:
    if output is None and form is Format.table:
        _show(rows)
        return
    if output is None:
        if form in _BINARY and sys.stdout.isatty():
            raise UsageError(f"--format {form} is not for a terminal: name a file with -o, or pipe")
        _write(rows, form, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        with whole(output) as part, part.open("wb") as file:
            _write(rows, form, file)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror}") from error


def _named_apart(rows: pa.Table) -> pa.Table:
    """Number the columns that share a name (a join's), as polars does: layer, layer_1."""
    names: list[str] = []
    for name in rows.column_names:
        others = sum(name == other for other in rows.column_names[: len(names)])
        names.append(f"{name}_{others}" if others else name)
    return rows.rename_columns(names)


def _show(rows: pa.Table) -> None:
    width = shutil.get_terminal_size((160, 40)).columns
    typer.echo(_table(rows, _SHOWN, max(width, 80)))
    if len(rows) > _SHOWN:
        typer.echo(f"{len(rows):,} rows, {_SHOWN} shown: --format csv prints all", err=True)


def _table(rows: pa.Table, most: int, width: int) -> str:
    """Draw rows as a table; -1 for `most` and `width`: no bound."""
    with pl.Config(
        tbl_rows=most, tbl_cols=-1, tbl_width_chars=width, fmt_str_lengths=100,
        fmt_table_cell_list_len=6, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True,
        tbl_formatting="UTF8_FULL_CONDENSED", tbl_cell_numeric_alignment="RIGHT",
    ):  # fmt: skip
        return str(pl.from_arrow(_intervals_as_text(rows)))


def _intervals_as_text(rows: pa.Table) -> pa.Table:
    """Return rows with text in place of intervals, for which polars has no type."""
    names = [field.name for field in rows.schema if "interval" in str(field.type)]
    if not names:
        return rows
    with duckdb.connect() as con:
        con.register("rows", rows)
        texts = ", ".join(f"{quote_name(name)}::VARCHAR AS {quote_name(name)}" for name in names)
        return con.sql(f"SELECT * REPLACE ({texts}) FROM rows").to_arrow_table()


def _write(rows: pa.Table, form: Format, file: IO[bytes]) -> None:
    if form is Format.arrow:
        with pa.ipc.new_stream(file, rows.schema) as stream:
            stream.write_table(rows)
    elif form is Format.parquet:
        pq.write_table(rows, file)
    elif form is Format.table:
        file.write(f"{_table(rows, -1, -1)}\n".encode())
    else:
        _copy(rows, _COPY[form], file)


def _copy(rows: pa.Table, options: str, file: IO[bytes]) -> None:
    """Let the engine write text: it knows lists, blobs and times."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        path = Path(folder) / "rows"
        con.register("rows", rows)
        source = f"SELECT {_finite(con)} FROM rows" if "json" in options else "FROM rows"
        con.execute(f"COPY ({source}) TO '{path.as_posix()}' ({options})")
        with path.open("rb") as written:
            shutil.copyfileobj(written, file)


def _finite(con: duckdb.DuckDBPyConnection) -> str:
    """Return the columns of `rows` with NULL for NaN and infinities, which JSON has not."""
    found = []
    for name, kind, *_ in con.sql("DESCRIBE rows").fetchall():
        column = quote_name(name)
        if kind in ("FLOAT", "DOUBLE"):
            column = f"CASE WHEN isfinite({column}) THEN {column} END AS {column}"
        elif kind in ("FLOAT[]", "DOUBLE[]"):
            inner = f"[CASE WHEN isfinite(x) THEN x END FOR x IN {column}]"
            column = f"{inner} AS {column}"
        found.append(column)
    return ", ".join(found)
