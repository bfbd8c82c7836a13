"""How much of a neuron's variance a label explains, and whether chance would do as well.

The score is 1 - E[var(x | class)] / var(x), population variances (Gurnee et al. 2024, Universal
Neurons in GPT2 Language Models, arXiv 2401.12181, section 4), which is eta squared of an analysis
of variance. Many classes explain much by chance, (classes - 1) / (n - 1) on average, which epsilon
squared (Kelley 1935) takes off.

Neurons are far from normal: few tokens hold most of the variance. The p-value is therefore that of
the permutation test, by a beta distribution with the very mean and variance that the score has over
all permutations of the classes among the tokens (as Box and Andersen 1955 adjust the degrees of
freedom of F); for normal values that is the F-test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincc

from neuronmap_sql.numerics.class_sums import PowerSums

__all__ = ["Reduction", "permuted_variance", "variance_reduction"]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

_ROUNDING = 1e-12
"""A variance below this share of the mean square is rounding."""


@dataclass(frozen=True)
class Reduction:
    """What one label explains of neurons; NaN for neurons that do not vary."""

    count: Counts
    """[neurons] tokens with a class and a finite value."""
    classes: Counts
    """[neurons] classes among these tokens."""
    reduction: Floats
    """[neurons] 1 - E[var(x | class)] / var(x), from 0 to 1."""
    adjusted: Floats
    """[neurons] epsilon squared, 1 - (1 - reduction) (n - 1) / (n - classes): 0 on average by
    chance; NaN where each token has a class of its own."""
    p: Floats
    """[neurons] share of permutations that explain as much."""
    of_class: Floats
    """[classes, neurons] reduction by the class against all others."""
    difference: Floats
    """[classes, neurons] mean in the class less that of all others, in standard deviations of the
    neuron; NaN for a class without tokens, and for one that has them all."""
    mean: Floats
    """[classes, neurons] mean of the class; NaN without tokens."""


def variance_reduction(sums: Floats, counts: Counts, powers: PowerSums) -> Reduction:
    """Score neurons against a label.

    Args:
        sums: [classes, neurons] sums of values near zero (less a shift).
        counts: [classes, neurons or 1] how many values.
        powers: the power sums of the same values.
    """
    n, total = powers.count, powers.powers[0]
    k = np.count_nonzero(counts, axis=0) + np.zeros_like(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = total / n
        squares, fourths = _central(n, offset, powers.powers)
        spread = np.where(squares > _ROUNDING * powers.powers[1], squares, np.nan)
        mean = sums / counts
        between = np.where(counts > 0, sums * mean, 0.0).sum(axis=0) - total * offset
        score = np.clip(between / spread, 0.0, 1.0)
        adjusted = np.where(n > k, 1 - (1 - score) * (n - 1) / (n - k), np.nan)
        away = mean - offset
        rest = n - counts
        alone = np.clip(counts * away**2 * (n / rest) / spread, 0.0, 1.0)
        difference = away * (n / rest) / np.sqrt(spread / n)
    inverse = np.divide(1.0, counts, where=counts > 0, out=np.zeros(counts.shape)).sum(axis=0)
    p = _chance(score, n, k, inverse, fourths / spread**2)
    empty = (counts == 0) | (rest == 0)
    alone, difference = (np.where(empty, np.nan, found) for found in (alone, difference))
    return Reduction(n, k, score, adjusted, p, alone, difference, mean)


def _central(n: Counts, offset: Floats, powers: Floats) -> tuple[Floats, Floats]:
    """Return sums of squares and fourth powers about the mean."""
    one, two, three, four = powers
    squares = two - one * offset
    fourths = four - 4 * offset * three + 6 * offset**2 * two - 3 * n * offset**4
    return squares, fourths


def _chance(score: Floats, n: Counts, k: Counts, inverse: Floats, fourth: Floats) -> Floats:
    """Return the upper tail of the beta distribution with the moments of the permutations."""
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (k - 1) / (n - 1)
        spread = permuted_variance(n, k, inverse, fourth)
        size = expected * (1 - expected) / np.where(spread > 0, spread, np.nan) - 1
        size = np.where(size > 0, size, np.nan)
        found = betaincc(expected * size, (1 - expected) * size, score)
    return np.where((k > 1) & (k < n) & (n > 3), found, np.nan)


def permuted_variance(n: Counts, k: Counts, inverse: Floats, fourth: Floats) -> Floats:
    """Variance of the score over all permutations of the classes among the tokens.

    From the moments of values drawn without replacement, by products of distinct ones.

    Args:
        n: tokens, at least 4.
        k: classes.
        inverse: sum over the classes of 1 / tokens.
        fourth: sum of the fourth powers about the mean, over the squared sum of squares.
    """
    n, k = n.astype(np.float64), k.astype(np.float64)
    # Means of products of values at distinct places: x^4, x^3 y, x^2 y^2, x^2 y z, x y z w.
    m4, m22 = fourth / n, (1 - fourth) / (n * (n - 1))
    m31, m211 = -m4 / (n - 1), (2 * fourth - 1) / (n * (n - 1) * (n - 2))
    m1111 = (3 - 6 * fourth) / (n * (n - 1) * (n - 2) * (n - 3))
    # Sums over the classes of (c - 1) / c, (c - 1)(c - 2) / c, (c - 1)(c - 2)(c - 3) / c for c
    # tokens, but for the sum of c^2, which cancels against that over pairs of classes.
    once = k - inverse
    twice = n - 3 * k + 2 * inverse
    thrice = -6 * n + 11 * k - 6 * inverse
    within = m4 * inverse + (4 * m31 + 3 * m22) * once + 6 * m211 * twice + m1111 * thrice
    across = m22 * k * (k - 1) + 2 * m211 * (k - 1) * (n - k)
    across += m1111 * ((n - k) ** 2 + 2 * n - k)
    found: Floats = within + across - ((k - 1) / (n - 1)) ** 2
    return found
