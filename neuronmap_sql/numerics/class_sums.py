"""Sums of neurons' values over the classes of labels, block by block of tokens.

A label with classes is a matrix of zeros and ones; its product with the values is what all scores
of labels need. The matrix is sparse, one entry a token, and within a block of tokens few classes
occur: the product costs 0.5 ns a value however many classes there are in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

__all__ = ["BLOCK", "NO_CLASS", "Marks", "PowerSums", "Tally", "coarsens", "merged", "power_sums"]

BLOCK = 8192 - 16
"""Tokens summed at once. Not a power of two: to turn a block around takes seven times as long where
its rows share lines of the cache."""

NO_CLASS = -1
"""Code of a token without a class."""

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]

_ONES, _ENDS = np.ones(BLOCK), np.arange(BLOCK + 1, dtype=np.int32)


@dataclass
class PowerSums:
    """Sums of the powers 1 to 4 of values, and how many there are."""

    count: NDArray[np.int64]
    """[neurons] finite values."""
    powers: Floats
    """[4, neurons]."""

    def less(self, other: PowerSums) -> PowerSums:
        """Return the sums without those of some of the values."""
        return PowerSums(self.count - other.count, self.powers - other.powers)


def power_sums(values: Floats, lost: NDArray[np.bool_] | None = None) -> PowerSums:
    """Sum powers of values [neurons, tokens], which are near zero, over the tokens.

    Args:
        values: the values, 0 where they are lost.
        lost: which are not finite; none, if left out.
    """
    tokens = np.full(len(values), values.shape[1])
    count = tokens if lost is None else tokens - np.count_nonzero(lost, axis=1)
    squares = values * values
    third, fourth = np.vecdot(squares, values), np.vecdot(squares, squares)
    sums = np.array([values.sum(axis=1), squares.sum(axis=1), third, fourth])
    return PowerSums(count.astype(np.int64), sums)


class Marks:
    """Which tokens have which class of one label, ready for products with blocks of tokens."""

    def __init__(self, codes: Codes, classes: int) -> None:
        """Begin.

        Args:
            codes: [tokens] class of each token, 0 to classes - 1, or NO_CLASS.
            classes: how many there are.
        """
        self.codes = codes
        """As given."""
        self.classes = classes
        """Classes, those that no token has included."""
        # Tokens without a class are one more.
        all_codes = np.where(codes < 0, classes, codes)
        self.counts = np.bincount(all_codes, minlength=classes + 1).astype(np.int64)
        """[classes + 1] tokens of each class, last those of none."""
        self._blocks = [
            _marks(all_codes[first : first + BLOCK]) for first in range(0, len(codes), BLOCK)
        ]

    def block(self, first: int) -> tuple[Codes, csc_array]:
        """Return the classes among BLOCK tokens, and the matrix [these classes, tokens]."""
        return self._blocks[first // BLOCK]


def _marks(codes: Codes) -> tuple[Codes, csc_array]:
    present, local = np.unique(codes, return_inverse=True)
    shape = (len(present), len(codes))
    parts = (_ONES[: len(codes)], local.astype(np.int32), _ENDS[: len(codes) + 1])
    return present.astype(np.int32), csc_array(parts, shape=shape)


class Tally:
    """Sums of values by the classes of one label, added up over blocks of tokens."""

    def __init__(self, marks: Marks, neurons: int) -> None:
        """Begin, for so many neurons."""
        self._marks = marks
        self._sums = np.zeros((marks.classes + 1, neurons))
        self._lost: Floats | None = None
        self.without = PowerSums(np.zeros(neurons, np.int64), np.zeros((4, neurons)))
        """Sums over the tokens without a class."""

    def add(
        self, first: int, neurons: slice, values: Floats, lost: NDArray[np.bool_] | None
    ) -> None:
        """Add a block of tokens.

        Args:
            first: its first token, a multiple of BLOCK.
            neurons: which neurons.
            values: [tokens, neurons], C-contiguous, 0 where lost.
            lost: [tokens, neurons] which values are not finite; None: none.
        """
        present, marks = self._marks.block(first)
        self._sums[present, neurons] += marks @ values
        if lost is not None:
            self._lost = np.zeros_like(self._sums) if self._lost is None else self._lost
            self._lost[present, neurons] += marks @ lost.astype(np.float64)
        if present[-1] == self._marks.classes:
            rows = self._marks.codes[first : first + len(values)] < 0
            found = power_sums(values[rows].T, None if lost is None else lost[rows].T)
            self.without.count[neurons] += found.count
            self.without.powers[:, neurons] += found.powers

    @property
    def sums(self) -> Floats:
        """[classes, neurons] sums of the values of each class."""
        return self._sums[:-1]

    @property
    def counts(self) -> NDArray[np.int64]:
        """[classes, 1] values of each class; [classes, neurons] where some are lost."""
        counts = self._marks.counts[:-1, None]
        if self._lost is None:
            return counts
        return counts - np.rint(self._lost[:-1]).astype(np.int64)


def coarsens(fine: Codes, classes: int, coarse: Codes) -> Codes | None:
    """Return the class in `coarse` of each class of `fine`, if each has but one.

    Args:
        fine: [tokens] classes 0 to classes - 1, or NO_CLASS.
        classes: how many there are.
        coarse: [tokens] classes of the same tokens.

    Returns:
        [classes], 0 for those that no token has; None where a class of `fine` has several in
        `coarse`, or not the same tokens have a class.
    """
    if not np.array_equal(fine < 0, coarse < 0):
        return None
    found = np.zeros(classes, np.int32)
    some = fine >= 0
    found[fine[some]] = coarse[some]
    return found if np.array_equal(found[fine[some]], coarse[some]) else None


def merged(values: NDArray[Any], into: Codes, classes: int) -> Floats:
    """Add up rows of sums or counts [fine classes, ...] by the coarser class of each."""
    ends = np.arange(len(into) + 1, dtype=np.int32)
    ones = np.ones(len(into))
    flat = values.reshape(len(values), -1)
    found = csc_array((ones, into, ends), shape=(classes, len(into))) @ flat
    return np.asarray(found).reshape(classes, *values.shape[1:])
