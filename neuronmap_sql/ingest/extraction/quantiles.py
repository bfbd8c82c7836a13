"""Quantiles of neurons: exact where all tokens were sampled, else from the histograms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuronmap_sql.ingest.extraction.reducers import Reduced
from neuronmap_sql.numerics.histogram import histogram_quantiles, quantile_error

__all__ = ["quantiles"]

_NEURONS = 4096
"""Neurons at once: what is computed from them takes tens of MB, however wide the layer."""

Array = npt.NDArray[np.float64]


def quantiles(found: Reduced, levels: Array) -> tuple[Array, Array]:
    """Return the quantiles [neurons, levels], NaN without values, and the bound on their error.

    Args:
        found: what a reducer found.
        levels: in 0..1.
    """
    neurons = len(found.count)
    exact = (found.count + found.nonfinite).max(initial=0) <= len(found.sample)
    low = np.where(found.lowest[1][:, 0] >= 0, found.lowest[0][:, 0], 0)
    high = np.where(found.highest[1][:, 0] >= 0, found.highest[0][:, 0], 0)
    out = np.full((neurons, len(levels)), np.nan)
    for first in range(0, neurons, _NEURONS):
        part = slice(first, first + _NEURONS)
        out[part] = (
            _of_values(found.sample[:, part].astype(np.float64), levels)
            if exact
            else histogram_quantiles(found.histogram[part], levels, low[part], high[part])
        )
    return out, np.zeros(neurons) if exact else quantile_error(low, high)


def _of_values(values: Array, levels: Array) -> Array:
    """Quantiles of [tokens, neurons], NaN left out."""
    out = np.full((values.shape[1], len(levels)), np.nan)
    finite = np.isfinite(values).sum(axis=0)
    whole, some = finite == len(values), (finite > 0) & (finite < len(values))
    out[whole] = np.quantile(values[:, whole], levels, axis=0).T
    if some.any():  # nanquantile goes neuron by neuron, a hundred times as slow
        out[some] = np.nanquantile(values[:, some], levels, axis=0).T
    return out
