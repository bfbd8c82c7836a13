"""Rotation baselines against the direct computation, with the rotated values in hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuronmap_sql.numerics.correlation import LayerSums, Spread, covariances
from neuronmap_sql.numerics.products import add_products
from neuronmap_sql.numerics.rotation import KINDS, Kind, rotate, rotated_best, rotation

CPU = torch.device("cpu")


def summed(x: Tensor, y: Tensor) -> tuple[Spread, Spread, Tensor]:
    one, other = (LayerSums(v.shape[1], CPU, torch.float64) for v in (x, y))
    total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    add_products(total, one.take(x), other.take(y), 0)
    spreads = one.result(), other.result()
    return *spreads, covariances(total, *spreads)


@pytest.fixture(scope="module")
def layers() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    y = torch.randn(900, 24, generator=random) * torch.logspace(-1, 1, 24)
    x = torch.relu(y @ torch.randn(24, 17, generator=random)) + torch.randn(900, 17)
    y[:, 4] = 0.25  # dead
    return x, y


@pytest.mark.parametrize("kind", KINDS)
def test_the_baseline_is_that_of_the_rotated_values(
    layers: tuple[Tensor, Tensor], kind: Kind
) -> None:
    x, y = layers
    one, other, xy = summed(x, y)
    yy = summed(y, y)[2]
    matrix = rotation(kind, 24, 7, "partner:0:0")
    found = rotated_best(xy, one, rotate(kind, matrix, yy, other))
    values = y.double()
    if kind == "standardised":
        sd = values.std(0, correction=0)
        sd[4] = torch.inf
        values = values / sd
    turned = (values @ matrix).numpy()
    both = np.corrcoef(x.double().numpy().T, turned.T)[:17, 17:]
    np.testing.assert_allclose(found.numpy(), both.max(1), rtol=0, atol=1e-12)


def test_orthogonal_rotations_are_orthogonal_and_all_are_seeded() -> None:
    for kind in KINDS:
        one = rotation(kind, 12, 1, "a")
        assert torch.equal(one, rotation(kind, 12, 1, "a"))
        assert not torch.equal(one, rotation(kind, 12, 2, "a"))
        assert not torch.equal(one, rotation(kind, 12, 1, "b"))
        apart = (one.T @ one - torch.eye(12, dtype=torch.float64)).abs().max()
        assert (apart < 1e-12) == (kind != "gaussian")


def test_haar_rotations_point_everywhere() -> None:
    """QR alone gives a diagonal of one sign; uniform rotations do not."""
    found = torch.stack([rotation("orthogonal", 4, seed, "a").diagonal() for seed in range(200)])
    assert (found.mean(0).abs() < 0.15).all()


def test_a_neuron_of_large_variance_hides_in_the_published_baseline() -> None:
    """Every gaussian direction is made of the one loud neuron: its own match is no excess."""
    random = torch.Generator().manual_seed(0)
    y = torch.randn(2000, 32, generator=random)
    y[:, 0] *= 100
    x = y[:, :1].clone()
    one, other, xy = summed(x, y)
    yy = summed(y, y)[2]
    best = {
        kind: float(rotated_best(xy, one, rotate(kind, rotation(kind, 32, 0, "a"), yy, other))[0])
        for kind in KINDS
    }
    assert best["gaussian"] > 0.99
    assert best["standardised"] < 0.7


def test_a_layer_without_live_neurons_has_no_baseline(layers: tuple[Tensor, Tensor]) -> None:
    x, _ = layers
    dead = torch.ones(900, 3)
    one, other, xy = summed(x, dead)
    yy = summed(dead, dead)[2]
    for kind in KINDS:
        found = rotated_best(xy, one, rotate(kind, rotation(kind, 3, 0, "a"), yy, other))
        assert found.isnan().all()
