"""One-to-one assignments between the neurons of two layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

__all__ = ["Pairs", "hungarian", "mutual"]

Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Rows and columns of the assigned pairs, rows ascending."""


def mutual(scores: npt.NDArray[np.float64]) -> Pairs:
    """Return the pairs of which each is the other's best; ties go to the earlier.

    Args:
        scores: [rows, columns], NaN for what cannot be matched.
    """
    held = np.where(np.isnan(scores), -np.inf, scores)
    if not held.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    best, back = held.argmax(1), held.argmax(0)
    rows = np.flatnonzero((back[best] == np.arange(len(held))) & (held.max(1) > -np.inf))
    return rows, best[rows]


def hungarian(scores: npt.NDArray[np.float64]) -> Pairs:
    """Return the assignment with the largest sum of scores, of as many pairs as there can be.

    Args:
        scores: [rows, columns]; rows and columns that are NaN throughout are left out.
    """
    rows = np.flatnonzero(~np.isnan(scores).all(1))
    columns = np.flatnonzero(~np.isnan(scores).all(0))
    row, column = linear_sum_assignment(scores[np.ix_(rows, columns)], maximize=True)
    return rows[row], columns[column]
