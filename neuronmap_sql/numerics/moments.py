"""Streaming moments: shifted power sums in float64, on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Moments", "central_moments", "power_sums"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Population moments of neurons; NaN where they are not defined."""

    mean: Array
    """[neurons] mean."""
    variance: Array
    """[neurons] second central moment (divided by n)."""
    skewness: Array
    """[neurons] m3 / m2^1.5; NaN for a constant neuron."""
    kurtosis: Array
    """[neurons] m4 / m2^2, 3 for a Gaussian; NaN for a constant neuron."""


def power_sums(
    values: torch.Tensor, shift: torch.Tensor, where: torch.Tensor | None = None
) -> torch.Tensor:
    """Sums of (x - shift)^p for p = 1..4 over the tokens.

    Args:
        values: [tokens, neurons], any float type.
        shift: [neurons] float64, near the mean: it keeps the sums small beside what they measure.
        where: [tokens, neurons] which values count; all, if left out.

    Returns:
        [4, neurons] float64; not finite exactly where a value is not (float32 values to the fourth
        power stay below 1e155).
    """
    first = values.to(torch.float64, copy=True).sub_(shift)
    if where is not None:
        first.masked_fill_(~where, 0.0)
    second = first * first
    fourth = torch.linalg.vecdot(second, second, dim=0)
    sums = [first.sum(0), second.sum(0)]
    third = second.mul_(first).sum(0)
    return torch.stack([*sums, third, fourth])


def central_moments(count: npt.NDArray[np.int64], shift: Array, sums: Array) -> Moments:
    """Turn shifted power sums into moments.

    Args:
        count: [neurons] values summed.
        shift: [neurons] the shift.
        sums: [4, neurons] from `power_sums`, added over batches.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        s1, s2, s3, s4 = sums / count
        m2 = s2 - s1**2
        # A constant neuron's variance is rounding alone; its shift is its value.
        m2 = np.where(m2 <= 1e-28 * np.maximum(shift**2, s2), 0.0, m2)
        m3 = s3 - 3 * s1 * s2 + 2 * s1**3
        m4 = s4 - 4 * s1 * s3 + 6 * s1**2 * s2 - 3 * s1**4
        spread = np.where(m2 > 0, m2, np.nan)
        return Moments(shift + s1, m2 + 0 * s1, m3 / spread**1.5, m4 / spread**2)
