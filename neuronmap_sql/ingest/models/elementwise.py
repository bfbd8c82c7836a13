"""Tell by experiment whether a module is an activation function."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["bends_each_value"]

_SPAN = 8.0
"""Values from -8 to 8: every activation function in use bends within."""
_TOLERANCE = 1e-2
"""Allows for bfloat16; what mixes values, or is linear, is off by far more or by far less."""


def bends_each_value(module: nn.Module, like: Tensor) -> bool:
    """Whether a module maps each value by itself, and not linearly.

    Such a function commutes with every permutation of its input, which padding, token shifts,
    norms and softmax do not; dropout, identity and scales commute but are linear. So no list of
    classes is needed, and a class of the model's own is seen too.

    Args:
        module: takes one tensor.
        like: a tensor of the shape, dtype and device that the module takes.
    """
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(like.numel(), generator=random).to(like.device)

    def shuffled(x: Tensor) -> Tensor:
        return x.flatten()[order].reshape(x.shape)

    # Ascending values make the rows unlike each other, so that a norm over a row shows.
    x = torch.linspace(-_SPAN, _SPAN, like.numel(), device=like.device).to(like.dtype)
    x = x.reshape(like.shape)
    y = shuffled(x)
    try:
        with torch.no_grad():
            # Copies, because some activation functions work in place.
            f = [module(z.clone()) for z in (x, y, x + y, torch.zeros_like(x))]
            if not torch.allclose(f[1], shuffled(f[0]), _TOLERANCE, _TOLERANCE):
                return False
            return float((f[2] - f[0] - f[1] + f[3]).abs().max()) > 10 * _TOLERANCE
    except Exception:  # any class may be asked here, and one that wants more than a tensor is none
        return False
