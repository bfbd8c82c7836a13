"""Measures of half-precision blocks, as `activations` and `token_matrices` keep them.

A batch of blocks is one flat float16 array with offsets, as Arrow lays out lists: block b is
`values[offsets[b]:offsets[b + 1]]`. NaN marks a value that was not finite or too large. Work goes
block by block or in pieces of that size, so that what is in between stays in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.numerics.halves import order_keys, widen

__all__ = ["at", "dot", "encode", "singles", "top_k"]

Halves = NDArray[np.float16]
Offsets = NDArray[np.int64]

_PIECE = 1 << 16
_LARGEST_KEY = 0x7BFF  # order key of 65,504; beyond are infinity and positive NaN
_SMALLEST_KEY = -0x7C00  # order key of -65,504


def encode(values: NDArray[np.floating]) -> Halves:
    """Return values rounded to float16, NaN for those that are not finite or beyond 65,504."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    half[~np.isfinite(half)] = np.nan
    return half


def singles(values: Halves) -> NDArray[np.float32]:
    """Return all values as float32, NaN kept."""
    wide = np.empty(len(values), np.float32)
    for at_ in range(0, len(values), _PIECE):
        wide[at_ : at_ + _PIECE] = widen(values[at_ : at_ + _PIECE])
    return wide


def at(values: Halves, offsets: Offsets, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return one value of each block, counted from 0; NaN outside the block.

    Args:
        values: all blocks' values, shape [total].
        offsets: where each block starts, and the end, shape [blocks + 1].
        index: which value, shape [blocks].
    """
    inside = (index >= 0) & (index < np.diff(offsets))
    picked = np.full(len(index), np.nan, np.float32)
    picked[inside] = values[(offsets[:-1] + index)[inside]]
    return picked


def dot(left: Halves, right: Halves, offsets: Offsets) -> NDArray[np.float64]:
    """Return each pair of blocks' scalar product in float64, over values finite in both.

    Args:
        left: values of the left blocks, shape [total].
        right: values of the right blocks, of the same lengths.
        offsets: where each block starts, and the end, shape [blocks + 1].
    """
    products = np.empty(len(offsets) - 1)
    for number, (start, end) in enumerate(pairwise(offsets)):
        mine = widen(left[start:end]).astype(np.float64)
        theirs = widen(right[start:end]).astype(np.float64)
        found = mine @ theirs
        products[number] = found if np.isfinite(found) else np.nansum(mine * theirs)
    return products


def top_k(values: Halves, offsets: Offsets, k: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield, block by block, the indices of its k largest values, largest first.

    Ties go to the earlier value; NaN is never among them.
    """
    for start, end, count in zip(offsets[:-1], offsets[1:], k, strict=True):
        yield _best(values[start:end], int(count))


def _best(block: Halves, k: int) -> NDArray[np.int64]:
    keys = order_keys(block)
    keys[keys == -1] = 0  # -0.0 and 0.0 are one value
    keys[(keys > _LARGEST_KEY) | (keys < _SMALLEST_KEY)] = np.iinfo(np.int16).min
    if 0 < k < len(keys):
        # All that tie with the k-th stay, so that the stable sort can prefer the earlier.
        bound = np.partition(keys, len(keys) - k)[len(keys) - k]
        found = np.flatnonzero(keys >= bound)
    else:
        found = np.arange(len(keys) if k > 0 else 0)
    found = found[np.argsort(~keys[found], kind="stable")][:k]
    best: NDArray[np.int64] = found[keys[found] != np.iinfo(np.int16).min]
    return best
