"""Streaming histograms on the device, and the quantiles that follow from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from neuronmap_sql.numerics.bins import BINS, HALF, LOWEST_EXPONENT, RELATIVE_WIDTH, edges

Array = npt.NDArray[np.float64]

__all__ = ["add_to_histogram", "bin_codes", "histogram_quantiles", "quantile_error"]

_MANTISSA_BITS = 23 - 4
_FIRST_CODE = (127 + LOWEST_EXPONENT) << 4
_MAGNITUDE = 0x7FFFFFFF


def bin_codes(values: torch.Tensor) -> torch.Tensor:
    """Return the bin of each finite float32 value as int32, from its bits (see `bins`).

    Exponent and first four mantissa bits are the magnitude code; bits at or below zero as an
    integer are those of zero and of negative values.
    """
    bits = values.view(torch.int32)
    code = (bits & _MAGNITUDE) >> _MANTISSA_BITS
    code.sub_(_FIRST_CODE - 1).clamp_(0, HALF - 1)
    # -1 - code for values up to zero: xor with all ones.
    return code.bitwise_xor_((bits <= 0).int().neg_()).add_(HALF)


def add_to_histogram(
    counts: torch.Tensor, values: torch.Tensor, where: torch.Tensor | None = None
) -> None:
    """Add float32 `values` [tokens, neurons], `where` they count, to `counts` [neurons, 1024].

    Without `where` every value must be finite.
    """
    # Neuron-major order keeps one neuron's 4 kB of counts in the first-level cache.
    codes = bin_codes(values).t().contiguous().long()
    if where is None:
        add = torch.ones(1, 1, dtype=counts.dtype, device=counts.device).expand_as(codes)
    else:
        add = where.t().to(counts.dtype)
    counts.scatter_add_(1, codes, add)


def histogram_quantiles(
    counts: npt.NDArray[np.integer],
    levels: npt.NDArray[np.float64],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Quantiles from histograms, linear between order statistics as in `numpy.quantile`.

    Args:
        counts: [neurons, 1024] values in each bin.
        levels: [levels] in 0..1.
        low: [neurons] smallest values, finite.
        high: [neurons] largest values, finite.

    Returns:
        [neurons, levels]; NaN for a neuron without values. Each order statistic is placed within
        its bin as if the bin's values were evenly spread, so the error stays below the width of
        the bins of the two order statistics that a quantile lies between: see `quantile_error`.
    """
    total = counts.sum(axis=1, dtype=np.int64)
    rank = levels[None, :] * np.maximum(total - 1, 0)[:, None]
    below = np.floor(rank)
    lower = _order_statistics(counts, below, low, high)
    upper = _order_statistics(counts, np.ceil(rank), low, high)
    out: Array = lower + (upper - lower) * (rank - below)
    out[total == 0] = np.nan
    return out


def quantile_error(low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Bound on the error of `histogram_quantiles`, over the magnitude of the order statistics.

    Args:
        low: smallest values.
        high: largest values, of the same shape.

    Returns:
        `RELATIVE_WIDTH`, or more where values reach far into an outermost bin, which has no end.
        Magnitudes below 2^-16 share a bin: there the bound is 2^-16, absolute.
    """
    most = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    bound: Array = np.maximum(RELATIVE_WIDTH, most / edges()[-2] - 1)
    return bound


def _order_statistics(
    counts: npt.NDArray[np.integer],
    rank: npt.NDArray[np.float64],
    low: npt.NDArray[np.float32],
    high: npt.NDArray[np.float32],
) -> npt.NDArray[np.float64]:
    """Estimate of the value of each rank (from 0), [neurons, ranks]."""
    cumulative = np.cumsum(counts, axis=1, dtype=np.int64)
    at = np.empty(rank.shape, dtype=np.int64)
    for row, (steps, wanted) in enumerate(zip(cumulative, rank, strict=True)):
        at[row] = np.searchsorted(steps, wanted, side="right")
    at = np.minimum(at, BINS - 1)
    here = np.take_along_axis(counts, at, axis=1)
    before = np.take_along_axis(cumulative, at, axis=1) - here
    bounds = edges()
    start = np.maximum(bounds[at], low[:, None])
    end = np.minimum(bounds[at + 1], high[:, None])
    placed: Array = start + (end - start) * (rank - before + 0.5) / np.maximum(here, 1)
    return placed


assert RELATIVE_WIDTH == 2.0 ** -(23 - _MANTISSA_BITS)
