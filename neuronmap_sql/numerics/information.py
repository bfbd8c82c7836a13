"""Mutual information between neurons and labels, streaming, from values cut into equal parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.numerics.class_sums import Marks

__all__ = ["BINS", "JointCounts", "bin_edges", "bin_numbers", "mutual_information"]

BINS = 8
"""Bins of a neuron's values, with as many tokens each."""

Singles = NDArray[np.float32]


def bin_edges(sample: Singles) -> Singles:
    """Return the edges between BINS parts of values with as many in each.

    Args:
        sample: [neurons, tokens] values, NaN where there is none.

    Returns:
        [neurons, BINS - 1]; equal edges, where values are, make empty bins. NaN without values.
    """
    shares = np.arange(1, BINS) / BINS
    found = np.full((len(sample), BINS - 1), np.nan, np.float32)
    some = ~np.isnan(sample).all(axis=1)
    if some.any():
        found[some] = np.nanquantile(sample[some], shares, axis=1, method="inverted_cdf").T
    return found


def bin_numbers(values: Singles, edges: Singles) -> NDArray[np.uint8]:
    """Return the bin of each value [neurons, tokens]: how many edges lie below it."""
    found = np.zeros(values.shape, np.uint8)
    for edge in edges.T:
        found += values > edge[:, None]
    return found


class JointCounts:
    """How often a neuron's bins and the classes of a label come together."""

    def __init__(self, marks: Marks, neurons: int) -> None:
        """Begin, for so many neurons."""
        # Tokens without a class are one more.
        self._codes = np.where(marks.codes < 0, marks.classes, marks.codes).astype(np.int64) * BINS
        self._counts = np.zeros((neurons, marks.classes + 1, BINS))

    def add(
        self,
        first: int,
        neurons: Sequence[int],
        bins: NDArray[np.uint8],
        lost: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add the bins of a block of tokens, [neurons, tokens], but for those of lost values."""
        codes = self._codes[first : first + bins.shape[1]]
        cells = self._counts[0].size
        for place, neuron in enumerate(neurons):
            mine = codes if lost is None else np.where(lost[place], cells - BINS, codes)
            found = np.bincount(mine + bins[place], minlength=cells)
            self._counts[neuron] += found.reshape(-1, BINS)

    @property
    def counts(self) -> NDArray[np.float64]:
        """[classes, neurons, BINS]."""
        return self._counts[:, :-1].transpose(1, 0, 2)


def mutual_information(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mutual information in bits, less the bias of few samples.

    The estimate from counts is too large by about (cells - rows - columns + 1) / 2n nats, where
    only what occurs is counted (Miller 1955, Madow); so it is 0 on average by chance, and may fall
    below.

    Args:
        counts: [classes, neurons, bins] values.

    Returns:
        [neurons]; NaN without values.
    """
    total = counts.sum(axis=(0, 2))
    found = np.zeros(total.shape)
    for sign, axes in ((1, ()), (-1, (2,)), (-1, (0,))):
        cells = counts.sum(axis=axes, keepdims=True) if axes else counts
        logs = np.log(np.where(cells > 0, cells, 1))
        bias = np.count_nonzero(cells, axis=(0, 2)) / 2
        found += sign * ((cells * logs).sum(axis=(0, 2)) - bias)
    some = np.maximum(total, 1)
    found = np.log(some) + (found - 0.5) / some
    return np.where(total > 0, found / np.log(2), np.nan)
