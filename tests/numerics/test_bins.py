"""The bins' edges, and the bin of a value by search over them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.numerics.bins import BINS, HALF, RELATIVE_WIDTH, bin_of, edges

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def test_edges_ascend_and_mirror() -> None:
    found = edges()
    assert len(found) == BINS + 1
    assert (np.diff(found) > 0).all()
    assert np.array_equal(found, -found[::-1])
    assert found[HALF] == 0
    assert np.isinf(found[[0, -1]]).all()


def test_edges_are_16_an_octave_from_2_to_the_minus_16() -> None:
    positive = edges()[HALF + 1 : -1]
    assert positive[0] == 2.0**-16
    assert np.array_equal(positive[16:32], 2 * positive[:16])
    assert np.allclose(np.diff(positive[:17]), 2.0**-20)


def test_no_inner_bin_is_wider_than_a_sixteenth_of_its_values() -> None:
    low, high = edges()[HALF + 1 : -2], edges()[HALF + 2 : -1]
    assert ((high - low) / low).max() == RELATIVE_WIDTH


@given(st.lists(FINITE, min_size=1, max_size=50))
def test_bin_of_finds_the_edges_around_a_value(values: list[float]) -> None:
    x = np.array(values)
    found, bounds = bin_of(x), edges()
    low, high = bounds[found], bounds[found + 1]
    inside = np.where(x > 0, (low <= x) & (x < high), (low < x) & (x <= high))
    assert inside.all()


def test_bins_from_512_on_hold_exactly_the_values_above_zero() -> None:
    tiny = np.float32(1e-45)
    assert (bin_of([tiny, 1.0, 3e38]) >= HALF).all()
    assert (bin_of([0.0, -0.0, -tiny, -1.0, -3e38]) < HALF).all()


def test_bin_numbers_grow_with_the_value() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.standard_normal(10_000) * 10 ** rng.uniform(-7, 6, 10_000))
    assert (np.diff(bin_of(x)) >= 0).all()
