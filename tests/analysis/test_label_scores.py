"""Every score of every label against plain float64 on the values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from planted_labels import BROKEN, CONSTANT, DOC_TOKENS, TOKENS, Planted
from scipy import stats
from sklearn.metrics import r2_score

import neuronmap_sql as nm

LABELS = ("token", "first_letter", "digits", "all_capitals", "window_position", "docs.source")


@pytest.fixture(scope="module")
def scores(analysed: nm.Warehouse) -> pl.DataFrame:
    return analysed.sql("FROM label_scores ORDER BY neuron, label, lag").pl()


def classes(wh: nm.Warehouse, label: str, lag: int) -> np.ndarray:
    """[tokens] by the macro; None where there is no class."""
    rows = wh.sql(
        "SELECT tok, class FROM token_labels(lag := $lag) WHERE label = $label",
        {"label": label, "lag": lag},
    ).fetchall()
    found = np.full(TOKENS, None, object)
    for tok, name in rows:
        found[tok] = name
    return found


PLACES = [(label, 0) for label in LABELS] + [("token", 1), ("digits", 1)]


@pytest.mark.parametrize(("label", "lag"), PLACES)
def test_scores_are_those_of_float64(
    analysed: nm.Warehouse, scores: pl.DataFrame, known: Planted, label: str, lag: int
) -> None:
    told = scores.filter(pl.col("label") == label, pl.col("lag") == lag)
    names = classes(analysed, label, lag)
    for row in told.iter_rows(named=True):
        x = known.values[:, row["neuron"]].astype(np.float64)
        some = np.isfinite(x) & (names != None)  # noqa: E711
        x, mine = x[some], names[some].astype(str)
        kinds, codes = np.unique(mine, return_inverse=True)
        assert (row["n"], row["classes"]) == (len(x), len(kinds))
        if row["neuron"] == CONSTANT:
            assert row["variance_reduction"] is row["p"] is row["best_reduction"] is None
            continue
        means = np.bincount(codes, x) / np.bincount(codes)
        share = r2_score(x, means[codes])
        assert row["variance_reduction"] == pytest.approx(share, rel=1e-9, abs=1e-12)
        shrunk = 1 - (1 - share) * (len(x) - 1) / (len(x) - len(kinds))
        assert row["adjusted_reduction"] == pytest.approx(shrunk, rel=1e-9, abs=1e-12)
        alone = [r2_score(x, _two(x, codes == c)) for c in range(len(kinds))]
        best = 1 if len(kinds) == 2 else int(np.argmax(alone))
        assert (row["best_class"], row["best_count"]) == (kinds[best], (codes == best).sum())
        assert row["best_reduction"] == pytest.approx(alone[best], rel=1e-9, abs=1e-12)
        away = x[codes == best].mean() - x[codes != best].mean()
        assert row["best_difference"] == pytest.approx(away / x.std(), rel=1e-9)
        assert row["top_class"] == kinds[means.argmax()]
        assert row["top_mean"] == pytest.approx(means.max(), rel=1e-9)


def _two(x: np.ndarray, mine: np.ndarray) -> np.ndarray:
    return np.where(mine, x[mine].mean(), x[~mine].mean())


def test_p_of_normal_neurons_is_that_of_the_f_test(
    analysed: nm.Warehouse, scores: pl.DataFrame, known: Planted
) -> None:
    names = classes(analysed, "token", 0)
    for neuron in range(8, 16):
        x = known.values[:, neuron].astype(np.float64)
        told = scores.filter(neuron=neuron, label="token", lag=0)["p"][0]
        p = stats.f_oneway(*(x[names == name] for name in set(names))).pvalue
        assert told == pytest.approx(p, rel=0.05)


def test_p_of_a_label_of_documents_is_that_of_their_means(
    analysed: nm.Warehouse, scores: pl.DataFrame, known: Planted
) -> None:
    """With means a permutation test of SciPy's; with tokens it would be another."""
    means = known.values.astype(np.float64).reshape(-1, DOC_TOKENS, 42).mean(axis=1)
    source = known.source[::DOC_TOKENS]
    for neuron in (9, 30):
        groups = [means[source == name, neuron] for name in sorted(set(source))]
        found = stats.permutation_test(
            groups, lambda *g: stats.f_oneway(*g).statistic, n_resamples=1000, rng=0,
            permutation_type="independent", alternative="greater",
        ).pvalue  # fmt: skip
        told = scores.filter(neuron=neuron, label="docs.source")["p"][0]
        assert told == pytest.approx(found, abs=0.05)


def test_p_is_corrected_over_the_whole_run(scores: pl.DataFrame) -> None:
    """Benjamini and Hochberg by their definition: the least p m / rank from here on upwards."""
    some = scores.filter(pl.col("p").is_not_null()).sort("p")
    p = some["p"].to_numpy()
    plain = p * len(p) / np.arange(1, len(p) + 1)
    assert some["p_adjusted"].to_numpy() == pytest.approx(np.minimum.accumulate(plain[::-1])[::-1])
    assert scores.filter(pl.col("p").is_null())["p_adjusted"].null_count() == sum(
        scores["p"].is_null()
    )


def test_values_that_are_not_finite_are_left_out(scores: pl.DataFrame, known: Planted) -> None:
    lost = int(np.isnan(known.values[:, BROKEN]).sum())
    assert lost > 400
    assert scores.filter(neuron=BROKEN, lag=0)["n"].unique().to_list() == [TOKENS - lost]


def test_means_are_those_of_the_classes(analysed: nm.Warehouse, known: Planted) -> None:
    told = analysed.sql("FROM class_means WHERE label = 'token' ORDER BY neuron, lag, rank").pl()
    assert told.group_by("neuron", "lag").len()["len"].max() == 10
    names = {0: known.words, 1: known.before()}
    for row in told.filter(pl.col("neuron") < 40).iter_rows(named=True):
        mine = names[row["lag"]] == row["class"]
        x = known.values[:, row["neuron"]].astype(np.float64)
        assert row["count"] == mine.sum()
        assert row["mean"] == pytest.approx(x[mine].mean(), rel=1e-9, abs=1e-12)
    ranked = told.filter(neuron=0, lag=0)
    assert ranked["reduction"].is_sorted(descending=True)
    assert ranked["class"][0] == " the"
