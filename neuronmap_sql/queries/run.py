"""Run a named query on a connection."""

from __future__ import annotations

import duckdb

from neuronmap_sql.errors import QueryError
from neuronmap_sql.queries.catalog import load
from neuronmap_sql.warehouse.result import Result, execute

__all__ = ["run"]


def run(con: duckdb.DuckDBPyConnection, name: str, /, **params: object) -> Result:
    """Run the named query on a connection that has the warehouse's tables.

    Args:
        con: any DuckDB connection in which `neuron_stats`, `docs`, ... are tables or views.
        name: a name that `queries()` knows.
        params: its parameters; text is read as the declared type, so values may come from a
            command line.

    Returns:
        The rows: `.pl()`, `.arrow()`, `.reader()`, `.fetchall()`.

    Raises:
        UnknownNameError: no query has that name.
        UsageError: a parameter is unknown, missing or of the wrong type.
        QueryError: the engine refused the statement.
    """
    query = load(name)
    values = query.bind(params)
    try:
        return execute(con, query.sql, values)
    except QueryError as error:
        raise QueryError(f"query {name!r} ({query.path.name}): {error}") from error
