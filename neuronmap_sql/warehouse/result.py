"""Running SQL: one place where the engine is called, and where its errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from neuronmap_sql.errors import QueryError, UsageError, WorkError, nearest

__all__ = ["Result", "engine_errors", "execute"]

_UNKNOWN = re.compile(r"(Table|Function|Macro) with name (\S+) does not exist")
_BROKEN = (duckdb.OutOfMemoryException, duckdb.InternalException, duckdb.FatalException)


class Result:
    """The answer of a statement: run when fetched, in the form asked for."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation | None
    ) -> None:
        self._con = con
        self._relation = con.sql("SELECT 1 AS done WHERE false") if relation is None else relation

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._relation.columns)

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        with engine_errors(self._con):
            return self._relation.to_arrow_table()

    def reader(self, rows: int = 100_000) -> pa.RecordBatchReader:
        """Return batches of at most `rows` rows, computed as they are read."""
        with engine_errors(self._con):
            source = self._relation.to_arrow_reader(rows)
        return pa.RecordBatchReader.from_batches(source.schema, self._batches(source))

    def pl(self) -> pl.DataFrame:
        """Return all rows as a polars frame.

        Raises:
            QueryError: polars has no type for a column: INTERVAL.
        """
        for name, kind in zip(self.columns, self._relation.types, strict=True):
            if "INTERVAL" in str(kind):
                raise QueryError(
                    f"polars has no type for {kind}: cast {name} to VARCHAR, or use arrow()"
                )
        with engine_errors(self._con):
            return self._relation.pl()

    def df(self) -> Any:
        """Return all rows as a pandas frame.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            return self.arrow().to_pandas()
        except ImportError as error:
            raise UsageError("df() needs pandas: pip install pandas, or use pl()") from error

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows as tuples: for small results."""
        with engine_errors(self._con):
            return self._relation.fetchall()

    def __repr__(self) -> str:
        with engine_errors(self._con):
            return str(self._relation)

    def _batches(self, source: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from source
        except (pa.ArrowException, OSError) as error:  # as Arrow passes the engine's on
            raise QueryError(_plain(error)) from error


def execute(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> Result:
    """Run SQL on a connection or a cursor of its own; CLI, Python and server all come this way.

    Args:
        con: from `connect`. One thread at a time.
        sql: a statement; of several, the last one's result is returned.
        params: values of `$name` or `?`.

    Raises:
        QueryError: the engine refused it; the message is the engine's, with the nearest names.
    """
    with engine_errors(con):
        relation = con.sql(sql, params=params) if params else con.sql(sql)
        return Result(con, relation)


@contextmanager
def engine_errors(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Turn the engine's errors into `QueryError` (or `WorkError` where it broke down).

    Raises:
        QueryError: the statement, or a value in it, is wrong.
        WorkError: memory ran out, or the engine failed.
    """
    try:
        yield
    except _BROKEN as error:
        raise WorkError(f"the engine gave up: {_plain(error)}") from error
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except duckdb.Error as error:
        raise QueryError(_plain(error) + _hint(con, str(error))) from error


def _plain(error: Exception) -> str:
    """Return the engine's message without its guess at names, and without Python's stack."""
    text = str(error).split("\n\nAt:\n")[0]
    if _UNKNOWN.search(text):
        text = re.sub(r"!?\nDid you mean [^\n]*", "", text)
    return text.strip()


def _hint(con: duckdb.DuckDBPyConnection, text: str) -> str:
    found = _UNKNOWN.search(text)
    if not found:
        return ""
    kind, name = found.groups()
    query = (
        "SELECT view_name FROM duckdb_views() WHERE NOT internal"
        if kind == "Table" and "Table Function" not in text
        else "SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal"
    )
    try:
        known = [row[0] for row in con.cursor().sql(query).fetchall()]
    except duckdb.Error:
        return ""
    return nearest(name.strip('"'), known)
