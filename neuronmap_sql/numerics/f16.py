"""Blocks of half-precision values, as `activations` and `token_matrices` keep them.

A block is n little-endian float16 values in a row; NaN marks a value that was not finite or too
large. A batch of blocks is a flat array of values with offsets, as Arrow lays out lists.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["at", "decode", "dot", "encode", "top_k"]

Values = NDArray[np.float32]
Offsets = NDArray[np.int64]


def encode(values: NDArray[np.floating]) -> bytes:
    """Return one block: values rounded to float16, NaN for those beyond 65,504."""
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    return np.where(np.isfinite(half), half, np.float16("nan")).astype("<f2").tobytes()


def decode(data: NDArray[np.uint8]) -> Values:
    """Return the values of blocks that lie side by side, shape [bytes / 2], NaN kept."""
    return data.view("<f2").astype(np.float32)


def at(values: Values, offsets: Offsets, index: NDArray[np.int64]) -> Values:
    """Return one value of each block, counted from 0, NaN outside the block.

    Args:
        values: all blocks' values, shape [total].
        offsets: where each block starts, and the end, shape [blocks + 1].
        index: which value, shape [blocks].
    """
    inside = (index >= 0) & (index < np.diff(offsets))
    picked = np.full(len(index), np.nan, np.float32)
    picked[inside] = values[(offsets[:-1] + index)[inside]]
    return picked


def dot(left: Values, right: Values, offsets: Offsets) -> NDArray[np.float64]:
    """Return each pair of blocks' scalar product in float64, over values finite in both.

    Args:
        left: values of the left blocks, shape [total].
        right: values of the right blocks, of the same lengths.
        offsets: where each block starts, and the end, shape [blocks + 1].
    """
    products = left.astype(np.float64) * right
    np.nan_to_num(products, copy=False, nan=0.0)
    return segment_sums(products, offsets)


def segment_sums(values: NDArray[np.float64], offsets: Offsets) -> NDArray[np.float64]:
    """Return the sum of each block, 0 for an empty one, shape [blocks]."""
    sums = np.zeros(len(offsets) - 1)
    full = np.flatnonzero(np.diff(offsets))
    if len(full):
        sums[full] = np.add.reduceat(values, offsets[:-1][full])
    return sums


def top_k(values: Values, offsets: Offsets, k: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield, block by block, the indices of its k largest values, largest first.

    Ties go to the earlier value; NaN is never among them.
    """
    for start, end, count in zip(offsets[:-1], offsets[1:], k, strict=True):
        block = values[start:end]
        yield _best(block, int(count))


def _best(block: Values, k: int) -> NDArray[np.int64]:
    finite = np.flatnonzero(~np.isnan(block))
    if k <= 0 or not len(finite):
        return np.empty(0, np.int64)
    if k < len(finite):
        # Keep all that tie with the k-th, so that the stable sort can prefer the earlier.
        threshold = np.partition(block[finite], len(finite) - k)[len(finite) - k]
        finite = finite[block[finite] >= threshold]
    return finite[np.argsort(-block[finite], kind="stable")][:k].astype(np.int64)
