"""Pearson correlation of every neuron of one layer with every neuron of another, streaming."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LayerSums", "Spread", "cka", "correlations", "covariances"]


@dataclass(frozen=True)
class Spread:
    """What one layer brings to its correlations."""

    units: int
    """Tokens (or other units) summed."""
    offset: Tensor
    """[neurons] float64: mean less the shift that values were centred with."""
    sd: Tensor
    """[neurons] float64: population standard deviation; 0 where a neuron is not live."""
    dead: Tensor
    """[neurons] whether the values never change."""
    overflowing: Tensor
    """[neurons] whether a NaN or infinity was among the values."""

    @property
    def live(self) -> Tensor:
        """[neurons] whether a neuron has correlations."""
        return ~(self.dead | self.overflowing)


class LayerSums:
    """Sums of one layer's values, over all tokens."""

    def __init__(self, neurons: int, device: torch.device, dtype: torch.dtype) -> None:
        """Begin.

        Args:
            neurons: width of the layer.
            device: where its values are.
            dtype: what products are computed in: float32 or float64.
        """
        self._dtype = dtype
        self._shift: Tensor | None = None
        self._units = 0
        self._sums = torch.zeros(2, neurons, dtype=torch.float64, device=device)
        self._low = torch.full((neurons,), torch.inf, device=device)
        self._high = torch.full((neurons,), -torch.inf, device=device)
        self._overflowing = torch.zeros(neurons, dtype=torch.bool, device=device)

    def take(self, values: Tensor, *, count: bool = True) -> Tensor:
        """Take in float32 values [units, neurons].

        Args:
            values: the values.
            count: whether they are new; else they have been taken in before.

        Returns:
            The values less a shift near their mean, in the number format of products. What is not
            finite becomes 0.
        """
        finite = values.isfinite()
        if not bool(finite.all()):
            self._overflowing |= ~finite.all(0)
            values = torch.where(finite, values, 0.0)
        if self._shift is None and len(values):
            self._shift = values.double().mean(0).to(self._dtype)
        centred = values.to(self._dtype)
        if self._shift is not None:
            centred = centred - self._shift
        if count and len(values):
            self._count(values, centred.double())
        return centred

    def _count(self, values: Tensor, centred: Tensor) -> None:
        self._low = torch.minimum(self._low, values.amin(0))
        self._high = torch.maximum(self._high, values.amax(0))
        self._sums += torch.stack([centred.sum(0), (centred * centred).sum(0)])
        self._units += len(values)

    def result(self) -> Spread:
        """Return means and deviations.

        Raises:
            ValueError: nothing was taken in.
        """
        if not self._units:
            raise ValueError("no values were taken in")
        offset, square = self._sums / self._units
        dead = (self._low == self._high) & ~self._overflowing
        sd = (square - offset * offset).clamp_(min=0).sqrt_()
        dead |= (sd == 0) & ~self._overflowing
        sd[dead | self._overflowing] = 0.0
        return Spread(self._units, offset, sd, dead, self._overflowing)


def covariances(products: Tensor, x: Spread, y: Spread) -> Tensor:
    """Turn sums of products into population covariances, in place.

    Args:
        products: [neurons of x, neurons of y] sums of products of what `LayerSums.take` returned.
        x: the layer of the rows.
        y: the layer of the columns.

    Returns:
        `products`; 0 for neurons that are not live.
    """
    products.div_(x.units).addr_(x.offset, y.offset, alpha=-1)
    products[~x.live] = 0.0
    products[:, ~y.live] = 0.0
    return products


def correlations(covariance: Tensor, x: Spread, y: Spread) -> Tensor:
    """Return Pearson correlations [neurons of x, neurons of y]; NaN for neurons not live."""
    found = covariance / x.sd[:, None] / y.sd
    return found.clamp_(-1.0, 1.0)


def cka(xy: Tensor, xx: Tensor, yy: Tensor) -> float:
    """Linear centred kernel alignment from covariances of the features.

    ||C_xy||_F^2 / (||C_xx||_F ||C_yy||_F): Kornblith et al. 2019, arXiv 1905.00414, equation 5.

    Returns:
        0 to 1; NaN if a layer has no live neuron.
    """
    between = float(xy.square().sum())
    within = float(xx.norm()) * float(yy.norm())
    return between / within if within > 0 else float("nan")
