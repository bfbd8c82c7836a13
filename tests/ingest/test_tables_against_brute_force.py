"""Every table of an ingest of a trained model, recomputed from plain forward passes.

Batches of one window give the very same float32 values as the oracle, so that all that is counted,
ranked, rounded or copied must be equal, and all that is summed equal to 1e-9.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from brute_force import BruteForce
from scipy import stats
from transformers import AutoTokenizer

from neuronmap_sql.ingest.pipeline import Ingested
from neuronmap_sql.numerics.bins import BINS, edges
from neuronmap_sql.warehouse.connect import connect

PLACES = [(site, layer) for site in ("mlp", "resid_post") for layer in range(4)]
FOUR_PLACES = [("mlp", 0), ("mlp", 3), ("resid_post", 1), ("resid_post", 3)]

Connection = duckdb.DuckDBPyConnection
Array = npt.NDArray[Any]


def rows(con: Connection, table: str, place: tuple[str, int], order: str) -> pa.Table:
    query = f"SELECT * FROM {table} WHERE site = $site AND layer = $layer ORDER BY {order}"
    params = {"site": place[0], "layer": place[1]}
    return con.sql(query, params=params).to_arrow_table()


def column(table: pa.Table, name: str) -> Array:
    return table[name].to_numpy(zero_copy_only=False)


def test_the_oracle_sees_its_own_places_apart(oracle: BruteForce) -> None:
    for layer in range(3):
        for site in ("mlp", "resid_post"):
            here, next_ = oracle.values[site, layer], oracle.values[site, layer + 1]
            assert np.abs(here - next_).max() > here.std()


def test_tokens(con: Connection, oracle: BruteForce, demo_model: Path) -> None:
    found = con.sql("SELECT * FROM tokens ORDER BY tok").to_arrow_table()
    assert np.array_equal(column(found, "tok"), np.arange(len(oracle.doc)))
    for name in ("doc", "pos", "token_id"):
        assert np.array_equal(column(found, name), getattr(oracle, name))
    tokenizer = AutoTokenizer.from_pretrained(demo_model)
    said = tokenizer.batch_decode([[i] for i in oracle.token_id.tolist()])
    assert found["token"].to_pylist() == said


def test_there_is_one_row_of_stats_for_every_neuron(con: Connection, oracle: BruteForce) -> None:
    found = con.sql(
        "SELECT site, layer, count(*), count(DISTINCT neuron), min(neuron), max(neuron)"
        " FROM neuron_stats GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    width = {place: values.shape[1] for place, values in oracle.values.items()}
    assert found == [(*p, width[p], width[p], 0, width[p] - 1) for p in sorted(PLACES)]


@pytest.mark.parametrize("place", PLACES)
def test_moments_and_extremes(con: Connection, oracle: BruteForce, place: tuple[str, int]) -> None:
    found = rows(con, "neuron_stats", place, "neuron")
    values = oracle.values[place]
    exact = values.astype(np.float64)
    assert (column(found, "count") == len(values)).all()
    assert (column(found, "nonfinite") == 0).all()
    mean, spread = exact.mean(axis=0), exact.std(axis=0)
    assert (np.abs(column(found, "mean") - mean) <= 1e-9 * spread).all()
    assert column(found, "variance") == pytest.approx(exact.var(axis=0), rel=1e-9)
    skewness, kurtosis = stats.skew(exact), stats.kurtosis(exact, fisher=False)
    assert column(found, "skewness") == pytest.approx(skewness, rel=1e-9, abs=1e-9)
    assert column(found, "kurtosis") == pytest.approx(kurtosis, rel=1e-9)
    assert np.array_equal(column(found, "min"), values.min(axis=0))
    assert np.array_equal(column(found, "max"), values.max(axis=0))
    active = (values > 0).sum(axis=0) / len(values)
    assert np.array_equal(column(found, "fraction_active"), active)


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_histograms_are_exact(con: Connection, oracle: BruteForce, place: tuple[str, int]) -> None:
    found = rows(con, "neuron_stats", place, "neuron")
    bounds = edges()
    for neuron, values in enumerate(oracle.values[place].T):
        right = np.searchsorted(bounds, values[values > 0], side="right") - 1
        left = np.searchsorted(bounds, values[values <= 0], side="left") - 1
        expected = np.bincount(np.concatenate([left, right]), minlength=BINS)
        bins, counts = found["hist_bins"][neuron].as_py(), found["hist_counts"][neuron].as_py()
        assert bins == np.flatnonzero(expected).tolist()
        assert counts == expected[bins].tolist()


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_quantiles_are_within_their_stated_error(
    con: Connection, oracle: BruteForce, place: tuple[str, int]
) -> None:
    found = rows(con, "neuron_stats", place, "neuron")
    values = oracle.values[place].astype(np.float64)
    error = column(found, "quantile_error")
    assert (error == 1 / 16).all()
    ordered, levels = np.sort(values, axis=0), (1, 10, 50, 250, 500, 750, 950, 990, 999)
    for level in levels:
        rank = level / 1000 * (len(values) - 1)
        lower, upper = ordered[int(rank)], ordered[int(np.ceil(rank))]
        exact = lower + (upper - lower) * (rank % 1)  # as numpy.quantile, whose sort is slower
        most = np.maximum(error * np.maximum(abs(lower), abs(upper)), 2.0**-16)
        assert (np.abs(column(found, f"q{level:03d}") - exact) <= most * (1 + 1e-6)).all()


@pytest.mark.parametrize("place", PLACES)
def test_layer_stats(con: Connection, oracle: BruteForce, place: tuple[str, int]) -> None:
    (found,) = rows(con, "layer_stats", place, "layer").to_pylist()
    values = oracle.values[place]
    exact = values.astype(np.float64)
    assert found["neurons"] == values.shape[1]
    assert found["token_count"] == len(values)
    assert found["mean"] == pytest.approx(exact.mean(), abs=1e-9 * exact.std())
    assert found["variance"] == pytest.approx(exact.var(), rel=1e-9)
    assert found["rms"] == pytest.approx(np.sqrt((exact**2).mean()), rel=1e-9)
    assert (found["min"], found["max"]) == (values.min(), values.max())
    assert found["fraction_active"] == pytest.approx((values > 0).mean(), rel=1e-12)
    assert found["mean_skewness"] == pytest.approx(stats.skew(exact).mean(), rel=1e-9)
    assert found["mean_kurtosis"] == pytest.approx(stats.kurtosis(exact, fisher=False).mean())
    assert found["dead"] == (values <= 0).all(axis=0).sum()
    assert found["constant"] == (np.ptp(values, axis=0) == 0).sum()


@pytest.mark.parametrize("side", ["highest", "lowest"])
@pytest.mark.parametrize("place", FOUR_PLACES)
def test_top_activations(
    con: Connection, oracle: BruteForce, place: tuple[str, int], side: str
) -> None:
    found = rows(con, f"(FROM top_activations WHERE side = '{side}')", place, "neuron, rank")
    values, k = oracle.values[place], 20
    # A stable sort leaves ties to the earlier token.
    tok = np.argsort(-values if side == "highest" else values, axis=0, kind="stable")[:k].T
    best = np.take_along_axis(values.T, tok, axis=1)
    assert np.array_equal(column(found, "tok"), tok.reshape(-1))
    assert np.array_equal(column(found, "value"), best.reshape(-1))
    assert np.array_equal(column(found, "rank"), np.tile(np.arange(1, k + 1), len(tok)))
    for name in ("doc", "pos"):
        assert np.array_equal(column(found, name), getattr(oracle, name)[tok.reshape(-1)])
    tokens = con.sql("SELECT token FROM tokens ORDER BY tok").to_arrow_table()["token"]
    assert found["token"].to_pylist() == tokens.take(pa.array(tok.reshape(-1))).to_pylist()


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_samples_lie_in_their_quantile_bins(
    con: Connection, oracle: BruteForce, place: tuple[str, int]
) -> None:
    found = rows(con, "activation_samples", place, "neuron, bin, rank")
    values = oracle.values[place]
    neuron, tok, bin_ = (column(found, name) for name in ("neuron", "tok", "bin"))
    assert np.array_equal(column(found, "value"), values[tok, neuron])
    assert np.array_equal(column(found, "doc"), oracle.doc[tok])
    assert (np.bincount(neuron * 10 + bin_, minlength=10 * values.shape[1]) == 3).all()
    share = (values[:, neuron] < column(found, "value")).mean(axis=0)
    # 1,024 of the tokens stand for all: a sample's rank among all is near that among them.
    assert np.abs(share - (bin_ + 0.5) / 10).max() < 0.05 + 5 * np.sqrt(0.25 / 1024)
    by_bin = column(found, "value").reshape(values.shape[1], 10, 3)
    assert (by_bin.max(axis=2)[:, :-1] <= by_bin.min(axis=2)[:, 1:]).all()


def half(values: Array) -> Array:
    return values.astype(np.float16)


@pytest.mark.parametrize("place", PLACES)
def test_activations_decode_to_the_values(
    con: Connection, oracle: BruteForce, place: tuple[str, int]
) -> None:
    found = rows(con, "activations", place, "neuron, block")
    values = half(oracle.values[place])
    blobs = found["vals"].to_pylist()
    blocks = len(blobs) // values.shape[1]
    flat = np.frombuffer(b"".join(blobs), "<f2").reshape(values.shape[1], -1)
    assert np.array_equal(flat.T, values)
    size = column(found, "n").reshape(-1, blocks)
    assert (size.sum(axis=1) == len(values)).all()
    first = np.cumsum(size, axis=1) - size
    assert np.array_equal(column(found, "first_tok").reshape(-1, blocks), first)
    low = np.minimum.reduceat(values.astype(np.float32), first[0], axis=0).T
    assert np.array_equal(column(found, "min").reshape(-1, blocks), low)


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_firings_are_exactly_the_values_from_the_threshold_on(
    con: Connection, oracle: BruteForce, place: tuple[str, int]
) -> None:
    found = rows(con, "firings", place, "neuron, tok")
    values = half(oracle.values[place]).astype(np.float32)
    wanted = round(0.01 * len(values))
    threshold = np.maximum(-np.partition(-values, wanted - 1, axis=0)[wanted - 1], np.float16(6e-8))
    neuron, tok = np.nonzero((values >= threshold).T)
    assert np.array_equal(column(found, "neuron"), neuron)
    assert np.array_equal(column(found, "tok"), tok)
    assert np.array_equal(column(found, "value"), values[tok, neuron])
    assert np.array_equal(column(found, "threshold"), threshold[neuron].astype(np.float32))


@pytest.mark.parametrize("place", FOUR_PLACES)
def test_token_matrices(con: Connection, oracle: BruteForce, place: tuple[str, int]) -> None:
    found = rows(con, "token_matrices", place, "tok")
    values = half(oracle.values[place])
    flat = np.frombuffer(b"".join(found["vals"].to_pylist()), "<f2")
    assert np.array_equal(column(found, "tok"), np.arange(len(values)))
    assert np.array_equal(flat.reshape(values.shape), values)


@pytest.mark.parametrize("pool", ["mean", "last", "first", "max"])
@pytest.mark.parametrize("place", FOUR_PLACES)
def test_vectors(con: Connection, oracle: BruteForce, place: tuple[str, int], pool: str) -> None:
    found = rows(con, f"(FROM vectors WHERE pool = '{pool}')", place, "doc")
    assert found["doc"].to_pylist() == list(range(60))
    for row in found.to_pylist():
        mine = oracle.values[place][oracle.doc == row["doc"]]
        expected = {
            "mean": mine.astype(np.float64).mean(axis=0),
            "last": mine[-1],
            "first": mine[0],
            "max": mine.max(axis=0),
        }[pool]
        assert row["n"] == len(mine)
        assert np.array_equal(np.float32(row["vector"]), np.float32(expected))


def test_the_run_says_how_it_went(con: Connection, oracle: BruteForce) -> None:
    (row,) = con.sql("SELECT * FROM runs WHERE kind = 'activations'").to_arrow_table().to_pylist()
    assert row["token_count"] == len(oracle.doc)
    assert 0 < row["tolerance"] < 1e-4
    assert row["nonfinite"] == 0
    assert row["tokens_per_second"] > 0
    assert row["seconds"] >= row["token_count"] / row["tokens_per_second"]
    assert row["device"] == "cpu"
    assert row["dtype"] == "float32"
    assert "shards of 1000" in row["batching"]
    assert dict(row["versions"]).keys() >= {"python", "torch", "platform", "neuronmap-sql"}


def test_wall_time_is_not_counted_twice(demo_ingested: tuple[Path, Ingested]) -> None:
    with connect(demo_ingested[0]) as own:
        (total,) = own.sql("SELECT sum(seconds) FROM runs").fetchall()[0]
    assert 0 < total <= demo_ingested[1].seconds


def test_sites(con: Connection) -> None:
    found = con.sql("SELECT site, layer, module, width, alias FROM sites ORDER BY ALL").fetchall()
    post = [("resid_post", n, f"h.{n}", 128, f"blocks.{n}.hook_resid_post") for n in range(4)]
    mlp = [("mlp", n, f"h.{n}.mlp.c_proj", 512, f"blocks.{n}.mlp.hook_post") for n in range(4)]
    assert found == mlp + post
