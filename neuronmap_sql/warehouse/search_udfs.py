"""The searches over stored values as functions of SQL: one row in, a list of tokens out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.search import Found, nearest_tokens, top_tokens
from neuronmap_sql.warehouse.udfs import Udf

__all__ = ["search_udfs"]

_PLACE = ("VARCHAR", "VARCHAR", "INTEGER", "INTEGER[]")
_HITS = {
    "dataset": pa.string(),
    "tokenizer": pa.string(),
    "rank": pa.int32(),
    "value": pa.float64(),
    "error": pa.float64(),
    "tok": pa.int64(),
    "blocks_read": pa.int64(),
    "blocks": pa.int64(),
}
_RETURNS = (
    "STRUCT(dataset VARCHAR, tokenizer VARCHAR, rank INTEGER, value DOUBLE, error DOUBLE,"
    " tok BIGINT, blocks_read BIGINT, blocks BIGINT)[]"
)

Search = Callable[..., list[Found]]


def search_udfs(root: Path | None) -> tuple[Udf, ...]:
    """Return the functions that search the files of a warehouse.

    Args:
        root: the warehouse folder; without one, calling them is a UsageError.
    """

    def search(function: Search) -> Callable[..., pa.Array]:
        # Spelled out, because the engine counts the parameters.
        def called(
            model: pa.ChunkedArray,
            site: pa.ChunkedArray,
            layer: pa.ChunkedArray,
            neurons: pa.ChunkedArray,
            a: pa.ChunkedArray,
            b: pa.ChunkedArray,
            c: pa.ChunkedArray,
            dataset: pa.ChunkedArray,
        ) -> pa.Array:
            return _each(root, function, model, site, layer, neurons, a, b, c, dataset)

        return called

    return (
        Udf(
            "nearest_blocks",
            (*_PLACE, "BIGINT", "BIGINT", "VARCHAR", "VARCHAR"),
            _RETURNS,
            search(nearest_tokens),
            "What py.nearest unfolds: model, site, layer, neurons, tok, k, metric, dataset.",
            gives_null=True,
        ),
        Udf(
            "top_blocks",
            (*_PLACE, "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR"),
            _RETURNS,
            search(top_tokens),
            "What py.top_values unfolds: model, site, layer, neurons, k, side, combine, dataset.",
            gives_null=True,
        ),
    )


def _each(root: Path | None, search: Search, *columns: pa.ChunkedArray) -> pa.Array:
    """Search once a row; NULL, but as the last argument, the dataset, finds nothing."""
    if root is None:
        raise UsageError("this connection has no warehouse folder: open one with nm.connect")
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    found = [[] if None in row[:-1] else search(root, *row) for row in rows]
    ends = [0, *accumulate(sum(len(each.tok) for each in answer) for answer in found)]
    hits = _hits([each for answer in found for each in answer])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), hits)


def _hits(found: list[Found]) -> pa.StructArray:
    columns: dict[str, list[Any]] = {name: [] for name in _HITS}
    for each in found:
        count = len(each.tok)
        columns["rank"].append(pa.array(np.arange(1, count + 1)))
        for name in ("value", "error", "tok"):
            columns[name].append(pa.array(getattr(each, name)))
        for name in ("dataset", "tokenizer", "blocks_read", "blocks"):
            columns[name].append(pa.repeat(getattr(each, name), count))
    arrays = [
        pa.concat_arrays([part.cast(kind) for part in columns[name]] or [pa.array([], kind)])
        for name, kind in _HITS.items()
    ]
    return pa.StructArray.from_arrays(arrays, list(_HITS))
