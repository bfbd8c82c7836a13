"""Models that give NaN, infinities, values beyond float16, and the same value for ever."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from known_values import ALL, Values, documents, ingested
from polars.testing import assert_frame_equal
from scipy import stats

import neuronmap_sql as nm
from neuronmap_sql.cli.main import main
from neuronmap_sql.warehouse.schema import comments

WORDS, NEURONS = 60, 8
DOCS = documents(2500, WORDS)
IDS = np.concatenate(DOCS)
RNG = np.random.default_rng(11)
CLEAN = RNG.standard_normal((WORDS, NEURONS)).astype(np.float32)
DIRTY = (1, 2, 3, 4, 5)
"""Neurons that get values which are not finite."""

HUGE = 65_520
"""From here on a float16 is infinite: the largest is 65,504."""


def dirty() -> Values:
    values = CLEAN.copy()
    values[3:6, 1] = np.nan
    values[6, 2] = np.inf
    values[7, 3] = -np.inf
    values[:, 4] = np.nan
    values[[8, 9, 10], 5] = np.nan, np.inf, -np.inf
    return values


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    with ingested(tmp_path_factory.mktemp("bad"), dirty(), DOCS) as wh:
        yield wh


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    """The same without them."""
    with ingested(tmp_path_factory.mktemp("good"), CLEAN, DOCS) as wh:
        yield wh


def test_they_are_counted_for_each_neuron_and_in_the_run(bad: nm.Warehouse) -> None:
    finite = np.isfinite(dirty()[IDS])
    found = bad.sql("SELECT count, nonfinite FROM neuron_stats ORDER BY neuron").fetchall()
    assert np.array_equal(found, np.stack([finite.sum(axis=0), (~finite).sum(axis=0)], axis=1))
    run = bad.sql("SELECT nonfinite FROM runs WHERE kind = 'activations'").fetchall()
    assert run == [(int((~finite).sum()),)]
    assert 0 < run[0][0] < IDS.size * NEURONS


def test_runs_show_says_how_many(
    bad: nm.Warehouse, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = (run for run in bad.store.run_ids() if run.startswith("activations"))
    command = ["neuronmap", "runs", "show", run, "-w", str(bad.path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="0"):
        main()
    number = (~np.isfinite(dirty()[IDS])).sum()
    assert f"nonfinite          {number}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    "table",
    [
        "neuron_stats", "top_activations", "activation_samples", "firings", "activations",
        "activations_int8",
    ],
)  # fmt: skip
def test_the_other_neurons_are_as_if_nothing_had_been(
    bad: nm.Warehouse, good: nm.Warehouse, table: str
) -> None:
    def rows(wh: nm.Warehouse, dirty: bool) -> pl.DataFrame:
        listed = f"neuron {'' if dirty else 'NOT '}IN {DIRTY}"
        return wh.sql(f"SELECT * EXCLUDE run FROM {table} WHERE {listed} ORDER BY ALL").pl()

    assert len(rows(good, dirty=False)) >= NEURONS - len(DIRTY)
    assert_frame_equal(rows(bad, dirty=False), rows(good, dirty=False), check_exact=True)
    assert not rows(bad, dirty=True).equals(rows(good, dirty=True))


def test_their_finite_values_are_reduced_exactly(bad: nm.Warehouse) -> None:
    found = bad.sql("SELECT * FROM neuron_stats ORDER BY neuron").pl().to_dicts()
    values = dirty()[IDS]
    for neuron in (1, 2, 3, 5):
        kept = values[np.isfinite(values[:, neuron]), neuron].astype(np.float64)
        row = found[neuron]
        assert row["mean"] == pytest.approx(kept.mean(), rel=1e-9, abs=1e-9)
        assert row["variance"] == pytest.approx(kept.var(), rel=1e-9)
        assert row["skewness"] == pytest.approx(stats.skew(kept), rel=1e-9, abs=1e-9)
        assert row["kurtosis"] == pytest.approx(stats.kurtosis(kept, fisher=False), rel=1e-9)
        assert (row["min"], row["max"]) == (kept.min(), kept.max())
        assert row["fraction_active"] == (kept > 0).mean()
        assert sum(row["hist_counts"]) == len(kept)
        highest = bad.top("m", 0, neuron, site="s")["value"].to_list()
        assert highest == np.sort(kept)[::-1][:20].tolist()


def test_where_there_is_no_number_there_is_null(bad: nm.Warehouse) -> None:
    row = bad.sql("SELECT * FROM neuron_stats WHERE neuron = 4").pl().row(0, named=True)
    assert (row.pop("count"), row.pop("nonfinite"), row.pop("hist_bins")) == (0, len(IDS), [])
    for name in ("run", "model", "dataset", "site", "layer", "neuron", "hist_counts"):
        row.pop(name)
    assert set(row.values()) == {None}
    for table in ("top_activations", "activation_samples", "firings"):
        assert bad.sql(f"SELECT count(*) FROM {table} WHERE neuron = 4").fetchall() == [(0,)]
    blocks = bad.sql("SELECT min, max, sum, n FROM activations WHERE neuron = 4").fetchall()
    assert blocks == [(None, None, 0.0, len(IDS))]


def test_vectors_of_documents_with_such_a_token_have_null_there(bad: nm.Warehouse) -> None:
    vectors = bad.sql("SELECT doc, vector FROM vectors WHERE pool = 'mean' ORDER BY doc").fetchall()
    values = dirty()
    seen = set()
    for doc, vector in vectors:
        mine = values[DOCS[doc]].astype(np.float64)
        for neuron, value in enumerate(vector):
            clean = bool(np.isfinite(mine[:, neuron]).all())
            seen.add(clean)
            expected = np.float32(mine[:, neuron].mean()) if clean else None
            assert value == expected
    assert seen == {True, False}


def test_values_are_stored_as_they_are_and_nan_for_those(bad: nm.Warehouse) -> None:
    expected = dirty()[IDS].astype(np.float16)
    expected[~np.isfinite(expected)] = np.nan
    assert np.array_equal(bad.matrix("m", 0, site="s"), expected, equal_nan=True)
    assert bad.verify() == []


LARGE = {
    "root mean square 1e3": 1e3 * RNG.standard_normal(WORDS),
    "beyond float16": 1e5 * RNG.standard_normal(WORDS),
    "one value beyond float16": np.where(np.arange(WORDS) == 5, HUGE, RNG.standard_normal(WORDS)),
    "the edge of float16": np.where(RNG.random(WORDS) < 0.5, -65_519.9, 65_504.0),
    "the edge of float32": 3e38 * RNG.uniform(-1, 1, WORDS),
    "large mean": 60_000 + 0.5 * RNG.standard_normal(WORDS),
    "tiny": 1e-20 * RNG.standard_normal(WORDS),
}
CONSTANT = (0.0, 1234.567, -3.25e-7, 70_000.0, 1e30)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    """A neuron for each of LARGE, then one for each of CONSTANT."""
    folder = tmp_path_factory.mktemp("large")
    with ingested(folder, large_values(), DOCS, keep={"pool": ["mean", "max"]}) as wh:
        yield wh


def large_values() -> Values:
    columns = [*LARGE.values(), *(np.full(WORDS, value) for value in CONSTANT)]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("name", LARGE)
def test_sums_of_large_values_are_exact(large: nm.Warehouse, name: str) -> None:
    neuron = list(LARGE).index(name)
    query = "SELECT * FROM neuron_stats WHERE neuron = $neuron"
    (row,) = large.sql(query, {"neuron": neuron}).pl().to_dicts()
    values = large_values()[IDS, neuron]
    exact = values.astype(np.float64)
    assert abs(row["mean"] - exact.mean()) <= 1e-9 * exact.std()
    assert row["variance"] == pytest.approx(exact.var(), rel=1e-9)
    assert row["skewness"] == pytest.approx(stats.skew(exact), rel=1e-9, abs=1e-9)
    assert row["kurtosis"] == pytest.approx(stats.kurtosis(exact, fisher=False), rel=1e-9)
    assert (row["nonfinite"], row["min"], row["max"]) == (0, values.min(), values.max())
    highest = large.top("m", 0, neuron, site="s", k=5)["value"].to_list()
    assert highest == np.sort(values)[::-1][:5].tolist()


@pytest.mark.parametrize("value", CONSTANT)
def test_a_neuron_that_never_changes_has_variance_0_and_no_shape(
    large: nm.Warehouse, value: float
) -> None:
    neuron = len(LARGE) + CONSTANT.index(value)
    query = (
        "SELECT mean, variance, skewness, kurtosis, min, max, fraction_active, len(hist_bins)"
        " FROM neuron_stats WHERE neuron = $neuron"
    )
    one = float(np.float32(value))
    found = large.sql(query, {"neuron": neuron}).fetchall()
    assert found == [(one, 0.0, None, None, one, one, float(value > 0), 1)]


def test_dead_and_constant_neurons_are_counted_in_the_layer(large: nm.Warehouse) -> None:
    found = large.sql("SELECT dead, constant, token_count FROM layer_stats").fetchall()
    assert found == [(2, len(CONSTANT), len(IDS))]


def test_what_float16_cannot_hold_is_nan_where_values_are_kept(large: nm.Warehouse) -> None:
    values = large_values()[IDS]
    beyond = np.abs(values) >= HUGE
    stored = large.matrix("m", 0, site="s")
    assert np.array_equal(np.isnan(stored), beyond)
    assert np.array_equal(stored[~beyond], values[~beyond].astype(np.float16))
    assert 0 < beyond.sum() < beyond.size
    seven = len(LARGE) + CONSTANT.index(70_000.0)
    for table in ("firings", "activations"):
        query = f"SELECT count(*) FROM {table} WHERE neuron = {seven}"
        assert large.sql(query).fetchall() == [(int(table == "activations"),)]
    text = comments("activations")[1]["vals"]
    assert "NaN where the model gave a value that is not finite or too large for float16" in text


def test_pools_hold_what_float16_cannot(large: nm.Warehouse) -> None:
    rows = large.sql("SELECT doc, pool, vector FROM vectors").fetchall()
    assert len(rows) == 2 * len(DOCS)
    for doc, pool, vector in rows:
        mine = large_values()[DOCS[doc]].astype(np.float64)
        expected = mine.mean(axis=0) if pool == "mean" else mine.max(axis=0)
        assert np.array_equal(np.float32(vector), np.float32(expected))


@pytest.mark.parametrize("tables", [[name] for name in ALL])
def test_each_table_alone_takes_a_layer_of_nothing_finite(
    tmp_path: Path, tables: list[str]
) -> None:
    with ingested(tmp_path, np.full((3, 2), np.nan, np.float32), [[0, 1, 2]] * 3, keep={
        "tables": tables
    }) as wh:  # fmt: skip
        assert wh.verify() == []
