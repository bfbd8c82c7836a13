"""Histograms against numpy's search over the edges, quantiles against numpy.quantile."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neuronmap_sql.numerics.bins import BINS, RELATIVE_WIDTH, bin_of, edges
from neuronmap_sql.numerics.histogram import (
    add_to_histogram,
    bin_codes,
    histogram_quantiles,
    quantile_error,
)

Array = npt.NDArray[np.float32]
LEVELS = np.array([0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999, 1.0])
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
RNG = np.random.default_rng(3)


def searched(values: Array) -> npt.NDArray[np.int64]:
    """Counts [1024] by search over the edges, half-open away from zero on both sides."""
    right = np.searchsorted(edges(), values[values > 0], side="right") - 1
    left = np.searchsorted(edges(), values[values <= 0], side="left") - 1
    return np.bincount(np.concatenate([right, left]), minlength=BINS)


def counted(values: Array, batch: int = 997) -> npt.NDArray[np.int32]:
    counts = torch.zeros(values.shape[1], BINS, dtype=torch.int32)
    for part in torch.from_numpy(values).split(batch):
        add_to_histogram(counts, part)
    return counts.numpy()


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_codes_from_bits_are_the_bins(values: list[float]) -> None:
    x = np.array(values, np.float32)
    assert np.array_equal(bin_codes(torch.from_numpy(x)).numpy(), bin_of(x))


def test_codes_on_and_beside_every_edge() -> None:
    inner = edges()[1:-1].astype(np.float32)
    x = np.concatenate(
        [inner, np.nextafter(inner, np.float32(np.inf)), np.nextafter(inner, -np.inf)]
    )
    x = np.concatenate(
        [x.astype(np.float32), np.float32([0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38])]
    )
    assert np.array_equal(bin_codes(torch.from_numpy(x)).numpy(), bin_of(x))


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e4])
def test_counts_are_exact(scale: float) -> None:
    values = (RNG.standard_t(2, (5000, 4)) * scale).astype(np.float32)
    found = counted(values)
    for neuron in range(4):
        assert np.array_equal(found[neuron], searched(values[:, neuron]))


def test_values_that_are_masked_are_not_counted() -> None:
    values = RNG.standard_normal((300, 3)).astype(np.float32)
    where = RNG.random(values.shape) < 0.5
    dirty = np.where(where, values, np.nan).astype(np.float32)
    counts = torch.zeros(3, BINS, dtype=torch.int32)
    add_to_histogram(counts, torch.from_numpy(dirty), torch.from_numpy(where))
    for neuron in range(3):
        assert np.array_equal(counts[neuron].numpy(), searched(values[where[:, neuron], neuron]))


def order_statistics(values: Array) -> tuple[Array, Array]:
    """The two order statistics that numpy.quantile interpolates between, [levels] each."""
    rank = LEVELS * (len(values) - 1)
    ordered = np.sort(values).astype(np.float64)
    return ordered[np.floor(rank).astype(int)], ordered[np.ceil(rank).astype(int)]


def check(values: Array) -> None:
    low, high = values.min(keepdims=True), values.max(keepdims=True)
    found = histogram_quantiles(counted(values[:, None]), LEVELS, low, high)[0]
    lower, upper = order_statistics(values)
    bound = quantile_error(low, high) * np.maximum(abs(lower), abs(upper))
    exact = np.quantile(values.astype(np.float64), LEVELS)
    assert (np.abs(found - exact) <= np.maximum(bound, 2.0**-16)).all()


SAMPLES = {
    "gaussian": RNG.standard_normal(20_000),
    "heavy tails": RNG.standard_cauchy(20_000),
    "relu": np.maximum(RNG.standard_normal(20_000), 0),
    "two far peaks": np.repeat([-1000.0, 1000.0], 600) + RNG.standard_normal(1200),
    "beyond the last edge": 10 ** RNG.uniform(4, 7, 5000),
    "below the first edge": RNG.standard_normal(5000) * 1e-6,
    "constant": np.full(2000, -3.7),
    "one value": np.array([5.0]),
    "all zero": np.zeros(100),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_quantiles_are_within_the_stated_error(name: str) -> None:
    check(SAMPLES[name].astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 40), elements=FINITE))
def test_quantiles_of_anything_are_within_the_stated_error(values: Array) -> None:
    check(values)


def test_the_error_is_that_of_a_bin_unless_values_leave_the_bins() -> None:
    assert quantile_error([-1.0, 0, 3], [2.0, 0, 65_000]) == pytest.approx([RELATIVE_WIDTH] * 3)
    assert quantile_error([-614_400.0], [1.0]) == pytest.approx([9.0])


def test_extreme_quantiles_of_a_constant_are_its_value() -> None:
    values = np.full((500, 1), 0.3, np.float32)
    found = histogram_quantiles(counted(values), LEVELS, values[0], values[0])
    assert (found == np.float32(0.3)).all()


def test_a_neuron_without_values_has_no_quantiles() -> None:
    zero = np.zeros(1, np.float32)
    assert np.isnan(histogram_quantiles(np.zeros((1, BINS), int), LEVELS, zero, zero)).all()
