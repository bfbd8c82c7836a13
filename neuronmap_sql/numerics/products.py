"""Sums of products over tokens, in float64, at nearly the speed of float32 matrix products.

A float32 product of two correlated columns loses digits with every token that is added to a sum
that has grown: after b tokens about b^1.5 / 3 units in the last place, and so b / (3 sqrt(n)) of
them in a correlation over n tokens. So a sum is carried in float32 over b tokens only, and in
float64 from there; b grows with n, and below 32 all is float64.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from neuronmap_sql.numerics.stripes import each_stripe

__all__ = ["Precision", "add_products", "tokens_in_float32"]

Precision = Literal["auto", "float32", "float64"]
"""How products are computed: `auto` keeps correlations within 3e-8 of float64."""

_TILE = 512
"""Neurons of a tile on a CPU: its sums stay in a core's cache while tokens are added."""

_SHORTEST, _LONGEST = 32, 1024
"""Tokens that a float32 sum may run over: fewer are no faster than float64."""

_FULL_RATE = ((8, 0), (9, 0), (10, 0))
"""Compute capabilities of GPUs whose float64 matrix products are as fast as float32's."""


def tokens_in_float32(tokens: int, device: torch.device, precision: Precision = "auto") -> int:
    """Return how many tokens a float32 sum may run over, 0 if all is to be float64.

    Args:
        tokens: all tokens of the correlation.
        device: where it is computed.
        precision: `float64`, `float32` over the longest runs, or `auto`: largest error in a
            correlation 3e-8, as measured (docs/benchmarks.md).
    """
    if precision == "float32":
        return _LONGEST
    if precision == "float64" or _float64_is_fast(device):
        return 0
    run = 1 << int(math.log2(max(0.4 * math.sqrt(tokens), 1)))
    return 0 if run < _SHORTEST else min(run, _LONGEST)


def _float64_is_fast(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) in _FULL_RATE


def add_products(total: Tensor, x: Tensor, y: Tensor, run: int) -> None:
    """Add x^T y to a sum.

    Args:
        total: [neurons of x, neurons of y] float64, changed in place.
        x: [tokens, neurons] of the same number format as y.
        y: [tokens, neurons].
        run: tokens summed in float32, from `tokens_in_float32`.
    """
    if run == 0:
        total.addmm_(x.T.double(), y.double())
        return
    tile = _TILE if total.device.type == "cpu" else max(total.shape)
    rows, columns = (-(-size // tile) for size in total.shape)

    def add(number: int) -> None:
        row, column = (tile * place for place in divmod(number, columns))
        part = total[row : row + tile, column : column + tile]
        _add_tile(part, x[:, row : row + tile], y[:, column : column + tile], run)

    each_stripe(add, rows * columns, total.device)


def _add_tile(total: Tensor, x: Tensor, y: Tensor, run: int) -> None:
    single = torch.empty(total.shape, dtype=torch.float32, device=total.device)
    for some, others in zip(x.split(run), y.split(run), strict=True):
        torch.mm(some.T, others, out=single)
        total += single
