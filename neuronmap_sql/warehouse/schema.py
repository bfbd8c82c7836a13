"""The tables, as `warehouse/tables/*.sql` declares them: names, types, comments."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType

import duckdb
import pyarrow as pa

from neuronmap_sql.content import folder
from neuronmap_sql.errors import UnknownNameError

__all__ = [
    "FORMAT",
    "PARTITIONED",
    "PARTITION_KEYS",
    "arrow_schema",
    "column_types",
    "comments",
    "create_tables",
    "key_columns",
    "row_key",
    "table_names",
]

FORMAT = 3
"""Version of the store's format, kept in every run. 1 had no seal in its manifests, 2 no
`quantization_error` in `runs`, no `null_share` in `neuron_weights` and no partners in the keys of
its manifests."""

PARTITIONED = frozenset({"activations", "activations_int8", "firings", "token_matrices", "vectors"})
"""Tables whose path says model, dataset, site and layer."""

PARTITION_KEYS = ("model", "dataset", "site", "layer")
"""Folders between such a table and its files, outermost first."""


@cache
def table_names() -> tuple[str, ...]:
    """Return the names of all tables, sorted."""
    return tuple(sorted(path.stem for path in (folder("warehouse") / "tables").glob("*.sql")))


def create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Create every table, empty and with its comments, in a plain DuckDB connection."""
    for table in table_names():
        path = folder("warehouse") / "tables" / f"{table}.sql"
        con.execute(path.read_text(encoding="utf-8"))


def arrow_schema(table: str) -> pa.Schema:
    """Return a table's Arrow schema; fields that must not be NULL are not nullable.

    Raises:
        UnknownNameError: no such table.
    """
    if table not in table_names():
        raise UnknownNameError.of("table", table, table_names())
    return _read()[0][table]


def column_types(table: str) -> dict[str, str]:
    """Return a table's columns with their SQL types, in order."""
    arrow_schema(table)
    return dict(_read()[1][table])


def comments(table: str) -> tuple[str, dict[str, str]]:
    """Return the comment of a table, and those of its columns by name."""
    arrow_schema(table)
    about, columns = _read()[2][table]
    return about, dict(columns)


def key_columns(table: str) -> tuple[str, ...]:
    """Return the columns whose values two runs may not share in a table.

    The tokenizer is no key where there is a model: a model has one set of values on a dataset. Nor
    is the layer in an experiment, whose groups of neurons may span several.
    """
    names = arrow_schema(table).names
    keys = ("model", "dataset", "site", "layer") if "model" in names else ("dataset", "tokenizer")
    if "experiment" in names:
        keys = ("experiment", *keys[:-1])
    keys = (*keys, "partner_model", "partner_site")
    return tuple(key for key in keys if key in names)


def row_key(table: str) -> tuple[str, ...]:
    """Return the columns that tell rows of a table apart: its declared primary key."""
    arrow_schema(table)
    return _read()[3][table]


_Catalog = tuple[
    MappingProxyType[str, pa.Schema],
    MappingProxyType[str, dict[str, str]],
    MappingProxyType[str, tuple[str, dict[str, str]]],
    MappingProxyType[str, tuple[str, ...]],
]


@cache
def _read() -> _Catalog:
    """Ask the engine what the .sql files mean: they are the only place that says it."""
    with duckdb.connect() as con:
        create_tables(con)
        about = dict(con.sql("SELECT table_name, comment FROM duckdb_tables()").fetchall())
        types: dict[str, dict[str, str]] = {table: {} for table in table_names()}
        notes: dict[str, dict[str, str]] = {table: {} for table in table_names()}
        required = set()
        for table, column, kind, nullable, comment in con.sql(
            "SELECT table_name, column_name, data_type, is_nullable, comment "
            "FROM duckdb_columns() WHERE NOT internal ORDER BY table_oid, column_index"
        ).fetchall():
            types[table][column], notes[table][column] = kind, comment
            required |= set() if nullable else {(table, column)}
        keys = con.sql(
            "SELECT table_name, constraint_column_names FROM duckdb_constraints() "
            "WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
        schemas = {table: _arrow(con, table, required) for table in table_names()}
    return (
        MappingProxyType(schemas),
        MappingProxyType(types),
        MappingProxyType({table: (about[table], notes[table]) for table in table_names()}),
        MappingProxyType({table: tuple(columns) for table, columns in keys}),
    )


def _arrow(con: duckdb.DuckDBPyConnection, table: str, required: set[tuple[str, str]]) -> pa.Schema:
    schema = con.sql(f"SELECT * FROM {table} LIMIT 0").to_arrow_table().schema
    fields = [field.with_nullable((table, field.name) not in required) for field in schema]
    return pa.schema(fields)
