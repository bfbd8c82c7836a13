"""`neuronmap sql`, `shell`, `queries` and `query`: ask the warehouse."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import duckdb
import polars as pl
import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.output import FileFormatOption, Format, OutputOption, emit
from neuronmap_sql.errors import NeuronMapError, UsageError
from neuronmap_sql.queries.catalog import load
from neuronmap_sql.queries.catalog import queries as all_queries
from neuronmap_sql.warehouse.shell import find_duckdb, shell_command

_WRITES = frozenset(
    getattr(duckdb.StatementType, name)
    for name in ("CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "DROP")
)

__all__ = ["queries", "query", "shell", "sql"]


def sql(
    statement: Annotated[str, typer.Argument(help="SQL; `-` reads it from standard input.")],
    warehouse: WarehouseOption = Path(),
    form: FileFormatOption = None,
    output: OutputOption = None,
) -> None:
    """Run SQL over tables, macros and Python functions."""
    text = sys.stdin.read() if statement == "-" else statement
    if not text.strip():
        raise UsageError("there is no SQL to run")
    _refuse_writing(text)
    with opened(warehouse) as wh:
        emit(wh.sql(text), form, output)


def _refuse_writing(text: str) -> None:
    """Raise UsageError if a statement's effect would be gone with this process."""
    try:
        last = duckdb.extract_statements(text)[-1]
    except (duckdb.Error, IndexError):
        return  # the engine will say what is wrong
    if last.type in _WRITES:
        raise UsageError(
            f"{last.type.name} would be lost: the tables of a warehouse come from runs, and"
            " nothing else is kept. End with a SELECT, or write a file: COPY (...) TO 'file.csv'"
        )


def shell(
    warehouse: WarehouseOption = Path(),
    python: Annotated[
        bool, typer.Option("--python", help="Our own prompt, with the Python functions.")
    ] = False,
) -> None:
    """Open the DuckDB shell on the warehouse, or our own prompt where there is none."""
    with opened(warehouse) as wh:
        if program := None if python else find_duckdb():
            raise typer.Exit(subprocess.call(shell_command(wh.path, program)))
        typer.echo("A semicolon ends a statement, Ctrl-D the session.", err=True)
        for text in _statements():
            try:
                emit(wh.sql(text), Format.table)
            except NeuronMapError as error:
                typer.echo(f"error: {error}", err=True)


def queries(
    name: Annotated[str | None, typer.Argument(help="Show this one in full.")] = None,
) -> None:
    """List the named queries; with a name, show what it does, its parameters and its SQL."""
    if name is None:
        rows = [
            {"topic": q.topic, "query": q.name, "title": q.title,
             "parameters": " ".join(p.name for p in q.params)}
            for q in all_queries().values()
        ]  # fmt: skip
        with pl.Config(
            tbl_rows=-1, tbl_width_chars=200, fmt_str_lengths=100, tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True, tbl_formatting="UTF8_FULL_CONDENSED",
        ):  # fmt: skip
            typer.echo(str(pl.DataFrame(rows).sort("topic", "query")))
        return
    typer.echo(load(name).path.read_text(encoding="utf-8"))


def query(
    name: Annotated[str, typer.Argument(help="Named query; `neuronmap queries` lists them.")],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="name=value of a parameter. Repeatable."),
    ] = None,
    warehouse: WarehouseOption = Path(),
    form: FileFormatOption = None,
    output: OutputOption = None,
) -> None:
    """Run a named query."""
    values: dict[str, object] = {}
    for pair in param or []:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UsageError(f"--param {pair}: write name=value")
        values[key.strip()] = value
    with opened(warehouse) as wh:
        emit(wh.query(name, **values), form, output)


def _statements() -> Iterator[str]:
    """Ask for lines until one ends with a semicolon; what is left at the end is asked too."""
    lines: list[str] = []
    while (line := _line("...> " if lines else "neuronmap> ")) is not None:
        lines += [line] * bool(lines or line.strip())
        if line.rstrip().endswith(";"):
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _line(prompt: str) -> str | None:
    """Ask for a line; None at the end. The prompt is for people: piped SQL gets none."""
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except EOFError:
        return None
