"""Streaming correlations against float64 brute force, and what they do with odd neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from neuronmap_sql.numerics.correlation import (
    LayerSums,
    Spread,
    cka,
    correlations,
    covariances,
)
from neuronmap_sql.numerics.products import add_products, tokens_in_float32

CPU = torch.device("cpu")


def planted(tokens: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two layers of GELU neurons whose correlations run from none to almost one."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(tokens, width, generator=random) * torch.logspace(-3, 3, width)
    share = torch.linspace(0, 0.999, width)
    noise = torch.randn(tokens, width, generator=random) * x.std(0)
    y = torch.nn.functional.gelu(share * x + (1 - share) * noise + 5)
    return x + 100 * torch.rand(width, generator=random), y


def streamed(
    x: Tensor, y: Tensor, chunk: int, run: int
) -> tuple[Tensor, tuple[Spread, Spread], Tensor]:
    dtype = torch.float32 if run else torch.float64
    one, other = (LayerSums(v.shape[1], CPU, dtype) for v in (x, y))
    total = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64)
    for some, others in zip(x.split(chunk), y.split(chunk), strict=True):
        add_products(total, one.take(some), other.take(others), run)
    spreads = one.result(), other.result()
    covariance = covariances(total, *spreads)
    return correlations(covariance, *spreads), spreads, covariance


def brute_force(x: Tensor, y: Tensor) -> np.ndarray:
    both = np.corrcoef(x.double().numpy().T, y.double().numpy().T)
    return both[: x.shape[1], x.shape[1] :]


@pytest.mark.parametrize(("tokens", "width"), [(300, 70), (5000, 130), (40_000, 40)])
def test_correlations_are_those_of_float64(tokens: int, width: int) -> None:
    x, y = planted(tokens, width)
    run = tokens_in_float32(tokens, CPU)
    found, _, _ = streamed(x, y, 512, run)
    assert np.abs(found.numpy() - brute_force(x, y)).max() < 3e-8


def test_long_sums_in_float32_are_not_as_good() -> None:
    """The negative control of the test above: the runs must be short."""
    x, y = planted(5000, 130)
    assert tokens_in_float32(5000, CPU) == 0
    exact, _, _ = streamed(x, y, 5000, 0)
    coarse, _, _ = streamed(x, y, 5000, tokens_in_float32(5000, CPU, "float32"))
    expected = brute_force(x, y)
    assert np.abs(exact.numpy() - expected).max() < 1e-12
    assert np.abs(coarse.numpy() - expected).max() > 3e-8


def test_runs_grow_with_the_tokens() -> None:
    runs = [tokens_in_float32(10**power, CPU) for power in range(3, 9)]
    assert runs == sorted(runs)
    assert (runs[0], runs[-1]) == (0, 1024)
    assert tokens_in_float32(10**9, CPU, "float64") == 0


def test_chunks_do_not_matter() -> None:
    x, y = planted(700, 20)
    whole, _, _ = streamed(x, y, 700, 0)
    parts, _, _ = streamed(x, y, 13, 0)
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-12)


def test_tiles_cover_layers_of_any_width() -> None:
    x, y = torch.randn(64, 513), torch.randn(64, 1025)
    total = torch.zeros(513, 1025, dtype=torch.float64)
    add_products(total, x, y, 32)
    torch.testing.assert_close(total, (x.double().T @ y.double()), rtol=1e-5, atol=1e-5)


def test_dead_and_overflowing_neurons_are_flagged_and_have_no_correlation() -> None:
    x, y = planted(400, 8)
    x[:, 2] = 0.1  # whose mean is not 0.1 in float32
    x[7, 3] = torch.inf
    y[9, 5] = torch.nan
    found, (one, other), covariance = streamed(x, y, 100, 32)
    assert one.dead.nonzero().flatten().tolist() == [2]
    assert one.overflowing.nonzero().flatten().tolist() == [3]
    assert other.overflowing.nonzero().flatten().tolist() == [5]
    assert found[[2, 3]].isnan().all()
    assert found[:, 5].isnan().all()
    assert covariance.isfinite().all()
    alive_x, alive_y = [0, 1, 4, 5, 6, 7], [0, 1, 2, 3, 4, 6, 7]
    expected = brute_force(x[:, alive_x], y[:, alive_y])
    assert np.abs(found[alive_x][:, alive_y].numpy() - expected).max() < 1e-6


def test_a_neuron_that_is_dead_in_all_but_one_token_is_live() -> None:
    x, y = planted(300, 3)
    x[:, 1] = 1e4
    x[5, 1] = 1e4 + 1
    found, (one, _), _ = streamed(x, y, 64, 0)
    assert one.live.all()
    assert np.abs(found.numpy() - brute_force(x, y)).max() < 3e-8


def test_cka_is_that_of_the_gram_matrices() -> None:
    x, y = planted(200, 12)
    _, spreads, xy = streamed(x, y, 50, 0)
    _, _, xx = streamed(x, x, 50, 0)
    _, _, yy = streamed(y, y, 50, 0)
    centred = [v.double() - v.double().mean(0) for v in (x, y)]
    k, h = (v @ v.T for v in centred)
    expected = float((k * h).sum() / (k.norm() * h.norm()))
    assert cka(xy, xx, yy) == pytest.approx(expected, abs=1e-12)
    assert cka(xx, xx, xx) == pytest.approx(1)
    assert spreads[0].units == 200
