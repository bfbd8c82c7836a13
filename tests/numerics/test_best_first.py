"""Searches by zone maps, against brute force over all values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from neuronmap_sql.numerics.best_first import (
    Best,
    Score,
    best_first,
    combined,
    cosine,
    euclidean,
    rechecked,
)

BLOCK = 8


def search(values: np.ndarray, score: Score, k: int, block: int = BLOCK) -> Best:
    """Search values [neurons, tokens], cut into blocks."""
    starts = np.arange(0, values.shape[1], block)
    parts = [values[:, start : start + block] for start in starts]
    with np.errstate(all="ignore"):
        finite = [np.where(np.isnan(part), np.nan, part) for part in parts]
    low, high = (np.stack([pick(part) for part in finite], axis=1) for pick in (_least, _largest))
    return best_first(score.bound(low, high), starts, lambda at, _: score.of(parts[at]), k)


def _least(part: np.ndarray) -> np.ndarray:
    return np.array([np.nan if np.isnan(row).all() else np.nanmin(row) for row in part])


def _largest(part: np.ndarray) -> np.ndarray:
    return -_least(-part)


def brute(scores: np.ndarray, k: int) -> list[int]:
    ranked = np.lexsort((np.arange(len(scores)), -scores))
    return [int(tok) for tok in ranked if not np.isnan(scores[tok])][:k]


rng = np.random.default_rng(0)
DATA = {
    "random": rng.normal(size=(1, 200)),
    "constant": np.full((1, 200), 1.5),
    "tied": rng.integers(0, 3, size=(1, 200)).astype(float),
    "heavy-tailed": rng.standard_cauchy(size=(1, 200)),
    "rising": np.arange(200.0)[None],
    "with NaN": np.where(rng.random((1, 200)) < 0.3, np.nan, rng.normal(size=(1, 200))),
    "only NaN": np.full((1, 200), np.nan),
    "one hot block": np.where(np.arange(200) // BLOCK == 7, 9.0, 0.0)[None],
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("lowest", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 25, 199, 200, 1000])
def test_the_top_is_exact_and_reads_at_most_k_blocks(kind: str, lowest: bool, k: int) -> None:
    values = DATA[kind]
    found = search(values, combined("sum", lowest), k)
    scores = -values[0] if lowest else values[0]
    assert found.tok.tolist() == brute(scores, k)
    assert found.score.tolist() == scores[found.tok].tolist()
    assert found.blocks_read <= k


def test_a_hot_block_is_the_only_one_read() -> None:
    assert search(DATA["one hot block"], combined("sum"), BLOCK).blocks_read == 1
    assert search(DATA["rising"], combined("sum"), 3 * BLOCK).blocks_read == 3
    assert search(DATA["rising"], combined("sum"), 3 * BLOCK + 1).blocks_read == 4
    assert search(DATA["constant"], combined("sum"), BLOCK).blocks_read == 1


# Few different values, so that ties abound, in the range and precision of float16.
few = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 65504.0, 6e-8, np.nan])
half = st.floats(width=16, allow_nan=True, allow_infinity=False)
groups = st.integers(1, 4).flatmap(
    lambda m: st.integers(1, 40).flatmap(
        lambda n: arrays(np.float64, (m, n), elements=st.one_of(few, half))
    )
)


@given(groups, st.integers(1, 50), st.sampled_from(["sum", "min"]), st.booleans())
def test_groups_are_exact(values: np.ndarray, k: int, by: str, lowest: bool) -> None:
    score = combined("min" if by == "min" else "sum", lowest)
    sign = -1.0 if lowest else 1.0
    scores = (sign * values).sum(0) if by == "sum" else (sign * values).min(0)
    found = search(values, score, k, block=4)
    np.testing.assert_array_equal(found.score, scores[brute(scores, k)])
    assert found.tok.tolist() == brute(scores, k)


@given(groups, st.integers(1, 50), st.data())
def test_the_nearest_are_exact(values: np.ndarray, k: int, data: st.DataObject) -> None:
    tok = data.draw(st.integers(0, values.shape[1] - 1))
    target = np.nan_to_num(values[:, tok])
    score = euclidean(target)
    expected = -np.square(values - target[:, None]).sum(0)
    found = search(values, score, k, block=4)
    assert found.tok.tolist() == brute(expected, k)
    if target.any():
        turned = cosine(target)
        with np.errstate(all="ignore"):
            scores = turned.of(values)
        assert search(values, turned, k, block=4).tok.tolist() == brute(scores, k)


def search_rough(values: np.ndarray, rough: np.ndarray, off: float, score: Score, k: int) -> Best:
    """Search values of which only others are at hand, `off` at most, and check what can matter."""
    starts, block = np.arange(0, values.shape[1], 4), 4
    parts = [slice(start, start + block) for start in starts]
    low, high = (
        np.stack([pick(values[:, part]) for part in parts], axis=1) for pick in (_least, _largest)
    )

    def read(at: int, worst: float) -> np.ndarray:
        near = rough[:, parts[at]]
        bounds = score.bound(near - off, near + off)
        exact = values[:, parts[at]]
        return rechecked(bounds, lambda some: score.of(exact[:, some]), k, worst)

    return best_first(score.bound(low, high), starts, read, k)


@given(groups, st.integers(1, 50), st.integers(0, 99), st.sampled_from([0.0, 0.4, 1e6]))
def test_what_is_checked_is_exact(values: np.ndarray, k: int, seed: int, off: float) -> None:
    noise = np.random.default_rng(seed).uniform(-off, off, values.shape)
    target = np.nan_to_num(values[:, 0])
    scores = [combined("sum"), combined("min", lowest=True), euclidean(target)]
    for score in [*scores, cosine(target)] if target.any() else scores:
        with np.errstate(all="ignore"):
            expected = brute(score.of(values), k)
        # rounding of the noise itself may add a little
        found = search_rough(values, values + noise, off * 1.001 + 1e-9, score, k)
        assert found.tok.tolist() == expected


@given(groups)
def test_bounds_hold(values: np.ndarray) -> None:
    target = np.nan_to_num(values[:, 0])
    low, high = _least(values)[:, None], _largest(values)[:, None]
    scores = [combined("sum"), combined("min", lowest=True), euclidean(target), cosine(target)]
    for score in scores:
        with np.errstate(all="ignore"):
            reached = score.of(values)
        finite = reached[~np.isnan(reached)]
        assert not finite.size or finite.max() <= score.bound(low, high)[0]


def test_distances_are_those_of_scipy() -> None:
    values = rng.normal(size=(3, 100))
    target = values[:, 5]
    for score, metric, turn in ((euclidean, "euclidean", np.square), (cosine, "cosine", None)):
        theirs = cdist(target[None], values.T, metric)[0]
        mine = score(target).of(values)
        np.testing.assert_allclose(-mine if turn else 1 - mine, turn(theirs) if turn else theirs)


def test_the_cosine_to_nothing_is_no_score() -> None:
    found = search(rng.normal(size=(2, 20)), cosine(np.zeros(2)), 5)
    assert (found.tok.size, found.blocks_read) == (0, 0)


def test_near_tokens_are_found_without_reading_all() -> None:
    values = np.concatenate([rng.normal(size=(2, 96)) + 50, rng.normal(size=(2, 96))], axis=1)
    found = search(values, euclidean(values[:, 100]), 10)
    assert found.blocks_read <= 12 < 24
