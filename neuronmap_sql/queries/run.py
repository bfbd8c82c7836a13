"""Run a named query on a connection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any, TypeVar

import duckdb
import polars as pl
import pyarrow as pa

from neuronmap_sql.errors import QueryError
from neuronmap_sql.queries.catalog import load
from neuronmap_sql.queries.unknown import refuse_unknown_label, refuse_unknown_names
from neuronmap_sql.warehouse.result import Result, execute

__all__ = ["run"]

_Rows = TypeVar("_Rows", bound=Sized)


def run(con: duckdb.DuckDBPyConnection, name: str, /, **params: object) -> Result:
    """Run the named query on a connection that has the warehouse's tables.

    Args:
        con: any DuckDB connection in which `neuron_stats`, `docs`, ... are tables or views.
        name: a name that `queries()` knows.
        params: its parameters; text is read as the declared type, so values may come from a
            command line.

    Returns:
        The rows: `.pl()`, `.arrow()`, `.reader()`, `.fetchall()`. Those raise `UnknownNameError`
        where there are none because the model, dataset, site or layer asked for is not stored.

    Raises:
        UnknownNameError: no query, or no label, has that name.
        UsageError: a parameter is unknown, missing or of the wrong type.
        QueryError: the engine refused the statement.
    """
    query = load(name)
    values = query.bind(params)
    try:
        return _Answer(execute(con, query.sql, values), query.sql, values)
    except QueryError as error:
        if "label" in values:
            refuse_unknown_label(con, values["label"])
        raise QueryError(f"query {name!r} ({query.path.name}): {error}") from error


class _Answer(Result):
    """Rows that, if there are none, are asked for the reason: only then does it cost anything."""

    def __init__(self, result: Result, sql: str, values: Mapping[str, Any]) -> None:
        super().__init__(result._con, result._relation)
        self._question = (sql, values)

    def arrow(self) -> pa.Table:
        return self._asked(super().arrow())

    def pl(self) -> pl.DataFrame:
        return self._asked(super().pl())

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._asked(super().fetchall())

    def _batches(self, source: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        rows = 0
        for batch in super()._batches(source):
            rows += len(batch)
            yield batch
        self._asked(range(rows))

    def _asked(self, rows: _Rows) -> _Rows:
        if len(rows) == 0:
            refuse_unknown_names(self._con, *self._question)
        return rows
