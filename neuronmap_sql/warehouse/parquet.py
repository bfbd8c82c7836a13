"""How tables are written as Parquet: checked against their declaration, packed for their use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neuronmap_sql.errors import StoreError, nearest
from neuronmap_sql.warehouse.files import whole
from neuronmap_sql.warehouse.schema import arrow_schema

__all__ = ["conform", "parquet_options", "write_parquet"]


def parquet_options(table: str) -> dict[str, Any]:
    """Return the options of `pq.ParquetWriter` and `pq.write_table` for a table.

    Half-precision blocks stay uncompressed: zstd takes 14 % off them and two thirds of the write
    speed. Floats are split by byte, after which zstd finds what little they repeat; all the rest
    repeats itself and gets a dictionary.
    """
    return _options(arrow_schema(table))


def write_parquet(path: Path, rows: pa.Table) -> None:
    """Write rows that `conform` returned, whole or not at all."""
    with whole(path) as part:
        pq.write_table(rows, part, **_options(rows.schema))


def conform(table: str, rows: pa.Table, run: str) -> pa.Table:
    """Return rows with the table's columns in order and type, and the column `run`.

    `docs` may have further columns, the labels, which follow with their own types.

    Raises:
        StoreError: a column is missing, unknown or of another type, or holds NULL, NaN or an
            infinite number where the table has none.
    """
    schema = arrow_schema(table)
    labels = _labels(table, rows)
    named = {**{name: rows[name] for name in rows.column_names}, "run": pa.nulls(len(rows))}
    named["run"] = pa.array([run] * 1 if len(rows) else [], pa.string()).take(
        pa.array([0] * len(rows), pa.int32())
    )
    missing = [name for name in schema.names if name not in named]
    if missing:
        raise StoreError(f"rows of {table} lack the column {missing[0]!r}")
    columns = [_cast(table, field, named[field.name]) for field in schema]
    for field, column in zip(schema, columns, strict=True):
        _refuse_gaps(table, field, column)
    fields = [*schema, *(rows.schema.field(name) for name in labels)]
    return pa.table([*columns, *(rows[name] for name in labels)], schema=pa.schema(fields))


def _labels(table: str, rows: pa.Table) -> list[str]:
    """Return the columns beyond the declared ones; only `docs` may have them."""
    known = arrow_schema(table).names
    extra = [name for name in rows.column_names if name not in known]
    if table != "docs" and extra:
        raise StoreError(f"{table} has no column {extra[0]!r}{nearest(extra[0], known)}")
    # SQL does not tell capitals from small letters.
    taken = {name.lower() for name in known}
    for name in extra:
        if name.lower() in taken:
            raise StoreError(f"label {name!r} has the name of another column of docs: rename it")
        taken.add(name.lower())
        _refuse_gaps(table, rows.schema.field(name), rows[name])
    return extra


def _cast(table: str, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column if column.type == field.type else column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise StoreError(f"{table}.{field.name} must be {field.type}: {error}") from error


def _refuse_gaps(table: str, field: pa.Field, column: pa.ChunkedArray) -> None:
    if not field.nullable and column.null_count:
        raise StoreError(f"{table}.{field.name} holds NULL, and may not")
    values = column
    while pa.types.is_list(values.type):
        values = pc.list_flatten(values)
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        raise StoreError(f"{table}.{field.name} holds NaN or an infinite number: write NULL")


def _options(schema: pa.Schema) -> dict[str, Any]:
    leaves = _leaves(schema)
    blobs = {leaf for leaf, kind in leaves.items() if kind == "BYTE_ARRAY/NONE"}
    floats = [leaf for leaf, kind in leaves.items() if kind.startswith(("FLOAT", "DOUBLE"))]
    return {
        "compression": {leaf: "none" if leaf in blobs else "zstd" for leaf in leaves},
        "use_dictionary": [leaf for leaf in leaves if leaf not in blobs and leaf not in floats],
        "use_byte_stream_split": floats,
        "write_statistics": [leaf for leaf in leaves if leaf not in blobs],
    }


def _leaves(schema: pa.Schema) -> dict[str, str]:
    """Return the columns as Parquet names them, with their physical and logical type."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    found = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    columns = [found.column(index) for index in range(len(found))]
    return {column.path: f"{column.physical_type}/{column.logical_type.type}" for column in columns}
