"""Reducers, pools and the spool on values that a model would not give often."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch
from scipy import stats

from neuronmap_sql.errors import StoreError
from neuronmap_sql.ingest.extraction.batching import Batch, Shard
from neuronmap_sql.ingest.extraction.pools import Pooler
from neuronmap_sql.ingest.extraction.reducers import Reduced, SiteReducer
from neuronmap_sql.ingest.extraction.rows import (
    LEVELS,
    Place,
    layer_stats,
    neuron_stats,
    sample_rows,
)
from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.ingest.settings import KeepSettings

Array = npt.NDArray[np.float32]
KEEP = KeepSettings(top_k=5)
PLACE = Place("m", "d", "t", "mlp", 0)
RNG = np.random.default_rng(5)
CPU = torch.device("cpu")


def reduced(values: Array, sampled: int = 64, batch: int = 100, cut: int = 0) -> Reduced:
    """Reduce [tokens, neurons] in batches; after `cut` tokens go on in another reducer."""
    tok = np.arange(len(values))
    order = np.random.default_rng(0).permutation(len(values))
    sample = torch.from_numpy(np.sort(order[:sampled]))
    reducer = SiteReducer(values.shape[1], KEEP, sample, CPU)
    for start in range(0, len(values), batch):
        if cut and start == cut:
            state = {name: tensor.clone() for name, tensor in reducer.state().items()}
            reducer = SiteReducer(values.shape[1], KEEP, sample, CPU)
            reducer.restore(state)
        part = slice(start, start + batch)
        reducer.update(torch.from_numpy(values[part]), torch.from_numpy(tok[part]))
    return reducer.result()


def dirty(share: float = 0.05) -> Array:
    values = (1000 + 0.1 * RNG.standard_normal((1000, 6))).astype(np.float32)
    bad = RNG.random(values.shape) < share
    values[bad] = RNG.choice(np.float32([np.nan, np.inf, -np.inf]), bad.sum())
    values[:, 4] = np.nan
    values[:200, 5] = np.inf  # nothing finite in the first batches
    return values


def test_values_that_are_not_finite_are_counted_and_left_out() -> None:
    values = dirty()
    found = reduced(values)
    finite = np.isfinite(values)
    assert np.array_equal(found.count, finite.sum(axis=0))
    assert np.array_equal(found.nonfinite, (~finite).sum(axis=0))
    assert np.array_equal(found.histogram.sum(axis=1), finite.sum(axis=0))
    for neuron in (0, 1, 2, 3, 5):
        kept = values[finite[:, neuron], neuron].astype(np.float64)
        assert found.moments.mean[neuron] == pytest.approx(kept.mean(), rel=1e-12)
        assert found.moments.variance[neuron] == pytest.approx(kept.var(), rel=1e-9)
        kurtosis = stats.kurtosis(kept, fisher=False)
        assert found.moments.kurtosis[neuron] == pytest.approx(kurtosis, rel=1e-9)
        assert found.highest[0][neuron].tolist() == np.sort(kept)[::-1][:5].tolist()
        assert found.lowest[0][neuron].tolist() == np.sort(kept)[:5].tolist()
    assert (found.highest[1][4] == -1).all()


def test_rows_of_a_neuron_without_values_are_null_and_of_a_dead_one_zero() -> None:
    values = dirty()
    values[:, 3] = 0
    table = neuron_stats(PLACE, reduced(values)).to_pylist()
    empty, dead = table[4], table[3]
    for name in ("mean", "variance", "min", "max", "fraction_active", "q500", "quantile_error"):
        assert empty[name] is None
    assert (empty["count"], empty["nonfinite"], empty["hist_bins"]) == (0, 1000, [])
    assert (dead["mean"], dead["variance"], dead["min"], dead["max"]) == (0, 0, 0, 0)
    assert (dead["skewness"], dead["kurtosis"], dead["fraction_active"]) == (None, None, 0)
    assert (dead["hist_bins"], dead["hist_counts"]) == ([511], [1000])
    (row,) = layer_stats(PLACE, reduced(values)).to_pylist()
    finite = values[np.isfinite(values)].astype(np.float64)
    assert row["mean"] == pytest.approx(finite.mean(), rel=1e-12)
    assert row["variance"] == pytest.approx(finite.var(), rel=1e-9)
    assert (row["dead"], row["constant"], row["token_count"]) == (2, 1, 1000)


def test_a_layer_of_nothing_finite() -> None:
    (row,) = layer_stats(PLACE, reduced(np.full((50, 2), np.nan, np.float32))).to_pylist()
    assert row["mean"] is row["rms"] is row["min"] is row["mean_kurtosis"] is None
    assert row["token_count"] == 50


def test_quantiles_are_exact_when_all_tokens_are_sampled() -> None:
    values = RNG.standard_t(3, (500, 4)).astype(np.float32)
    table = neuron_stats(PLACE, reduced(values, sampled=500))
    exact = np.quantile(values.astype(np.float64), np.array(LEVELS) / 1000, axis=0)
    for at, level in enumerate(LEVELS):
        assert np.array_equal(table[f"q{level:03d}"].to_numpy(), exact[at].astype(np.float32))
    assert table["quantile_error"].to_pylist() == [0.0] * 4
    rough = neuron_stats(PLACE, reduced(values, sampled=499))
    assert rough["quantile_error"].to_pylist() == [1 / 16] * 4


def test_going_on_from_a_saved_state_is_bit_for_bit() -> None:
    values = dirty()
    whole, resumed = reduced(values), reduced(values, cut=300)
    for name in ("count", "nonfinite", "histogram", "sample"):
        assert np.array_equal(getattr(whole, name), getattr(resumed, name), equal_nan=True)
    for name, one in vars(whole.moments).items():
        assert np.array_equal(one, getattr(resumed.moments, name), equal_nan=True)
    for side in ("highest", "lowest"):
        assert np.array_equal(getattr(whole, side)[1], getattr(resumed, side)[1])


def test_samples_of_few_tokens_and_of_gaps() -> None:
    tokens = pa.table({"doc": [0] * 7, "pos": list(range(7)), "token": list("abcdefg")})
    values = RNG.standard_normal((7, 3)).astype(np.float32)
    values[2:, 1] = np.nan
    values[:, 2] = np.nan
    found = reduced(values, sampled=7)
    rows = sample_rows(PLACE, found, np.arange(7), tokens, KEEP, 0).to_pylist()
    assert {row["neuron"] for row in rows} == {0, 1}
    assert {row["tok"] for row in rows if row["neuron"] == 1} == {0, 1}
    assert all(row["value"] == values[row["tok"], row["neuron"]] for row in rows)
    assert sorted(row["tok"] for row in rows if row["neuron"] == 0) == list(range(7))


def batch_of(tok: list[int], doc: list[int]) -> Batch:
    none = torch.zeros(0)
    return Batch(none, none, none, torch.tensor(tok), torch.tensor(doc), np.array(tok))


def test_pools_over_batches_of_mixed_documents() -> None:
    values = RNG.standard_normal((6, 3)).astype(np.float32)
    doc = np.array([10, 10, 10, 12, 12, 12])
    spans = torch.tensor([[-1] * 10 + [0, -1, 3], [-1] * 10 + [2, -1, 5]])
    pools = ("mean", "first", "last", "max")
    pooler = Pooler(3, pools, Shard(np.arange(0), 10, 3, 6), spans, CPU)
    for tok in ([2, 4], [0, 5, 3], [1]):
        pooler.update(torch.from_numpy(values[tok]), batch_of(tok, doc[tok].tolist()))
    count, found = pooler.result()
    assert count.tolist() == [3, 0, 3]
    for row, part in ((0, values[:3]), (2, values[3:])):
        assert np.array_equal(found["first"][row], part[0])
        assert np.array_equal(found["last"][row], part[-1])
        assert np.array_equal(found["max"][row], part.max(axis=0))
        assert np.allclose(found["mean"][row], part.astype(np.float64).mean(axis=0), rtol=1e-7)


def test_the_spool_puts_rows_in_their_place_and_may_be_opened_again(tmp_path: Path) -> None:
    values = RNG.standard_normal((9, 4)).astype(np.float32) * 100
    spool = Spool(tmp_path / "s", 9, 4)
    order = np.array([3, 4, 5, 8, 0, 1])
    spool.write(torch.from_numpy(values[order]).half(), order)
    spool.flush()
    again = Spool(tmp_path / "s", 9, 4)
    rest = np.array([6, 7, 2])
    again.write(torch.from_numpy(values[rest]).half(), rest)
    assert np.array_equal(again.values, values.astype(np.float16))
    assert not Spool(tmp_path / "s", 8, 4).values.any()


def test_a_spool_needs_its_room_before_the_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert Spool(tmp_path / "r", 4096, 8).path.stat().st_blocks * 512 >= 4096 * 16
    assert Spool(tmp_path / "t", 4096, 8, reserve=False).path.stat().st_blocks == 0
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match=r"no room for 4.0 GB of values \(No space left on device"):
        Spool(tmp_path / "s", 10**9, 2)
    assert not (tmp_path / "s").exists()
