"""Codes of one byte, decoded again, against the float16 values that they stand for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from neuronmap_sql.numerics.blocks import iter_block_tables
from neuronmap_sql.numerics.int8 import HALF_STEP, decode_blocks, iter_int8_tables

BLOCK = 16


def coded(values: np.ndarray, block: int = BLOCK) -> pa.Table:
    """The blocks of values [tokens, neurons], as an ingest codes them."""
    return pa.concat_tables(iter_int8_tables(values.copy(), block)).combine_chunks()


def decoded(table: pa.Table, tokens: int) -> np.ndarray:
    """Values [tokens, neurons] of coded blocks."""
    steps = (table[name].to_numpy() for name in ("scale", "center"))
    found, _ = decode_blocks(table["vals"].combine_chunks(), *steps)
    return found.reshape(-1, tokens).T


def scales(table: pa.Table, neurons: int) -> np.ndarray:
    return table["scale"].to_numpy().reshape(neurons, -1)[:, 0].astype(np.float64)


def check(values: np.ndarray) -> None:
    """Every value is within the bound; zero, where it is the least, is zero."""
    table = coded(values)
    found = decoded(table, len(values)).astype(np.float64)
    finite = np.isfinite(values)
    assert np.array_equal(np.isnan(found), ~finite)
    exact = np.where(finite, values, 0).astype(np.float64)
    off = np.abs(np.where(finite, found, 0) - exact)
    assert (off <= HALF_STEP * scales(table, values.shape[1])).all()
    resting = np.where(finite, values, np.inf).min(axis=0) == 0
    assert (found[:, resting][values[:, resting] == 0] == 0).all()


half = st.floats(width=16, allow_nan=True, allow_infinity=True)
some = st.sampled_from([0.0, -0.0, 1.0, 6e-8, -6e-8, 65504.0, -65504.0, 65472.0, np.nan, -np.inf])
matrices = st.tuples(st.integers(1, 40), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float16, shape, elements=st.one_of(half, some))
)
near = st.tuples(st.integers(0, 0x7BF0), st.booleans(), st.integers(1, 12))
"""Neighbours among float16: where a step is smallest beside the values."""


@settings(deadline=None)
@given(matrices)
def test_values_come_back_within_half_a_step(values: np.ndarray) -> None:
    check(values)


@settings(deadline=None)
@given(near, st.integers(2, 60), st.integers(0, 99))
def test_neighbours_among_the_floats_do_too(
    where: tuple[int, bool, int], tokens: int, seed: int
) -> None:
    first, negative, width = where
    bits = np.random.default_rng(seed).integers(first, first + width, (tokens, 3))
    values = bits.astype(np.uint16).view(np.float16) * np.float16(-1 if negative else 1)
    check(values)
    # There are more codes than values: rounded to float16, they are the values again.
    np.testing.assert_array_equal(decoded(coded(values), tokens).astype(np.float16), values)


RNG = np.random.default_rng(0)
TOKENS = 500
NEURONS = {
    "normal": RNG.normal(size=TOKENS),
    "heavy-tailed": RNG.standard_cauchy(TOKENS),
    "one outlier": np.where(np.arange(TOKENS) == 77, 6e4, RNG.normal(size=TOKENS)),
    "constant": np.full(TOKENS, -3.3),
    "zero": np.zeros(TOKENS),
    "rests at zero": np.maximum(RNG.normal(size=TOKENS) - 1, 0),
    "two values": RNG.integers(0, 2, TOKENS) * 65504.0,
    "all of float16": np.linspace(-65504, 65504, TOKENS),
    "some not finite": np.where(RNG.random(TOKENS) < 0.2, np.nan, RNG.normal(size=TOKENS)),
    "a block not finite": np.where(np.arange(TOKENS) < BLOCK, np.inf, RNG.normal(size=TOKENS)),
    "nothing finite": np.full(TOKENS, -np.inf),
}
VALUES = np.stack(list(NEURONS.values()), axis=1).astype(np.float16)


def test_awkward_neurons() -> None:
    check(VALUES)
    found = dict(zip(NEURONS, decoded(coded(VALUES), TOKENS).T, strict=True))
    rests = VALUES[:, list(NEURONS).index("rests at zero")]
    assert np.array_equal(found["rests at zero"] == 0, rests == 0)
    assert (found["constant"] == np.float16(-3.3)).all()
    assert np.unique(found["one outlier"]).size <= 2, "what an outlier costs: the rest is one code"


def test_zone_maps_are_those_of_the_float16_blocks() -> None:
    plain = pa.concat_tables(iter_block_tables(VALUES.copy(), BLOCK))
    zones = ["neuron", "block", "first_tok", "n", "min", "max", "sum", "sum_squares"]
    assert coded(VALUES).select(zones).to_pydict() == plain.select(zones).to_pydict()
    assert pc.binary_length(coded(VALUES)["vals"]).equals(coded(VALUES)["n"].cast(pa.int64()))


def test_the_error_told_is_the_error_made() -> None:
    table = coded(VALUES)
    told = table["rms_error"].to_numpy().reshape(len(NEURONS), -1)
    assert (told == told[:, :1]).all()
    with np.errstate(invalid="ignore"):
        off = np.square(decoded(table, TOKENS).astype(np.float64) - VALUES)
    for at, name in enumerate(NEURONS):
        kept = VALUES[np.isfinite(VALUES[:, at]), at].astype(np.float64)
        if not kept.size or not kept.std():
            assert told[at, 0] == 0, name
        else:
            made = np.sqrt(np.nanmean(off[:, at])) / kept.std()
            assert told[at, 0] == pytest.approx(made, rel=1e-3, abs=1e-6), name
    assert told[list(NEURONS).index("normal"), 0] < 0.01


def test_more_tokens_than_are_coded_at_once() -> None:
    values = RNG.normal(size=(70_000, 2)).astype(np.float16)
    values[66_000, 1] = np.nan
    table = coded(values, 4096)
    off = np.abs(decoded(table, len(values)) - values)
    assert np.nanmax(off[:, 0]) <= HALF_STEP * scales(table, 2)[0]
    assert np.flatnonzero(np.isnan(off[:, 1])).tolist() == [66_000]
    assert table["rms_error"].to_numpy().max() < 0.02
