"""How well a neuron is matched by chance of the basis: partners rotated at random.

Gurnee et al., "Universal Neurons in GPT2 Language Models" (arXiv 2401.12181), subtract from a
neuron's largest correlation the largest with the partner layer in a random basis. With Y the
partner's values and R the rotation, cov(x, YR) = cov(x, Y) R and var(YR) = diag(R' cov(Y, Y) R): no
second pass over the data is needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from neuronmap_sql.numerics.correlation import Spread

__all__ = ["KINDS", "Kind", "Rotated", "rotate", "rotated_best", "rotation"]

Kind = Literal["gaussian", "orthogonal", "standardised"]
KINDS: tuple[Kind, ...] = ("gaussian", "orthogonal", "standardised")
"""gaussian: independent normal entries, as published, which is no rotation in the strict sense;
orthogonal: Haar measure; standardised: orthogonal, of neurons divided by their deviations, so that
no neuron of large variance takes part in every direction."""


@dataclass(frozen=True)
class Rotated:
    """One random basis of a layer."""

    mixture: Tensor
    """[neurons, directions] float64: what covariances with the layer are multiplied by."""
    sd: Tensor
    """[directions] standard deviation of the layer's values along each."""


def rotation(kind: Kind, neurons: int, seed: int, key: str) -> Tensor:
    """Draw a rotation on the CPU, so that it is the same on every device.

    Args:
        kind: see `KINDS`.
        neurons: width of the layer.
        seed: the recipe's seed.
        key: what else tells one draw from another, such as model, layer and number.

    Returns:
        [neurons, neurons] float64.
    """
    digest = hashlib.sha256(f"{seed}:{kind}:{key}".encode()).digest()
    random = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    normal: Tensor = torch.randn(neurons, neurons, generator=random, dtype=torch.float64)
    if kind == "gaussian":
        return normal
    q, r = torch.linalg.qr(normal)
    uniform: Tensor = q * r.diagonal().sign()  # without the signs, Q is not
    return uniform


def rotate(kind: Kind, matrix: Tensor, covariance: Tensor, spread: Spread) -> Rotated:
    """Put a layer into a random basis.

    Args:
        kind: see `KINDS`.
        matrix: [neurons, neurons] from `rotation`, on the layer's device.
        covariance: [neurons, neurons] of the layer.
        spread: the layer's deviations.
    """
    if kind == "standardised":
        scale = torch.where(spread.live, 1 / spread.sd, 0.0)
        matrix = scale[:, None] * matrix
    variance = ((covariance @ matrix) * matrix).sum(0)
    return Rotated(matrix, variance.clamp_(min=0).sqrt_())


def rotated_best(covariance: Tensor, x: Spread, rotated: Rotated) -> Tensor:
    """Return each neuron's largest correlation with any direction of a rotated layer.

    Args:
        covariance: [neurons of x, neurons of the layer].
        x: the neurons' deviations.
        rotated: the layer.

    Returns:
        [neurons of x] float64; NaN for neurons not live.
    """
    if not bool((rotated.sd > 0).any()):
        return torch.full_like(x.sd, torch.nan)
    # Directions without variance, of a layer without live neurons, give no correlation.
    directions = (covariance @ rotated.mixture)[:, rotated.sd > 0] / rotated.sd[rotated.sd > 0]
    return directions.amax(1) / torch.where(x.live, x.sd, torch.nan)
