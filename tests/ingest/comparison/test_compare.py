"""Comparisons against brute force over all values, whichever way the work is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from brute_force import brute_force, texts_of

from neuronmap_sql.content import folder
from neuronmap_sql.errors import RecipeError, UsageError
from neuronmap_sql.ingest.comparison.compare import compare
from neuronmap_sql.ingest.comparison.recipe import parse_comparison
from neuronmap_sql.ingest.extraction.hooks import Extractor
from neuronmap_sql.ingest.pipeline import Ingested
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

DOCS = 30
WIDTH = 512
LAYERS = (1, 2)
TABLES = (
    "model_pairs", "neuron_matches", "neuron_pairs", "neuron_baseline", "layer_pairs",
    "pair_histogram", "matchings",
)  # fmt: skip


def recipe(models: list[Path], **sections: Any) -> dict[str, Any]:
    """Batches hold one window, so that a plain forward pass gives the very same values."""
    raw: dict[str, Any] = {
        "models": [{"source": str(model)} for model in models],
        "data": {"path": "text.jsonl.gz", "limit": DOCS},
        "keep": {
            "baselines": ["gaussian", "standardised"],
            "draws": 2,
            "matchings": ["mutual", "hungarian", "hungarian_absolute"],
        },
        "sites": {"layers": "1-2"},
        "work": {"batch_tokens": 1},
    }
    for name, keys in sections.items():
        raw[name] = raw.get(name, {}) | keys if isinstance(keys, dict) else keys
    return raw


def run(store: Store, raw: dict[str, Any], **options: Any) -> Ingested:
    return compare(parse_comparison(raw, "test", folder("demo")), store, **options)


def rows(root: Path, query: str) -> pl.DataFrame:
    with connect(root) as con:
        return con.sql(query).pl()


@pytest.fixture(scope="module")
def models(demo_model: Path) -> list[Path]:
    folders = [folder("demo") / "models" / name for name in ("demo-a", "demo-b")]
    assert all(path.exists() for path in folders)
    return folders


@pytest.fixture(scope="module")
def compared(models: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compared") / "warehouse"
    run(Store.create(root), recipe(models))
    return root


@pytest.fixture(scope="module")
def exact(models: list[Path]) -> np.ndarray:
    """All correlations in float64, [neurons of demo-a, neurons of demo-b], layers side by side."""
    texts = texts_of(folder("demo") / "text.jsonl.gz", DOCS)
    sides = []
    for model in models:
        found = brute_force(model, texts)
        values = np.concatenate([found.values["mlp", layer] for layer in LAYERS], axis=1)
        centred = values.astype(np.float64) - values.mean(0, dtype=np.float64)
        sides.append(centred / np.sqrt((centred**2).sum(0)))
    return sides[0].T @ sides[1]


def test_the_best_partners_and_their_correlations(compared: Path, exact: np.ndarray) -> None:
    found = rows(compared, "SELECT * FROM neuron_pairs ORDER BY ALL")
    assert len(found) == 2 * 2 * 2 * WIDTH * 5
    neuron = (found["layer"].to_numpy() - 1) * WIDTH + found["neuron"].to_numpy()
    partner = (found["partner_layer"].to_numpy() - 1) * WIDTH + found["partner_neuron"].to_numpy()
    forward = (found["model"] == "demo-a").to_numpy()
    signed = (found["ranked_by"] == "signed").to_numpy()
    mine = np.where(forward, exact[neuron, partner], exact[partner, neuron])
    assert np.abs(found["r"].to_numpy() - mine).max() < 3e-8
    for direction, table in ((forward, exact), (~forward, exact.T)):
        for kind, scores in ((signed, table), (~signed, np.abs(table))):
            best = -np.sort(-scores, axis=1)[:, :5]
            chosen = direction & kind
            kept = scores[neuron[chosen], partner[chosen]]
            rank = found["rank"].to_numpy()[chosen] - 1
            assert np.abs(kept - best[neuron[chosen], rank]).max() < 3e-8


def test_largest_and_smallest_correlations(compared: Path, exact: np.ndarray) -> None:
    found = rows(compared, "FROM neuron_matches ORDER BY model, layer, neuron")
    assert set(found["state"]) == {"live"}
    for model, table in (("demo-a", exact), ("demo-b", exact.T)):
        mine = found.filter(pl.col("model") == model)
        np.testing.assert_allclose(mine["max_r"], table.max(1), rtol=0, atol=3e-8)
        np.testing.assert_allclose(mine["min_r"], table.min(1), rtol=0, atol=3e-8)


def test_layers_and_histograms(compared: Path, exact: np.ndarray) -> None:
    best = exact.argmax(1)
    counts = rows(compared, "FROM pair_histogram WHERE model = 'demo-a' ORDER BY ALL")
    pairs = rows(compared, "FROM layer_pairs WHERE model = 'demo-a'")
    assert len(pairs) == 4
    for row in pairs.iter_rows(named=True):
        mine = slice((row["layer"] - 1) * WIDTH, row["layer"] * WIDTH)
        theirs = slice((row["partner_layer"] - 1) * WIDTH, row["partner_layer"] * WIDTH)
        block = exact[mine, theirs]
        assert row["mean_max_r"] == pytest.approx(block.max(1).mean(), abs=1e-7)
        there = (best[mine] // WIDTH + 1 == row["partner_layer"]).mean()
        assert row["matched_share"] == pytest.approx(there, abs=2.1 / WIDTH)
        back = block.argmax(0)[block.argmax(1)] == np.arange(WIDTH)
        assert row["mutual_share"] == pytest.approx(back.mean(), abs=2.1 / WIDTH)
        expected, _ = np.histogram(block, bins=200, range=(-1, 1))
        here = counts.filter(layer=row["layer"], partner_layer=row["partner_layer"])
        found = np.zeros(200, np.int64)
        found[here["bin"].to_numpy()] = here["count"].to_numpy()
        assert found.sum() == WIDTH**2
        assert np.abs(found - expected).sum() <= 10


def test_matchings_are_one_to_one_and_the_best(compared: Path, exact: np.ndarray) -> None:
    from scipy.optimize import linear_sum_assignment

    found = rows(compared, "FROM matchings WHERE model = 'demo-a' AND layer = 2")
    for (method, layer), part in found.group_by("method", "partner_layer"):
        block = exact[WIDTH:, (layer - 1) * WIDTH : layer * WIDTH]  # type: ignore[operator]
        assert part["neuron"].n_unique() == part["partner_neuron"].n_unique() == len(part)
        total = part["r"].abs().sum() if method == "hungarian_absolute" else part["r"].sum()
        if method != "mutual":
            scores = np.abs(block) if method == "hungarian_absolute" else block
            best = scores[linear_sum_assignment(scores, maximize=True)].sum()
            assert total == pytest.approx(best, abs=1e-4)
            assert len(part) == WIDTH


def test_both_directions_agree(compared: Path) -> None:
    turned = rows(
        compared,
        "SELECT a.r - b.r AS difference FROM matchings AS a JOIN matchings AS b"
        " ON a.model = b.partner_model AND a.layer = b.partner_layer"
        " AND a.neuron = b.partner_neuron AND b.layer = a.partner_layer"
        " AND b.neuron = a.partner_neuron AND a.method = b.method",
    )
    assert len(turned) == len(rows(compared, "FROM matchings"))
    assert turned["difference"].abs().max() == 0


def test_a_comparison_is_sound_and_made_once(compared: Path, models: list[Path]) -> None:
    store = Store.open(compared)
    assert verify(store) == []
    assert run(store, recipe(models)).made == ()
    kinds = rows(compared, "SELECT kind, count(*) AS n FROM runs GROUP BY ALL ORDER BY ALL")
    assert dict(kinds.iter_rows()) == {"comparison": 1, "docs": 1, "model": 2, "tokens": 1}


@pytest.mark.parametrize(
    "work", [{"spool": "always"}, {"memory": "20MB"}, {"precision": "float64"}],
    ids=["spooled", "several sweeps", "float64"],
)  # fmt: skip
def test_the_way_does_not_matter(
    compared: Path, models: list[Path], tmp_path: Path, work: dict[str, Any]
) -> None:
    store = Store.create(tmp_path / "warehouse")
    run(store, recipe(models, work=work))
    (batching,) = rows(store.root, "SELECT batching FROM runs WHERE kind = 'comparison'")[
        "batching"
    ]
    if "memory" in work:
        assert " 1 sweeps" not in batching
    for table in TABLES:
        query = f"SELECT * EXCLUDE (run) FROM {table} ORDER BY ALL"
        one, other = rows(compared, query), rows(store.root, query)
        assert len(one) > 0
        if table == "pair_histogram":
            assert one["count"].sum() == other["count"].sum()
            continue
        for name, kind in one.schema.items():
            if kind == pl.Float64:
                worst = np.abs(one[name].to_numpy() - other[name].to_numpy())
                assert np.nanmax(worst) < 1e-7, (table, name)
            elif table not in {"neuron_pairs", "matchings"}:
                assert one[name].equals(other[name]), (table, name)
    assert verify(store) == []
    assert list((store.root / "staging").iterdir()) == []


def test_every_model_reads_the_text_once(
    models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, int] = {}
    original = Extractor.run

    def counted(self: Extractor, ids: torch.Tensor, mask: torch.Tensor, *rest: Any) -> None:
        seen[id(self._model)] = seen.get(id(self._model), 0) + int(mask.sum())
        original(self, ids, mask, *rest)

    monkeypatch.setattr(Extractor, "run", counted)
    three = [*models, folder("demo") / "models" / "demo-c"]
    store = Store.create(tmp_path / "warehouse")
    run(store, recipe(three, keep={"baselines": [], "matchings": [], "histogram": False}))
    tokens = rows(store.root, "SELECT count(*) AS n FROM tokens")["n"][0]
    assert list(seen.values()) == [tokens] * 3
    assert len(rows(store.root, "FROM model_pairs")) == 6
    assert len(rows(store.root, "FROM neuron_baseline")) == 0


def test_one_model_against_each_other(models: list[Path], tmp_path: Path) -> None:
    three = [*models, folder("demo") / "models" / "demo-c"]
    store = Store.create(tmp_path / "warehouse")
    keep = {"baselines": ["gaussian"], "draws": 1, "pairs": "first", "top_k": 1}
    run(store, recipe(three, keep=keep, sites={"layers": "1"}))
    found = rows(store.root, "SELECT model, partner_model FROM model_pairs ORDER BY ALL")
    assert list(found.iter_rows()) == [
        ("demo-a", "demo-b"),
        ("demo-a", "demo-c"),
        ("demo-b", "demo-a"),
        ("demo-c", "demo-a"),
    ]
    for table in ("neuron_matches", "neuron_pairs", "neuron_baseline", "layer_pairs", "matchings"):
        pairs = rows(store.root, f"SELECT DISTINCT model, partner_model FROM {table} ORDER BY ALL")
        assert pairs.equals(found), table


def test_names_are_taken_until_they_are_replaced(models: list[Path], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "warehouse")
    small = {"draws": 1, "baselines": [], "matchings": []}
    layers = {"layers": "0"}
    run(store, recipe(models, keep=small, sites=layers))
    other = recipe(models, keep=small | {"top_k": 2}, sites=layers)
    with pytest.raises(UsageError, match=r"model_pairs.*demo-a.*--replace"):
        run(store, other)
    done = run(store, other, replace=True)
    assert len(done.made) == 1
    assert rows(store.root, "SELECT max(rank) AS k FROM neuron_pairs")["k"][0] == 2
    third = recipe([models[0], folder("demo") / "models" / "demo-c"], keep=small, sites=layers)
    run(store, third)
    assert len(rows(store.root, "FROM model_pairs")) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"models": [{"source": "a"}]}, "a comparison needs two"),
        ({"models": [{"source": "a"}, {"source": "b", "name": "a"}]}, "two models are called 'a'"),
        ({"models": [{"source": "a"}, {"sauce": "b"}]}, "'models.sauce'; did you mean 'source'"),
        ({"keep": {"baselines": ["gausian"]}}, "did you mean 'gaussian'"),
        ({"keep": {"top_k": 0}}, "keep.top_k and keep.draws must be at least 1"),
        ({"work": {"memory": "much"}}, "work.memory = 'much'"),
        ({"model": {"source": "a"}}, "unknown key 'model'; did you mean 'models'"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(change: dict[str, Any], said: str) -> None:
    raw = {"models": [{"source": "a"}, {"source": "b"}], "data": {"path": "d"}} | change
    with pytest.raises(RecipeError, match=r"compare\.toml") as error:
        parse_comparison(raw, "compare.toml", Path())
    assert said in str(error.value)


def test_a_recipe_is_written_back(tmp_path: Path) -> None:
    raw = {
        "models": [{"source": "a", "site": "decoder.mlp"}, {"source": "b", "revision": "step3"}],
        "data": {"path": "d.jsonl"},
        "keep": {"baselines": ["orthogonal"]},
    }
    import tomllib

    found = parse_comparison(raw, "x", tmp_path)
    assert parse_comparison(tomllib.loads(to_toml(found)), "y", tmp_path) == found


def test_too_little_memory_says_how_much(models: list[Path], tmp_path: Path) -> None:
    store = Store.create(tmp_path / "warehouse")
    with pytest.raises(UsageError, match=r"set it to \S+GB or more"):
        run(store, recipe(models, work={"memory": "5MB"}))
    with pytest.raises(UsageError, match=r"do not fit into work\.memory"):
        run(store, recipe(models, work={"memory": "20MB", "spool": "never"}))
    with pytest.raises(UsageError, match="is of one site, and these are mlp, resid_post"):
        run(store, recipe(models, sites={"use": ["mlp", "resid_post"]}))
