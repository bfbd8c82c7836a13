"""Exact top-k over blocks of tokens: the most promising block first, until the rest cannot matter.

A zone map bounds every score in a block from above. Blocks are read in the order of their bounds,
and reading stops when the k-th best score so far is at least the next bound: the proof that no
unread value belongs to the answer. For the values of one neuron the bounds are attained, so that k
blocks hold k values as good as anything unread, and at most k blocks are read. The idea is that
of the threshold algorithm (Fagin, Lotem and Naor 2001), which DeepEverest (He et al., VLDB 2022)
brought to activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Best", "Score", "best_first", "combined", "cosine", "euclidean"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_SLACK = 1e-12
"""Added to bounds of cosines, which round; those of values, sums and distances are monotone."""


@dataclass(frozen=True)
class Score:
    """A score of tokens by a group of neurons, larger is better."""

    of: Callable[[F64], F64]
    """Scores [n] of values [neurons, n]; NaN where a value is."""
    bound: Callable[[F64, F64], F64]
    """Upper bounds [blocks] from the smallest and largest values [neurons, blocks]."""


@dataclass(frozen=True)
class Best:
    """The k best tokens, best first; of equal scores the earlier token is the better."""

    tok: I64
    score: F64
    blocks_read: int
    """Blocks of tokens that were read to prove it."""


def best_first(bounds: F64, starts: I64, read: Callable[[int], F64], k: int) -> Best:
    """Find the k best scores.

    Args:
        bounds: upper bound of each block's scores, shape [blocks]; NaN for a block without any.
        starts: first token of each block, ascending, shape [blocks].
        read: returns the scores of a block, one a token; NaN is no score.
        k: how many.
    """
    tok, score, blocks_read = np.empty(0, np.int64), np.empty(0), 0
    for block in np.argsort(-bounds, kind="stable"):  # NaN comes last
        worst = score[-1] if len(tok) == k > 0 else -np.inf
        if k < 1 or np.isnan(bounds[block]) or worst > bounds[block]:
            break
        if worst == bounds[block] and tok[-1] < starts[block]:
            break  # and so for all further blocks of that bound: they come later
        found, blocks_read = read(int(block)), blocks_read + 1
        (near,) = np.nonzero(found >= worst)
        if len(near) > k:  # those below the k-th largest of a block cannot be among the best
            near = near[found[near] >= -np.partition(-found[near], k - 1)[k - 1]]
        tok, score = np.append(tok, starts[block] + near), np.append(score, found[near])
        order = np.lexsort((tok, -score))[:k]
        tok, score = tok[order], score[order]
    return Best(tok, score, blocks_read)


def combined(how: Literal["sum", "min"], lowest: bool = False) -> Score:
    """Score tokens by the sum of the neurons' values, or by the least of them.

    Args:
        how: `sum`, or `min`: how much every one of the neurons fires. Of one neuron, both are its
            values.
        lowest: score the negated values: the lowest sum, or the least of how far all are below.
    """
    reduce = np.sum if how == "sum" else np.min
    if lowest:
        return Score(lambda values: reduce(-values, axis=0), lambda low, _: reduce(-low, axis=0))
    return Score(lambda values: reduce(values, axis=0), lambda _, high: reduce(high, axis=0))


def euclidean(target: F64) -> Score:
    """Score tokens by the negated squared Euclidean distance to values [neurons]."""
    here = target[:, None]

    def of(values: F64) -> F64:
        return np.asarray(-np.sum(np.square(values - here), axis=0))

    return Score(of, lambda low, high: of(np.clip(here, low, high)))


def cosine(target: F64) -> Score:
    """Score tokens by the cosine of their values and `target` [neurons]; NaN where either is 0.

    The bound is the largest scalar product over the box of values, by the least norm in it.
    """
    unit = (target / np.linalg.norm(target) if target.any() else target * np.nan)[:, None]

    def of(values: F64) -> F64:
        with np.errstate(invalid="ignore"):
            return np.asarray(np.sum(unit * values, axis=0) / np.linalg.norm(values, axis=0))

    def bound(low: F64, high: F64) -> F64:
        product = np.sum(np.maximum(unit * low, unit * high), axis=0)
        least = np.linalg.norm(np.clip(0, low, high), axis=0)
        most = np.linalg.norm(np.maximum(np.abs(low), np.abs(high)), axis=0)
        norm = np.where(product > 0, least, most)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(norm > 0, product / norm, np.where(most > 0, 1.0, np.nan))
        return np.asarray(np.minimum(found, 1.0) + _SLACK)

    return Score(of, bound)
