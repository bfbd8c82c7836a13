"""Firings and token rows of values chosen to be awkward."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from neuronmap_sql.ingest.extraction.large_rows import block_rows, firing_rows, token_rows
from neuronmap_sql.ingest.extraction.rows import Place
from neuronmap_sql.ingest.settings import KeepSettings

PLACE = Place("m", "d", "t", "mlp", 0)


def values() -> np.ndarray:  # type: ignore[type-arg]
    out = np.random.default_rng(2).standard_normal((1000, 6)).astype(np.float16)
    out[:, 1] = np.maximum(out[:, 1] - np.float16(3), 0)  # a ReLU that seldom fires
    out[:, 2] = 0
    out[:, 3] = -1
    out[:, 4] = np.nan
    out[::7, 5] = np.inf
    return out


def firings(keep: KeepSettings) -> pa.Table:
    return pa.concat_tables(firing_rows(PLACE, values(), keep))


def test_a_fraction_of_each_neurons_values_fires_but_zero_never_does() -> None:
    found = firings(KeepSettings(firings_fraction=0.05))
    counts = np.bincount(found["neuron"].to_numpy(), minlength=6)
    assert counts[0] == pytest.approx(50, abs=2)  # ties in float16 fire together
    assert counts[1] == (values()[:, 1] > 0).sum()
    assert counts[2:5].tolist() == [0, 0, 0]
    assert np.isfinite(found["value"].to_numpy()).all()


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.7])
def test_a_given_threshold_keeps_exactly_the_values_from_it_on(threshold: float) -> None:
    found = firings(KeepSettings(firings_threshold=threshold))
    all_ = values()
    with np.errstate(invalid="ignore"):
        neuron, tok = np.nonzero((np.isfinite(all_) & (all_ >= np.float16(threshold))).T)
    assert found["neuron"].to_pylist() == neuron.tolist()
    assert found["tok"].to_pylist() == tok.tolist()
    assert set(found["threshold"].to_pylist()) == {float(np.float16(threshold))}


def test_values_that_are_not_finite_are_nan_in_blocks_and_rows() -> None:
    tokens = pa.concat_tables(token_rows(PLACE, values()))
    blocks = pa.concat_tables(block_rows(PLACE, values()))
    expected = np.where(np.isfinite(values()), 1, np.nan)
    by_token = np.frombuffer(b"".join(tokens["vals"].to_pylist()), "<f2").reshape(1000, 6)
    by_neuron = np.frombuffer(b"".join(blocks["vals"].to_pylist()), "<f2").reshape(6, 1000)
    assert np.array_equal(np.isnan(by_token), np.isnan(expected))
    assert np.array_equal(by_neuron.T, by_token, equal_nan=True)
    assert blocks["min"].to_pylist()[4] is None
