"""The Python functions that SQL sees: Arrow batches in, `numerics` on arrays, Arrow batches out.

DuckDB calls them from many threads with at most 2,048 rows at a time, mostly without the rows
whose arguments are NULL; they keep no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb.func import DEFAULT, SPECIAL, PythonUDFType
from numpy.typing import NDArray

from neuronmap_sql.errors import UsageError
from neuronmap_sql.numerics import f16
from neuronmap_sql.numerics.blocks import decode
from neuronmap_sql.numerics.int8 import decode_blocks

__all__ = ["UDFS", "Udf", "blocks", "register_udfs"]


@dataclass(frozen=True)
class Udf:
    """One function of SQL."""

    name: str
    """Name."""
    arguments: tuple[str, ...]
    """SQL types of the arguments."""
    returns: str
    """SQL type of the result."""
    function: Callable[..., pa.Array]
    """Takes a ChunkedArray an argument, returns an Array of as many rows."""
    about: str
    """What it gives, for the reference."""
    gives_null: bool = False
    """Whether rows may become NULL; it then gets rows with NULL arguments too."""


def blocks(column: pa.ChunkedArray) -> tuple[f16.Halves, f16.Offsets]:
    """Return the values of a BLOB column's blocks, and where each starts, and the end.

    Raises:
        UsageError: a blob holds half a value.
    """
    chunk = _one(column)
    sizes = np.asarray(pc.binary_length(chunk), np.int64)
    if np.any(sizes % 2):
        raise UsageError("a blob of float16 values has an odd number of bytes")
    return decode(chunk), np.cumsum([0, *(sizes // 2)])


def _f16(column: pa.ChunkedArray) -> pa.Array:
    values, offsets = blocks(column)
    return pa.ListArray.from_arrays(offsets.astype(np.int32), _nullable(f16.singles(values)))


def _f16_at(column: pa.ChunkedArray, index: pa.ChunkedArray) -> pa.Array:
    rows = np.asarray(pc.and_(pc.is_valid(column), pc.is_valid(index)))
    found = np.full(len(rows), np.nan, np.float32)
    found[rows] = f16.at(*blocks(column.filter(rows)), _numbers(index.filter(rows)))
    return _nullable(found)


def _f16_dot(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.Array:
    mine, offsets = blocks(left)
    theirs, others = blocks(right)
    if not np.array_equal(offsets, others):
        raise UsageError("f16_dot needs two blobs of one length")
    return pa.array(f16.dot(mine, theirs, offsets))


def _f16_topk(column: pa.ChunkedArray, k: pa.ChunkedArray) -> pa.Array:
    values, offsets = blocks(column)
    picks = list(f16.top_k(values, offsets, _numbers(k)))
    ends = np.cumsum([0, *map(len, picks)], dtype=np.int32)
    inner = np.concatenate(picks) if picks else np.empty(0, np.int64)
    found = values[np.repeat(offsets[:-1], np.diff(ends)) + inner].astype(np.float32)
    pairs = pa.StructArray.from_arrays([inner.astype(np.int32), found], ["i", "value"])
    return pa.ListArray.from_arrays(ends, pairs)


def _f16_from(column: pa.ChunkedArray) -> pa.Array:
    chunk = _one(column)
    values = f16.encode(chunk.flatten().to_numpy(zero_copy_only=False))
    ends = np.cumsum([0, *(2 * np.asarray(chunk.value_lengths()))], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
    return pa.BinaryArray.from_buffers(pa.binary(), len(chunk), buffers)


def _i8(column: pa.ChunkedArray, scale: pa.ChunkedArray, center: pa.ChunkedArray) -> pa.Array:
    values, offsets = decode_blocks(_one(column), scale.to_numpy(), center.to_numpy())
    return pa.ListArray.from_arrays(offsets.astype(np.int32), _nullable(values))


UDFS = (
    Udf("f16", ("BLOB",), "FLOAT[]", _f16, "Values of a block; NULL where one was not finite."),
    Udf(
        "f16_at",
        ("BLOB", "BIGINT"),
        "FLOAT",
        _f16_at,
        "One value of a block, counted from 0; NULL outside it.",
        gives_null=True,
    ),
    Udf(
        "f16_dot", ("BLOB", "BLOB"), "DOUBLE", _f16_dot, "Scalar product of two blocks, in float64."
    ),
    Udf("f16_from", ("DOUBLE[]",), "BLOB", _f16_from, "A block of the values, rounded to float16."),
    Udf(
        "f16_topk",
        ("BLOB", "BIGINT"),
        "STRUCT(i INTEGER, value FLOAT)[]",
        _f16_topk,
        "The k largest values of a block with their indices, largest first.",
    ),
    Udf(
        "i8",
        ("BLOB", "FLOAT", "FLOAT"),
        "FLOAT[]",
        _i8,
        "Values of a block of codes, by its scale and center; NULL where one was not finite.",
    ),
)
"""All functions, sorted by name."""


def register_udfs(con: duckdb.DuckDBPyConnection, udfs: Iterable[Udf] = UDFS) -> None:
    """Register functions in a connection; its cursors see them too."""
    for udf in udfs:
        con.create_function(
            udf.name,
            udf.function,
            [duckdb.sqltype(kind) for kind in udf.arguments],
            duckdb.sqltype(udf.returns),
            type=PythonUDFType.ARROW,
            null_handling=SPECIAL if udf.gives_null else DEFAULT,
        )


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.to_numpy(), np.int64)


def _nullable(values: NDArray[np.float32]) -> pa.Array:
    """Return values with NULL for NaN; without NaN they are not copied."""
    gaps = np.isnan(values)
    return pa.array(values, mask=gaps) if gaps.any() else pa.array(values)
