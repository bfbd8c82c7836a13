"""Exact top-k over blocks of tokens: the most promising block first, until the rest cannot matter.

A zone map bounds every score in a block from above. Blocks are read in the order of their bounds,
and reading stops when the k-th best score so far is at least the next bound: the proof that no
unread value belongs to the answer. For the values of one neuron the bounds are attained, so that k
blocks hold k values as good as anything unread, and at most k blocks are read. The idea is that
of the threshold algorithm (Fagin, Lotem and Naor 2001), which DeepEverest (He et al., VLDB 2022)
brought to activations.

Where a block's values are known but for an error, the same holds within it: each token's score has
a bound, and `rechecked` asks for the exact values of those tokens only that can still matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Best", "Score", "best_first", "combined", "cosine", "euclidean", "rechecked"]

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
    shown: Callable[[F64], F64]
    """What scores [n] stand for: values, or distances."""
    error: Callable[[F64, Callable[[], F64]], F64 | np.floating]
    """Most that what is shown of tokens [n] is off, of each or of all: from the most that values
    are off [neurons], and from what gives the values [neurons, n] if they matter."""


@dataclass(frozen=True)
class Best:
    """The k best tokens, best first; of equal scores the earlier token is the better."""

    tok: I64
    score: F64
    blocks_read: int
    """Blocks of tokens that were read to prove it."""


def best_first(bounds: F64, starts: I64, read: Callable[[int, float], F64], k: int) -> Best:
    """Find the k best scores.

    Args:
        bounds: upper bound of each block's scores, shape [blocks]; NaN for a block without any.
        starts: first token of each block, ascending, shape [blocks].
        read: returns the scores of a block, one a token; NaN is no score. Scores below its second
            argument do not matter, nor do those beyond the k best of the block.
        k: how many.
    """
    tok, score, blocks_read = np.empty(0, np.int64), np.empty(0), 0
    for block in np.argsort(-bounds, kind="stable"):  # NaN comes last
        worst = score[-1] if len(tok) == k > 0 else -np.inf
        if k < 1 or np.isnan(bounds[block]) or worst > bounds[block]:
            break
        if worst == bounds[block] and tok[-1] < starts[block]:
            break  # and so for all further blocks of that bound: they come later
        found, blocks_read = read(int(block), float(worst)), blocks_read + 1
        (near,) = np.nonzero(found >= worst)
        if len(near) > k:  # those below the k-th largest of a block cannot be among the best
            near = near[found[near] >= -np.partition(-found[near], k - 1)[k - 1]]
        tok, score = np.append(tok, starts[block] + near), np.append(score, found[near])
        order = np.lexsort((tok, -score))[:k]
        tok, score = tok[order], score[order]
    return Best(tok, score, blocks_read)


def rechecked(bounds: F64, exact: Callable[[I64], F64], k: int, worst: float) -> F64:
    """Score the tokens of a block that can be among the k best, from bounds of their scores.

    The k tokens of the best bounds are checked first. Once there are k scores, no token whose bound
    is below the least of them can be among the k best.

    Args:
        bounds: upper bound of each token's score, shape [n]; NaN for a token without any.
        exact: returns the scores of tokens, counted from the block's first.
        k: how many are wanted, 1 at least.
        worst: scores below it do not matter.

    Returns:
        Scores as `best_first` reads them, shape [n]: NaN for tokens that cannot matter.
    """
    scores = np.full(len(bounds), np.nan)
    (near,) = np.nonzero(bounds >= worst)
    if len(near) > k:
        first = near[np.argpartition(-bounds[near], k - 1)[:k]]
        scores[first] = exact(first)
        least = float(np.min(scores[first]))  # NaN, and so no bound, where one had no score
        worst = max(worst, least)
        near = near[(bounds[near] >= worst) & np.isnan(scores[near])]
    if len(near):
        scores[near] = exact(near)
    return scores


def combined(how: Literal["sum", "min"], lowest: bool = False) -> Score:
    """Score tokens by the sum of the neurons' values, or by the least of them.

    Args:
        how: `sum`, or `min`: how much every one of the neurons fires. Of one neuron, both are its
            values.
        lowest: score the negated values: the lowest sum, or the least of how far all are below.
    """
    sign = -1 if lowest else 1

    def of(values: F64) -> F64:
        return _sum(sign * values) if how == "sum" else np.asarray(np.min(sign * values, axis=0))

    return Score(
        of,
        lambda low, high: of(low if lowest else high),
        lambda scores: sign * scores,
        lambda errors, _: errors.sum() if how == "sum" else errors.max(),
    )


def euclidean(target: F64) -> Score:
    """Score tokens by the negated squared Euclidean distance to values [neurons]."""
    here = target[:, None]

    def of(values: F64) -> F64:
        return -_sum(np.square(values - here))

    return Score(
        of,
        lambda low, high: of(np.clip(here, low, high)),
        lambda scores: np.sqrt(-scores),
        lambda errors, _: 2 * np.linalg.norm(errors),  # the target is off as well
    )


def cosine(target: F64) -> Score:
    """Score tokens by the cosine of their values and `target` [neurons]; NaN where either is 0.

    The bound is the largest scalar product over the box of values, by the least norm in it; or, for
    small boxes the better one, the cosine that is left when the box's middle turns to the target by
    the angle at which the ball around the box is seen.
    """
    unit = (target / np.linalg.norm(target) if target.any() else target * np.nan)[:, None]

    def of(values: F64) -> F64:
        with np.errstate(invalid="ignore"):
            return np.asarray(_sum(unit * values) / np.sqrt(_sum(np.square(values))))

    def bound(low: F64, high: F64) -> F64:
        product = np.sum(np.maximum(unit * low, unit * high), axis=0)
        least = np.linalg.norm(np.clip(0, low, high), axis=0)
        most = np.linalg.norm(np.maximum(np.abs(low), np.abs(high)), axis=0)
        norm = np.where(product > 0, least, most)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.where(norm > 0, product / norm, np.where(most > 0, 1.0, np.nan))
        found = np.minimum(found, _turned(unit, (low + high) / 2, (high - low) / 2))
        return np.asarray(found + _SLACK)

    def error(errors: F64, values: Callable[[], F64]) -> F64:
        off = np.linalg.norm(errors)
        turned = _angle(off, values()) + _angle(off, target[:, None])
        return np.asarray(np.minimum(turned, 2.0))

    return Score(of, bound, lambda scores: 1 - scores, error)


def _sum(values: F64) -> F64:
    """Sum over the neurons one by one: numpy's order, and so the last bit, depends on the shape."""
    total: F64 = values[0].copy()
    for row in values[1:]:
        total += row
    return total


def _turned(unit: F64, middle: F64, half: F64) -> F64:
    """Return the largest cosines to a unit vector [neurons, 1] in balls around middles."""
    length = np.linalg.norm(middle, axis=0)
    off = np.linalg.norm(half, axis=0)
    sine = np.divide(off, length, out=np.ones_like(length), where=off < 0.99 * length)
    nearest = np.divide(_sum(unit * middle), length, out=np.ones_like(length), where=length > 0)
    nearest = np.clip(nearest, -1, 1)
    left = np.sqrt(1 - sine * sine)
    # cos(a - b), where the middle is at the angle a, and the ball is seen under b
    turned = nearest * left + np.sqrt(1 - nearest * nearest) * sine
    return np.where((sine < 1) & (nearest < left), turned, 1.0)


def _angle(off: np.floating, values: F64) -> F64:
    """Return the most that vectors [neurons, n] turn which are off by a length.

    Where that is a part of their own length, it is the sine of the angle.
    """
    length = np.linalg.norm(values, axis=0)
    sine = np.divide(off, length, out=np.full_like(length, 2.0), where=length > 0)
    return np.where(sine < 1, np.arcsin(np.minimum(sine, 1.0)), np.pi)
