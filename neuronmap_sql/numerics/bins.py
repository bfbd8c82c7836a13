"""The fixed histogram bins: 16 an octave of magnitude, 1,024 in all, the same for every neuron.

Fixed bins need no first pass for the range and merge by addition over batches, shards and
machines. Bin numbers grow with the value; bins from 512 on hold exactly the values above zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BINS", "HALF", "LOWEST_EXPONENT", "RELATIVE_WIDTH", "SUBBINS", "bin_of", "edges"]

BINS = 1024
HALF = BINS // 2
SUBBINS = 16
RELATIVE_WIDTH = 1 / SUBBINS
"""Largest width of a bin over the magnitude of its values."""
LOWEST_EXPONENT = -16
"""Magnitudes below 2^-16 share one bin on either side of zero."""

Array = npt.NDArray[np.float64]


def magnitudes() -> Array:
    """Lower edges of the 512 magnitude codes, then infinity; shape [513]."""
    code = np.arange(HALF - 1)
    starts = 2.0 ** (LOWEST_EXPONENT + code // SUBBINS) * (1 + code % SUBBINS / SUBBINS)
    return np.concatenate([[0.0], starts, [np.inf]])


def edges() -> Array:
    """Edges of all bins, ascending, from minus to plus infinity; shape [1025].

    Bin b above zero (b >= 512) is [edges[b], edges[b + 1]), without 0 itself; bin b of values up to
    zero is (edges[b], edges[b + 1]].
    """
    positive = magnitudes()
    return np.concatenate([-positive[:0:-1], positive])


def bin_of(values: npt.ArrayLike) -> npt.NDArray[np.int16]:
    """Bin of each value: the definition, by search; reducers compute the same from float bits."""
    x = np.asarray(values, dtype=np.float64)
    code = np.searchsorted(magnitudes()[1:-1], np.abs(x), side="right")
    return np.where(x > 0, HALF + code, HALF - 1 - code).astype(np.int16)
