"""Sums by classes, block by block, against a loop in float64."""

from __future__ import annotations

import numpy as np
import pytest

from neuronmap_sql.numerics.class_sums import (
    BLOCK,
    NO_CLASS,
    Marks,
    Tally,
    coarsens,
    merged,
    power_sums,
)

TOKENS, NEURONS, CLASSES = BLOCK + 777, 5, 300


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def added(tally: Tally, values: np.ndarray, lost: np.ndarray | None = None) -> Tally:
    for first in range(0, len(values), BLOCK):
        for part in (slice(0, 2), slice(2, NEURONS)):
            rows = slice(first, first + BLOCK)
            tally.add(first, part, values[rows, part], None if lost is None else lost[rows, part])
    return tally


@pytest.mark.parametrize("gaps", [False, True])
def test_sums_and_counts_are_those_of_a_loop(rng: np.random.Generator, gaps: bool) -> None:
    codes = rng.integers(0, CLASSES, TOKENS, dtype=np.int32)
    codes[codes == 17] = 18  # a class that no token has
    if gaps:
        codes[rng.random(TOKENS) < 0.1] = NO_CLASS
    values = rng.normal(size=(TOKENS, NEURONS))
    tally = added(Tally(Marks(codes, CLASSES), NEURONS), values)
    expected = np.array([values[codes == c].sum(axis=0) for c in range(CLASSES)])
    assert np.abs(tally.sums - expected).max() < 1e-11
    assert tally.counts[:, 0].tolist() == [(codes == c).sum() for c in range(CLASSES)]
    left = values[codes < 0]
    assert tally.without.count.tolist() == [len(left)] * NEURONS
    powers = np.array([(left**p).sum(axis=0) for p in (1, 2, 3, 4)])
    assert tally.without.powers == pytest.approx(powers, rel=1e-10, abs=1e-10)


def test_lost_values_count_for_their_neuron_alone(rng: np.random.Generator) -> None:
    codes = rng.integers(-1, 4, TOKENS, dtype=np.int32)
    values = rng.normal(size=(TOKENS, NEURONS))
    lost = np.zeros(values.shape, np.bool_)
    lost[rng.integers(0, TOKENS, 50), 3] = True
    values[lost] = 0
    tally = added(Tally(Marks(codes, 4), NEURONS), values, lost)
    expected = [[(~lost[codes == c, n]).sum() for n in range(NEURONS)] for c in range(4)]
    assert tally.counts.tolist() == expected
    assert tally.without.count.tolist() == (~lost[codes < 0]).sum(axis=0).tolist()


def test_power_sums_are_those_of_numpy(rng: np.random.Generator) -> None:
    values = rng.normal(size=(3, 8000)) ** 3
    found = power_sums(values)
    expected = np.array([(values**p).sum(axis=1) for p in (1, 2, 3, 4)])
    assert found.powers == pytest.approx(expected, rel=1e-11)
    assert found.count.tolist() == [8000] * 3


def test_what_follows_from_another_label_is_found() -> None:
    fine = np.array([0, 1, 2, 0, NO_CLASS, 4], np.int32)
    coarse = np.array([1, 0, 1, 1, NO_CLASS, 0], np.int32)
    into = coarsens(fine, 5, coarse)
    assert into is not None
    assert into.tolist() == [1, 0, 1, 0, 0]
    assert merged(np.arange(10.0).reshape(5, 2), into, 2).tolist() == [[16, 19], [4, 6]]


@pytest.mark.parametrize("other", [[1, 0, 1, 0, -1, 0], [1, 0, 1, 1, 0, 0]])
def test_what_does_not_follow_is_not(other: list[int]) -> None:
    """One class of the fine label in two, or a class where that has none."""
    fine = np.array([0, 1, 2, 0, NO_CLASS, 4], np.int32)
    assert coarsens(fine, 5, np.array(other, np.int32)) is None
