"""Streaming top-k against a full sort of (value, earlier token first)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronmap_sql.numerics.extremes import MAX_TOKENS, Extremes

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
RNG = np.random.default_rng(11)


def brute(values: Array, tok: Ints, k: int, lowest: bool) -> tuple[Array, Ints]:
    """Values and tokens [neurons, k]: sort by value, then by token; token -1 for none."""
    neurons = values.shape[1]
    best, who = np.zeros((neurons, k), np.float32), np.full((neurons, k), -1)
    for neuron in range(neurons):
        x = values[:, neuron]
        there = np.flatnonzero(~np.isnan(x))
        order = there[np.lexsort((tok[there], x[there] if lowest else -x[there]))][:k]
        best[neuron, : len(order)], who[neuron, : len(order)] = x[order], tok[order]
    return best, who


def streamed(values: Array, tok: Ints, k: int, lowest: bool, batch: int) -> Extremes:
    found = Extremes(values.shape[1], k, lowest=lowest, device="cpu")
    for start in range(0, len(values), batch):
        part = slice(start, start + batch)
        found.update(torch.from_numpy(values[part]), torch.from_numpy(tok[part]))
    return found


def check(values: Array, tok: Ints, k: int, lowest: bool, batch: int) -> None:
    value, who = streamed(values, tok, k, lowest, batch).result()
    best, whom = brute(values, tok, k, lowest)
    assert np.array_equal(who, whom)
    assert np.array_equal(value[whom >= 0], best[whom >= 0])


SAMPLES = {
    "gaussian": RNG.standard_normal((3000, 7)),
    "ties": RNG.integers(0, 4, (3000, 7)),
    "relu": np.maximum(RNG.standard_normal((3000, 7)) - 1.5, 0),
    "dead": np.zeros((3000, 7)),
    "all negative": -np.abs(RNG.standard_normal((3000, 7))) - 1,
    "signed zeros": np.where(RNG.random((3000, 7)) < 0.5, 0.0, -0.0),
    "rising": np.linspace(-1, 1, 3000)[:, None] * np.ones(7),
    "huge": RNG.standard_normal((3000, 7)) * 1e37,
}


@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("batch", [1, 64, 3000])
@pytest.mark.parametrize("name", SAMPLES)
def test_extremes_are_exact(name: str, batch: int, lowest: bool) -> None:
    values = SAMPLES[name].astype(np.float32)[: 400 if batch == 1 else None]
    check(values, np.arange(len(values)), 20, lowest, batch)


@pytest.mark.parametrize("name", ["gaussian", "ties", "relu", "dead"])
def test_order_of_the_batches_does_not_matter(name: str) -> None:
    values, order = SAMPLES[name].astype(np.float32), RNG.permutation(3000)
    for lowest in (False, True):
        check(values[order], order, 20, lowest, 100)


def test_more_wanted_than_there_are() -> None:
    values = RNG.standard_normal((13, 4)).astype(np.float32)
    check(values, np.arange(13), 50, False, 5)
    check(values, np.arange(13), 50, True, 5)


def test_nan_is_never_among_them() -> None:
    values = RNG.standard_normal((200, 5)).astype(np.float32)
    values[RNG.random(values.shape) < 0.9] = np.nan
    values[:, 0] = np.nan
    check(values, np.arange(200), 30, False, 50)
    check(values, np.arange(200), 30, True, 50)


def test_the_lowest_of_a_relu_is_plain_zero() -> None:
    value, _ = streamed(np.zeros((5, 1), np.float32), np.arange(5), 2, True, 5).result()
    assert not np.signbit(value).any()


def test_the_last_token_that_a_key_can_hold() -> None:
    tok = np.array([MAX_TOKENS - 1, MAX_TOKENS - 2, 0])
    check(np.ones((3, 1), np.float32), tok, 2, False, 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_values_in_any_batches(data: st.DataObject) -> None:
    tokens, neurons = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 3))
    few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 1e-45, -1e38, float("nan")])
    flat = data.draw(st.lists(few, min_size=tokens * neurons, max_size=tokens * neurons))
    values = np.array(flat, np.float32).reshape(tokens, neurons)
    tok = np.array(data.draw(st.permutations(range(tokens))))
    k, batch = data.draw(st.integers(1, 70)), data.draw(st.integers(1, tokens))
    check(values, tok, k, data.draw(st.booleans()), batch)


@pytest.mark.parametrize("lowest", [False, True])
def test_going_on_from_saved_keys(lowest: bool) -> None:
    values, tok = SAMPLES["relu"].astype(np.float32), np.arange(3000)
    half = streamed(values[:1700], tok[:1700], 20, lowest, 100)
    half.settle()
    other = Extremes(7, 20, lowest=lowest, device="cpu")
    other.restore(half.keys.clone())
    for start in range(1700, 3000, 100):
        part = slice(start, start + 100)
        other.update(torch.from_numpy(values[part]), torch.from_numpy(tok[part]))
    assert np.array_equal(other.result()[1], brute(values, tok, 20, lowest)[1])
