from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronmap_sql.numerics import f16

HALF = st.floats(width=16, allow_nan=True, allow_infinity=False)
BLOCKS = st.lists(st.lists(HALF, max_size=12), min_size=1, max_size=5)


def _flat(blocks: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([value for block in blocks for value in block], np.float16)
    return values, np.cumsum([0, *map(len, blocks)])


@settings(deadline=None)
@given(BLOCKS, st.integers(-1, 14))
def test_top_k_is_a_stable_sort_without_nan(blocks: list[list[float]], k: int) -> None:
    found = list(f16.top_k(*_flat(blocks), np.full(len(blocks), k)))
    for block, picks in zip(blocks, found, strict=True):
        order = sorted((-v, i) for i, v in enumerate(block) if v == v)
        assert picks.tolist() == [i for _, i in order[: max(k, 0)]]


@settings(deadline=None)
@given(BLOCKS)
def test_dot_is_the_float64_product_over_what_is_finite(blocks: list[list[float]]) -> None:
    values, offsets = _flat(blocks)
    found = f16.dot(values, values[::-1].copy()[::-1], offsets)
    expected = [sum(v * v for v in block if v == v) for block in blocks]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@settings(deadline=None)
@given(BLOCKS, st.integers(-2, 13))
def test_at_gives_nan_outside(blocks: list[list[float]], index: int) -> None:
    found = f16.at(*_flat(blocks), np.full(len(blocks), index))
    expected = [b[index] if 0 <= index < len(b) else np.nan for b in blocks]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_encode_marks_what_does_not_fit() -> None:
    halves = f16.encode(np.array([1.0, 65504.0, 1e5, -np.inf, np.nan]))
    np.testing.assert_array_equal(halves, np.array([1.0, 65504.0, np.nan, np.nan, np.nan], "f2"))


@pytest.mark.parametrize("size", [0, 3, (1 << 16) + 5])
def test_singles_keep_every_value(size: int) -> None:
    halves = np.random.default_rng(0).normal(size=size).astype(np.float16)
    halves[1:2] = np.nan
    np.testing.assert_array_equal(f16.singles(halves), halves.astype(np.float32))
