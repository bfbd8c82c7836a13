"""Streaming moments against numpy and scipy on all values at once, in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats

from neuronmap_sql.numerics.moments import Moments, central_moments, power_sums

Array = npt.NDArray[np.float32]
RNG = np.random.default_rng(7)
TOKENS = 20_000


def streamed(values: Array, batch: int = 1000, shift: Array | None = None) -> Moments:
    """Moments of [tokens, neurons] in batches; the shift is the first batch's mean."""
    tensor = torch.from_numpy(values)
    start = tensor[:batch].double().mean(0) if shift is None else torch.from_numpy(shift).double()
    sums = sum(power_sums(part, start) for part in tensor.split(batch))
    count = np.full(values.shape[1], len(values))
    return central_moments(count, start.numpy(), sums.numpy())


def check(values: Array, found: Moments, relative: float = 1e-9) -> None:
    exact = values.astype(np.float64)
    spread = exact.std(axis=0)
    assert np.abs(found.mean - exact.mean(axis=0)).max() <= relative * spread.max()
    assert found.variance == pytest.approx(exact.var(axis=0), rel=relative)
    assert found.skewness == pytest.approx(stats.skew(exact, axis=0), rel=relative, abs=relative)
    kurtosis = stats.kurtosis(exact, axis=0, fisher=False)
    assert found.kurtosis == pytest.approx(kurtosis, rel=relative)


SAMPLES = {
    "gaussian": RNG.standard_normal((TOKENS, 5)),
    "relu": np.maximum(RNG.standard_normal((TOKENS, 5)) - 2, 0),
    "large mean, small variance": 1000 + 0.01 * RNG.standard_normal((TOKENS, 5)),
    "negative mean": -30 + 0.5 * RNG.standard_normal((TOKENS, 5)),
    "root mean square 1e3": 1e3 * RNG.standard_normal((TOKENS, 5)),
    "heavy tails": RNG.standard_t(3, (TOKENS, 5)),
    "tiny": 1e-20 * RNG.standard_normal((TOKENS, 5)),
    "a rare outlier": np.where(RNG.random((TOKENS, 5)) < 1e-3, 3000, 0.1)
    * RNG.standard_normal((TOKENS, 5)),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_moments_equal_float64_brute_force(name: str) -> None:
    values = SAMPLES[name].astype(np.float32)
    check(values, streamed(values))


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_order_of_the_batches_does_not_matter(order: str) -> None:
    # Sorted values make the first batch's mean the worst shift that data can give.
    values = np.sort(SAMPLES["large mean, small variance"].astype(np.float32), axis=0)
    values = values if order == "ascending" else values[::-1].copy()
    check(values, streamed(values))


def test_without_a_shift_the_digits_would_be_lost() -> None:
    values = SAMPLES["large mean, small variance"].astype(np.float32)
    found = streamed(values, shift=np.zeros(5, np.float32))
    with pytest.raises(AssertionError):
        check(values, found)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.25e-7, 1234.567, 1e30])
def test_a_constant_neuron_has_variance_zero_and_no_shape(value: float) -> None:
    found = streamed(np.full((3000, 2), value, np.float32))
    assert found.mean == pytest.approx(np.float32(value), rel=1e-12)
    assert (found.variance == 0).all()
    assert np.isnan(found.skewness).all()
    assert np.isnan(found.kurtosis).all()


def test_the_smallest_float32_spread_is_not_taken_for_constant() -> None:
    values = np.full((50_000, 1), 1000, np.float32)
    values[77] = np.nextafter(np.float32(1000), np.float32(2000))
    found = streamed(values)
    assert found.variance == pytest.approx(values.astype(np.float64).var(axis=0), rel=1e-6)


def test_masked_values_do_not_count() -> None:
    values = SAMPLES["gaussian"].astype(np.float32)
    where = np.isfinite(values) & (RNG.random(values.shape) < 0.9)
    dirty = np.where(where, values, np.nan).astype(np.float32)
    shift = torch.zeros(5, dtype=torch.float64)
    sums = power_sums(torch.from_numpy(dirty), shift, torch.from_numpy(where)).numpy()
    found = central_moments(where.sum(0), shift.numpy(), sums)
    for neuron in range(5):
        kept = values[where[:, neuron], neuron].astype(np.float64)
        assert found.kurtosis[neuron] == pytest.approx(stats.kurtosis(kept, fisher=False), rel=1e-9)


def test_no_values_give_nan_throughout() -> None:
    found = central_moments(np.zeros(2, np.int64), np.zeros(2), np.zeros((4, 2)))
    assert all(np.isnan(part).all() for part in vars(found).values())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_sums_are_not_finite_exactly_where_a_value_is_not(bad: float) -> None:
    values = np.full((100, 3), 3e38, np.float32)
    values[50, 1] = bad
    sums = power_sums(torch.from_numpy(values), torch.zeros(3, dtype=torch.float64))
    assert sums.isfinite().all(0).tolist() == [True, False, True]


def test_the_values_are_not_changed() -> None:
    values = torch.ones(4, 2, dtype=torch.float64)
    power_sums(values, torch.ones(2, dtype=torch.float64))
    assert (values == 1).all()
