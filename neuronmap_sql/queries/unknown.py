"""Why a named query found nothing: names among its parameters that are not stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.warehouse.result import execute
from neuronmap_sql.warehouse.schema import column_types, table_names

__all__ = ["KEPT", "needed_tables", "refuse_unknown_label", "refuse_unknown_names"]

KEPT = {
    "activation_samples": "samples",
    "activations": "activations",
    "activations_int8": "int8",
    "firings": "firings",
    "layer_stats": "stats",
    "neuron_stats": "stats",
    "neuron_weights": "weights",
    "token_matrices": "matrices",
    "top_activations": "top",
    "vectors": "vectors",
}
"""What `--keep` of an ingest calls each table that it writes on demand."""

_IMPORTED = {"published_neurons": "neuronmap import neurons"}
"""Which command writes a table that no ingest does."""

_COMPUTED = {"label_scores": "neuronmap analyze labels", "class_means": "neuronmap analyze labels"}
"""What writes each table that comes of stored values."""

_KEYS = ("name", "model", "dataset", "site", "layer")
"""Parameters that are looked up in columns of that name, also with _a or _b; in this order."""

# A table after LEFT JOIN may well be empty.
_NEEDED = re.compile(r"(?<!LEFT )\b(?:FROM|JOIN) (\w+)")


def refuse_unknown_names(
    con: duckdb.DuckDBPyConnection, sql: str, values: Mapping[str, Any]
) -> None:
    """Look up model, dataset, site and layer in the tables that an empty answer came from.

    Raises:
        UnknownNameError: one of them is not there; names the nearest, or what keeps the table.
    """
    for table in needed_tables(sql):
        for wanted in _wanted(table, values):
            _look_up(con, table, wanted)


def needed_tables(sql: str) -> list[str]:
    """Return the tables without whose rows a query has no answer, `models` first."""
    found = dict.fromkeys(_NEEDED.findall(re.sub(r"--[^\n]*", "", sql)))
    tables = [table for table in found if table in table_names()]
    return sorted(tables, key=lambda table: table != "models")


def refuse_unknown_label(con: duckdb.DuckDBPyConnection, label: Any) -> None:
    """Look up a label among the columns of docs.

    Raises:
        UnknownNameError: it is none of them; names the nearest.
    """
    columns = execute(con, "FROM docs LIMIT 0").columns
    if label not in columns:
        labels = [name for name in columns if name not in column_types("docs")]
        hint = "" if labels else "docs has none: `--labels` of an ingest keeps columns of the data"
        raise UnknownNameError.of("label", label, labels, hint)


def _wanted(table: str, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the parameters want of the columns of a table; twice if there are _a and _b."""
    endings = ("_a", "_b") if any(f"{key}_a" in values for key in _KEYS) else ("",)
    for ending in endings:
        wanted = {key: values.get(key + ending, values.get(key)) for key in _KEYS}
        yield {k: v for k, v in wanted.items() if v is not None and k in column_types(table)}


def _look_up(con: duckdb.DuckDBPyConnection, table: str, wanted: dict[str, Any]) -> None:
    """Narrow the table down name by name; the first that leaves nothing is unknown."""
    given: dict[str, Any] = {}
    for column, value in wanted.items():
        if not _distinct(con, table, "1", {**given, column: value}):
            raise _unknown(con, table, given, column, value)
        given[column] = value


def _unknown(
    con: duckdb.DuckDBPyConnection, table: str, given: dict[str, Any], column: str, value: Any
) -> UnknownNameError:
    keep = f"`--keep {KEPT[table]}`" if table in KEPT else ""
    if column == "model" and table in _IMPORTED:
        known, hint = _distinct(con, table, column, {}), f"`{_IMPORTED[table]}` adds some"
        return UnknownNameError.of(f"model in {table}", value, known, hint)
    if column in ("name", "model"):
        if _distinct(con, "models", "1", {column: value}):
            way = f": ingest it with {keep}" if keep else ""
            way = f": `{_COMPUTED[table]}` writes them" if table in _COMPUTED else way
            return UnknownNameError(f"no {table} of {value} are stored{way}")
        known = _distinct(con, "models", column, {})
        return UnknownNameError.of("model", value, known, "the query model_overview lists them")
    of = f" of {given['model']}" if "model" in given else ""
    where = f"looked in {table}{of}{f', which {keep} writes' if keep else ''}"
    return UnknownNameError.of(column, value, _distinct(con, table, column, given), where)


def _distinct(
    con: duckdb.DuckDBPyConnection, table: str, column: str, given: Mapping[str, Any]
) -> list[Any]:
    """Return the values of a column (`1`: whether there is any) in the rows that hold `given`."""
    place = " AND ".join(f"{name} = ${name}" for name in given) or "true"
    most = "LIMIT 1" if column == "1" else ""
    sql = f"SELECT {'' if most else 'DISTINCT'} {column} FROM {table} WHERE {place} {most}"
    return [row[0] for row in execute(con, sql, given).fetchall()]
