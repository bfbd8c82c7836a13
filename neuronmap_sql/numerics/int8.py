"""Values as one byte each: how table `activations_int8` is made of float16 blocks and read back.

A neuron's values from its least to its largest are cut into STEPS equal steps of `scale`; code c
stands for `center + scale * c`. The center is put so that the least value is code -127: a neuron
that rests at zero rests at zero, and one that never changes keeps its value. Without a center,
codes for values around zero, a neuron after a GELU would waste half of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neuronmap_sql.numerics.blocks import (
    BLOCK_TOKENS,
    binary_blocks,
    flat_bytes,
    neurons_per_group,
    zone_columns,
)
from neuronmap_sql.numerics.halves import extremes, sums, widened
from neuronmap_sql.numerics.turning import iter_turned

__all__ = [
    "HALF_STEP",
    "LOST",
    "STEPS",
    "decode_blocks",
    "dequantize",
    "iter_int8_tables",
]

Halves = NDArray[np.float16]
Singles = NDArray[np.float32]

STEPS = 254
"""Steps between a neuron's least and largest value: codes -127 to 127."""
LOST = -128
"""Code of a value that is not finite."""
HALF_STEP = 0.5 + 2**-4
"""Most that a decoded value is off, in steps: one half, and what float32 rounds. Two float16
values differ by 2**-11 of the larger or more, so a step is over 2**-19 of it, and each rounding of
float32 under 2**-5 steps."""


def dequantize(
    codes: NDArray[np.int8],
    scale: Singles | np.float32,
    center: Singles | np.float32,
    out: Singles | None = None,
) -> Singles:
    """Return the values of codes, NaN for LOST.

    Each differs from the value that was coded by at most `HALF_STEP * scale`; rounding it to
    float16 may add half of float16's own step.

    Args:
        codes: any shape.
        scale: sizes of a step, of a shape that goes with it.
        center: values of code 0, likewise.
        out: memory to fill.
    """
    values: Singles = np.multiply(codes, scale, dtype=np.float32, out=out)
    values += center
    if codes.size and codes.min() == LOST:
        values[codes == LOST] = np.nan
    return values


def decode_blocks(
    vals: pa.Array, scale: Singles, center: Singles
) -> tuple[Singles, NDArray[np.int64]]:
    """Return the values of blocks one after another, and where each starts, and the end.

    Args:
        vals: binary array of codes without nulls, one block a row.
        scale: size of a step in each block, shape [blocks].
        center: value of code 0 in each block, shape [blocks].
    """
    codes = flat_bytes(vals).view(np.int8)
    offsets = np.cumsum([0, *np.asarray(pc.binary_length(vals))], dtype=np.int64)
    values = np.empty(len(codes), np.float32)
    for block, (start, end) in enumerate(pairwise(offsets)):
        dequantize(codes[start:end], scale[block], center[block], values[start:end])
    return values, offsets


def iter_int8_tables(values: Halves, block: int = BLOCK_TOKENS) -> Iterator[pa.Table]:
    """Cut token-major values into tables of coded blocks: one Parquet row group each.

    Args:
        values: shape [tokens, neurons], float16, usually the memmap of a layer's spool.
        block: tokens of a block.

    Yields:
        Tables as `iter_block_tables` makes them, zone maps of the float16 values included, with
        codes as `vals` and the columns `scale`, `center` and `rms_error`, which are the same in all
        blocks of a neuron.
    """
    for first, turned in iter_turned(values, neurons_per_group(len(values))):
        yield _table(turned, first, block)


def _table(turned: Halves, first_neuron: int, block: int) -> pa.Table:
    """Code and measure neurons, each with all its tokens, in one pass over their values."""
    low, high, lost = extremes(turned, block)
    scale, center = _steps(np.fmin.reduce(low, axis=1), np.fmax.reduce(high, axis=1))
    a_step = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    codes, squares = np.empty(turned.shape, np.int8), np.zeros(len(turned))
    zones = np.empty((4, *low.shape))
    zones[:2] = low, high
    for rows, number, wide in widened(turned, block, lost):
        zones[2:, rows, number] = sums(wide)
        into = codes[rows, number * block : (number + 1) * block]
        wide -= center[rows, None]
        wide *= a_step[rows, None]
        squares[rows] += _code(wide, into)
    error = _relative(np.sqrt(squares) * scale, zones, codes)
    columns = {"scale": scale, "center": center, "rms_error": error}
    return pa.table(
        zone_columns(zones, turned.shape[1], first_neuron, block)
        | {"vals": binary_blocks(codes, block)}
        | {name: np.repeat(column, low.shape[1]) for name, column in columns.items()}
    )


def _steps(low: Halves, high: Halves) -> tuple[Singles, Singles]:
    """Return the size of a step and the value of code 0 of neurons, from their extremes."""
    least, most = (np.nan_to_num(end.astype(np.float32)) for end in (low, high))
    scale = (most - least) / np.float32(STEPS)
    return scale, least + scale * np.float32(STEPS // 2)


def _code(wide: Singles, into: NDArray[np.int8]) -> Singles:
    """Round values in steps, whose memory is used up; return the rows' sums of squared errors."""
    codes = np.rint(wide)
    wide -= codes
    squares: Singles = np.vecdot(wide, wide)  # for blocks of usual length, without threads
    if np.isnan(squares).any():
        lost = np.isnan(wide)
        codes[lost], wide[lost] = LOST, 0
        squares = np.vecdot(wide, wide)
    np.copyto(into, codes, casting="unsafe")
    return squares


def _relative(
    error: NDArray[np.float64], zones: NDArray[np.float64], codes: NDArray[np.int8]
) -> Singles:
    """Return the roots of squared errors as root-mean-square over the standard deviation."""
    count = np.full(len(codes), codes.shape[1])
    (some_lost,) = np.nonzero(codes.min(axis=1) == LOST)
    count[some_lost] = np.count_nonzero(codes[some_lost] != LOST, axis=1)
    total, squares = zones[2:].sum(axis=2)
    deviation = np.sqrt(np.maximum(squares - total * total / np.maximum(count, 1), 0))
    spread = (error > 0) & (deviation > 0)
    found: Singles = np.zeros(len(codes), np.float32)
    found[spread] = error[spread] / deviation[spread]
    return found
