"""Float16 values by their bits: order, conversion and zone maps at the speed of integers.

numpy compares, sums and converts float16 one value at a time, at 2 to 12 ns each; the same on the
bits, as int16 and int32, goes through vector instructions at 0.1 to 0.4 ns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["order_keys", "widen", "zone_maps"]

Halves = NDArray[np.float16]

_EXPONENT = np.int16(0x7C00)  # all ones: NaN or infinite
_NAN = np.int16(0x7E00)
_LARGEST = np.float32(65504)
_CACHE_VALUES = 1 << 16  # values measured at once: few calls, and their copies stay in the cache


def order_keys(values: Halves, out: NDArray[np.int16] | None = None) -> NDArray[np.int16]:
    """Map float16 to int16 in the same order, which numpy compares 30 times as fast, this included.

    Negative values count down from -1 (which is -0.0); positive NaN is above infinity, negative
    NaN below minus infinity. `order_keys(order_keys(x).view(np.float16))` gives the bits of x back.
    """
    bits = values.view(np.int16)
    keys = np.right_shift(bits, 15, out=out)
    keys &= 0x7FFF
    keys ^= bits
    return keys


def widen(values: Halves, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Return `values.astype(np.float32)`, about five times as fast when all are finite.

    The bits move to their float32 places and a multiplication by 2**112 mends the exponent's bias,
    of subnormal numbers too. Infinities and NaN come out beyond float16's range, which shows them.
    Pieces of up to 2**16 values are fastest: they stay in the cache.
    """
    wide = np.empty(values.shape, np.float32) if out is None else out
    bits = wide.view(np.int32)
    bits[...] = values.view(np.int16)
    bits <<= 13
    bits &= ~0x70001FFF
    wide *= np.float32(2.0**112)
    if wide.size and (wide.max() > _LARGEST or wide.min() < -_LARGEST):
        wide[...] = values
    return wide


def zone_maps(turned: Halves, block: int) -> NDArray[np.float64]:
    """Measure every block, and make values that are not finite NaN, in place.

    Returns:
        min, max, sum, sum of squares: shape [4, neurons, blocks]; extremes of nothing are NaN.
    """
    neurons, tokens = turned.shape
    zones = np.empty((4, neurons, -(-tokens // block)))
    spare = np.empty(max(_CACHE_VALUES, min(block, tokens)) * 7, np.int16)
    for number, first in enumerate(range(0, tokens, block)):
        column = turned[:, first : first + block]
        step = max(1, _CACHE_VALUES // column.shape[1])
        for at in range(0, neurons, step):
            zones[:, at : at + step, number] = _measure(column[at : at + step], spare)
    return zones


def _measure(rows: Halves, spare: NDArray[np.int16]) -> tuple[NDArray[np.floating], ...]:
    """Measure rows; `spare` is memory used again, because fresh pages cost more than the work."""
    doubles, singles, shorts = (spare[rows.size * at :] for at in (0, 4, 6))
    keys = order_keys(rows, shorts[: rows.size].reshape(rows.shape))
    low, high = keys.min(axis=1), keys.max(axis=1)
    if high.max() >= _EXPONENT or low.min() < -_EXPONENT:
        return _measure_finite(rows)
    wide = doubles[: rows.size * 4].view(np.float64).reshape(rows.shape)
    wide[...] = widen(rows, singles[: rows.size * 2].view(np.float32).reshape(rows.shape))
    total = wide.sum(axis=1)
    wide *= wide  # not vecdot: BLAS starts threads for long rows, and these fight over busy cores
    return _values(low), _values(high), total, wide.sum(axis=1)


def _measure_finite(rows: Halves) -> tuple[NDArray[np.floating], ...]:
    """Measure rows among whose values some are not finite, and make those NaN."""
    finite = np.isfinite(rows)
    rows.view(np.int16)[~finite] = _NAN
    wide = np.where(finite, rows, 0).astype(np.float64)
    low = np.where(finite, wide, np.inf).min(axis=1)
    high = np.where(finite, wide, -np.inf).max(axis=1)
    nothing = ~finite.any(axis=1)
    low[nothing] = high[nothing] = np.nan
    return low, high, wide.sum(axis=1), (wide * wide).sum(axis=1)


def _values(keys: NDArray[np.int16]) -> Halves:
    return order_keys(keys.view(np.float16)).view(np.float16)
