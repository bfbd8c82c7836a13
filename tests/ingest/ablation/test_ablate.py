"""Ablations of a trained model against plain transformers, and what the store keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from brute_force import texts_of
from plain_ablation import PlainGPT2

import neuronmap_sql as nm
from neuronmap_sql.content import folder
from neuronmap_sql.errors import QueryError, UnknownNameError, UsageError
from neuronmap_sql.ingest.ablation import measure
from neuronmap_sql.ingest.ablation.ablate import Ablated, ablate
from neuronmap_sql.ingest.ablation.recipe import parse_ablation, read_ablation
from neuronmap_sql.ingest.ablation.replay import Replay
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.recipe import recipe_from_flags, to_toml
from neuronmap_sql.ingest.settings import ModelSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

DOCS = 3
CONTEXT = 100
"""The second document has 126 tokens, and so two windows."""

NEURONS = (
    "FROM (VALUES ('demo-a', 1, 7), ('demo-a', 3, 100), ('demo-a', 0, 3))"
    " AS t(model, layer, neuron)"
)
CHANGES = ("loss_change", "entropy_change", "rank_change", "log_rank_change", "kl")


def run(store: Store, model: Path | LoadedModel, **keys: Any) -> Ablated:
    """Ablate with batches of one window; a model's folder is loaded, and let go."""
    raw: dict[str, Any] = {
        "neurons": NEURONS,
        "data": {"path": "text.jsonl.gz", "limit": DOCS, "context": CONTEXT},
        "controls": 2,
        "batch_tokens": 1,
    }
    options = {"replace": keys.pop("replace", False)}
    if isinstance(model, Path):
        raw["models"] = [{"source": str(model), "name": "demo-a"}]
    else:
        options["loaded"] = {"demo-a": model}
    return ablate(parse_ablation(raw | keys, "test", folder("demo")), store, **options)


def rows(root: Path, query: str) -> pl.DataFrame:
    with connect(root) as con:
        return con.sql(query).pl()


@pytest.fixture(scope="module")
def loaded(demo_model: Path) -> LoadedModel:
    return load(ModelSettings(source=str(demo_model), name="demo-a"))


@pytest.fixture(scope="module")
def ablated(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of one window, as the oracle has them."""
    root = tmp_path_factory.mktemp("ablated") / "warehouse"
    run(Store.create(root), loaded)
    return root


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return texts_of(folder("demo") / "text.jsonl.gz", DOCS)


@pytest.fixture(scope="module")
def plain(demo_model: Path, texts: list[str]) -> PlainGPT2:
    return PlainGPT2(demo_model, texts, torch.float64, CONTEXT)


def test_effects_are_those_of_plain_transformers(ablated: Path, plain: PlainGPT2) -> None:
    found = rows(ablated, "FROM effects ORDER BY unit, control")
    assert len(found) == 9
    clean = plain.clean_loss()
    for row in found.filter(pl.col("control") < 2).iter_rows(named=True):
        exact = plain.changes({(row["layer"], row["neuron"]): 0.0})
        assert row["n"] == len(exact["kl"]) == sum(len(w[0]) - 1 for w in plain.windows)
        assert row["clean_loss"] == pytest.approx(clean, abs=1e-5)
        for name in CHANGES:
            close = 0.01 if name == "rank_change" else 1e-5  # a rank may turn on the last digit
            assert row[name] == pytest.approx(exact[name].mean(), abs=close), name
            assert row[f"{name}_se"] == pytest.approx(plain.error(exact[name]), abs=close), name
        assert row["kl"] > 1e-8  # the oracle sees an effect


def test_kept_tokens_are_the_extremes(ablated: Path, plain: PlainGPT2) -> None:
    found = rows(ablated, "FROM token_effects WHERE unit = 1 AND control = 0 ORDER BY side, rank")
    neuron = found["layer"][0], found["neuron"][0]
    exact = plain.changes({neuron: 0.0})
    for side, sign in (("raised", 1), ("lowered", -1)):
        mine = found.filter(side=side)
        best = np.argsort(-sign * exact["loss_change"], kind="stable")[:10]
        np.testing.assert_allclose(mine["loss_change"], exact["loss_change"][best], atol=1e-5)
        assert len(set(mine["tok"]) & set(np.array(plain.tok)[best].tolist())) >= 9
        for row in mine.iter_rows(named=True):
            at = plain.tok.index(row["tok"])
            assert row["kl"] == pytest.approx(exact["kl"][at], abs=1e-5)
            assert row["loss_change"] == pytest.approx(exact["loss_change"][at], abs=1e-5)
    joined = rows(
        ablated,
        "SELECT t.token FROM token_effects JOIN tokens AS t USING (dataset, tokenizer, tok)",
    )
    assert len(joined) == len(rows(ablated, "FROM token_effects"))


@pytest.mark.parametrize(
    ("keys", "value"),
    [({"mode": "value", "value": 1.5}, lambda *_: 1.5), ({"mode": "mean"}, None)],
    ids=["value", "mean"],
)
def test_other_modes(
    loaded: LoadedModel, plain: PlainGPT2, tmp_path: Path,
    keys: dict[str, Any], value: Callable[..., float] | None,
) -> None:  # fmt: skip
    run(Store.create(tmp_path / "wh"), loaded, controls=0, **keys)
    row = rows(tmp_path / "wh", "FROM effects WHERE layer = 1").row(0, named=True)
    wanted = 1.5 if value else mean_of(plain, 1, 7)
    assert row["value"] == pytest.approx(wanted, abs=1e-6)
    exact = plain.changes({(1, 7): wanted})
    for name in ("loss_change", "entropy_change", "kl"):
        assert row[name] == pytest.approx(exact[name].mean(), abs=1e-5)


def mean_of(plain: PlainGPT2, layer: int, neuron: int) -> float:
    values: list[torch.Tensor] = []
    handle = plain.model.transformer.h[layer].mlp.c_proj.register_forward_pre_hook(
        lambda _, args: values.append(args[0][0, :, neuron])
    )
    plain.predictions({})
    handle.remove()
    return float(torch.cat(values).mean())


@pytest.mark.slow
def test_means_come_from_stored_statistics(demo_model: Path, tmp_path: Path) -> None:
    """The same numbers either way, and the run says which way it was."""
    store = Store.create(tmp_path / "wh")
    run(store, demo_model, mode="mean", name="own", controls=1)
    with nm.open(tmp_path / "wh") as wh:
        recipe: dict[str, Any] = {
            "model.source": str(demo_model),
            "model.name": "demo-a",
            "keep.tables": ["stats"],
        }
        recipe |= {"data.path": str(folder("demo") / "text.jsonl.gz")}
        recipe |= {"data.limit": DOCS, "data.context": CONTEXT}
        wh.ingest(recipe_from_flags(recipe), progress=False)
    run(store, demo_model, mode="mean", name="stored", controls=1)
    found = rows(tmp_path / "wh", "FROM effects ORDER BY experiment, unit, control")
    own, stored = (found.filter(experiment=name) for name in ("own", "stored"))
    np.testing.assert_allclose(own["value"], stored["value"], atol=1e-6)
    np.testing.assert_allclose(own["loss_change"], stored["loss_change"], atol=1e-6)
    said = dict(rows(tmp_path / "wh", "SELECT run, batching FROM runs").rows())
    assert "means from a pass of their own" in said[own["run"][0]]
    assert said[stored["run"][0]].endswith("means from neuron_stats")


def test_other_sites(loaded: LoadedModel, plain: PlainGPT2, tmp_path: Path) -> None:
    """A direction of the residual stream after a block, where the output is replaced."""
    neuron = "SELECT 'demo-a' AS model, 1 AS layer, 7 AS neuron"
    run(Store.create(tmp_path / "wh"), loaded, neurons=neuron, site="resid_post", controls=0)
    p, target = plain.predictions({})

    def replace(_: Any, __: Any, output: Any) -> Any:
        stream = output if isinstance(output, torch.Tensor) else output[0]
        changed = stream.clone()
        changed[..., 7] = 0
        return changed if stream is output else (changed, *output[1:])

    handle = plain.model.transformer.h[1].register_forward_hook(replace)
    q, _ = plain.predictions({})
    handle.remove()
    at = np.arange(len(target)), target
    row = rows(tmp_path / "wh", "FROM effects").row(0, named=True)
    assert row["loss_change"] == pytest.approx((p[at] - q[at]).mean(), abs=1e-5)
    assert row["kl"] > 1e-4


def test_groups_are_replaced_at_once(loaded: LoadedModel, plain: PlainGPT2, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "wh")
    run(store, loaded, together=True, controls=2)
    by_grp = NEURONS.replace("FROM", "SELECT *, if(layer < 2, 'low', 'high') AS grp FROM", 1)
    run(store, loaded, neurons=by_grp, name="by group", controls=0)
    found = rows(tmp_path / "wh", "FROM effects ORDER BY experiment, unit, control")
    assert found["grp"].to_list() == ["high", "low", "all", "all", "all"]
    assert found["layer"].null_count() == found["neuron"].null_count() == 5
    for row in found.filter(pl.col("control") == 0).iter_rows(named=True):
        places = {(each["layer"], each["neuron"]): 0.0 for each in row["neurons"]}
        exact = plain.changes(places)
        assert row["loss_change"] == pytest.approx(exact["loss_change"].mean(), abs=1e-5)
        assert row["kl"] == pytest.approx(exact["kl"].mean(), abs=1e-5)
    chosen, *controls = found.filter(experiment="zero together")["neurons"].to_list()
    for neurons in controls:
        assert [n["layer"] for n in neurons] == [n["layer"] for n in chosen] == [0, 1, 3]
        assert not {tuple(n.items()) for n in neurons} & {tuple(n.items()) for n in chosen}


def test_padding_does_not_leak(loaded: LoadedModel, ablated: Path, tmp_path: Path) -> None:
    """Windows side by side in one padded batch give what each gives alone."""
    run(Store.create(tmp_path / "wh"), loaded, batch_tokens=100_000)
    alone, padded = (
        rows(root, "FROM effects ORDER BY unit, control") for root in (ablated, tmp_path / "wh")
    )
    assert alone["n"].equals(padded["n"])
    for name in (*CHANGES, *(f"{name}_se" for name in CHANGES)):
        close = 5e-3 if "rank" in name else 1e-6
        np.testing.assert_allclose(alone[name], padded[name], atol=close)


@pytest.mark.slow
def test_the_shards_that_sums_are_cut_into_do_not_matter(
    loaded: LoadedModel, ablated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "_SHARD_TOKENS", 30)
    run(Store.create(tmp_path / "wh"), loaded)
    whole, cut = (
        rows(root, "SELECT * EXCLUDE run FROM effects ORDER BY unit, control")
        for root in (ablated, tmp_path / "wh")
    )
    assert whole["docs"].to_list() == cut["docs"].to_list() == [DOCS] * 9
    for name in (*CHANGES, *(f"{name}_se" for name in CHANGES)):
        np.testing.assert_allclose(whole[name], cut[name], rtol=1e-9, atol=1e-15)


def test_replayed_passes_give_the_same_bits(
    loaded: LoadedModel, ablated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = rows(ablated, "SELECT batching FROM runs WHERE kind = 'ablation'").item()
    assert "begun at the first replaced layer" in said
    monkeypatch.setattr(Replay, "__init__", lambda self, *_: _without_blocks(self))
    run(Store.create(tmp_path / "wh"), loaded)
    said = rows(tmp_path / "wh", "SELECT batching FROM runs WHERE kind = 'ablation'").item()
    assert "begun at the first layer" in said
    query = "SELECT * EXCLUDE run FROM effects ORDER BY unit, control"
    assert rows(ablated, query).equals(rows(tmp_path / "wh", query))


def _without_blocks(replay: Replay) -> None:
    replay._blocks, replay.layers, replay._held = [], [], {}


@pytest.mark.slow
def test_a_block_with_a_memory_ends_replaying(demo_model: Path, tmp_path: Path) -> None:
    """Negative control: where blocks hand on more than their output, whole passes are made."""
    loaded = load(ModelSettings(source=str(demo_model), name="demo-a"))
    blocks: Any = loaded.backbone.h
    seen: list[torch.Tensor] = []
    blocks[0].register_forward_hook(lambda _, __, output: seen.append(_stream(output)))
    blocks[3].register_forward_hook(lambda _, __, output: _stream(output).add_(seen.pop()))
    run(Store.create(tmp_path / "wh"), loaded)
    said = rows(tmp_path / "wh", "SELECT batching FROM runs WHERE kind = 'ablation'").item()
    assert "begun at the first layer" in said


def _stream(output: Any) -> torch.Tensor:
    found: torch.Tensor = output if isinstance(output, torch.Tensor) else output[0]
    return found


def test_controls_are_random_neurons_of_the_layer(loaded: LoadedModel, ablated: Path) -> None:
    found = rows(ablated, "FROM effects ORDER BY unit, control")
    for _, part in found.group_by("unit"):
        assert part["layer"].n_unique() == 1
        assert part["neuron"].n_unique() == 3
    chosen = found.filter(control=0).select("layer", "neuron").rows()
    assert sorted(chosen) == [(0, 3), (1, 7), (3, 100)]
    drawn = found.filter(pl.col("control") > 0).select("layer", "neuron").rows()
    assert not set(chosen) & set(drawn)


@pytest.mark.slow
def test_the_recipe_makes_the_same_run(demo_model: Path, ablated: Path, tmp_path: Path) -> None:
    """In another warehouse, and from the sources that table `models` names."""
    store = Store.create(tmp_path / "one")
    made = run(store, demo_model).runs["demo-a"]
    row = rows(tmp_path / "one", "FROM runs WHERE kind = 'ablation'").row(0, named=True)
    kinds = dict(rows(tmp_path / "one", "SELECT run, kind FROM runs").rows())
    assert sorted(kinds[parent] for parent in row["parents"]) == ["model", "tokens"]
    path = tmp_path / "recipe.toml"
    path.write_text(row["recipe"])
    again = read_ablation(path)
    assert to_toml(again) == row["recipe"]
    other = Store.create(tmp_path / "other")
    assert ablate(again, other).made == (made,)
    query = "SELECT * FROM effects ORDER BY unit, control"
    assert rows(tmp_path / "one", query).equals(rows(tmp_path / "other", query))
    named = run(store, demo_model, models=[], name="by its name")
    assert named.made
    told = rows(tmp_path / "one", "SELECT recipe FROM runs WHERE recipe LIKE '%by its name%'")
    assert str(demo_model) in told.item()


def test_names_are_keys(loaded: LoadedModel, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "wh")
    first = run(store, loaded, limit=1)
    assert run(store, loaded, limit=1).made == ()
    with pytest.raises(UsageError, match=r"experiment zero.*--replace.*or set name to keep both"):
        run(store, loaded, limit=1, seed=1)
    replaced = run(store, loaded, limit=1, seed=1, replace=True)
    assert replaced.runs != first.runs
    assert not store.has(first.runs["demo-a"])
    assert run(store, loaded, limit=1, seed=1, name="again").made
    assert not verify(store)


def test_the_rows_of_the_sql_may_come_in_any_order(loaded: LoadedModel, ablated: Path) -> None:
    twice = f"SELECT neuron, 1 AS x, model, layer FROM ({NEURONS} UNION ALL {NEURONS}) ORDER BY 1"
    assert run(Store.open(ablated), loaded, neurons=twice).made == ()


def test_an_interrupted_run_leaves_nothing(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.create(tmp_path / "wh")
    with monkeypatch.context() as patch:
        patch.setattr(measure.Effects, "end_documents", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(store, loaded)
    assert not any(name.startswith("ablation") for name in store.run_ids())
    assert store.unfinished() == ()
    assert rows(tmp_path / "wh", "FROM effects").is_empty()
    assert run(store, loaded).made


def _interrupt(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_only_the_first_documents(loaded: LoadedModel, plain: PlainGPT2, tmp_path: Path) -> None:
    run(Store.create(tmp_path / "wh"), loaded, limit=2, controls=0, keep_tokens=0)
    row = rows(tmp_path / "wh", "FROM effects WHERE layer = 1").row(0, named=True)
    mine = np.array(plain.doc) < 2
    exact = plain.changes({(1, 7): 0.0})
    assert (row["docs"], row["n"]) == (2, mine.sum())
    assert row["loss_change"] == pytest.approx(exact["loss_change"][mine].mean(), abs=1e-5)
    assert len(rows(tmp_path / "wh", "FROM docs")) == DOCS
    assert rows(tmp_path / "wh", "FROM token_effects").is_empty()


@pytest.mark.parametrize(
    ("keys", "error", "match"),
    [
        ({"neurons": "SELECT 'demo-a' AS model, 1 AS layer, 3 AS neurons"}, UsageError,
         "no column 'neuron'; did you mean 'neurons'"),
        ({"neurons": f"{NEURONS} WHERE layer > 9"}, UsageError, "returns no rows"),
        ({"neurons": f"SELECT * REPLACE (NULL AS neuron) {NEURONS}"}, UsageError, "NULL in the c"),
        ({"neurons": f"SELECT * REPLACE (1.5 AS neuron) {NEURONS}"}, UsageError, "cast it to INT"),
        ({"neurons": "FROM neuron_stat"}, QueryError, "did you mean 'neuron_stats'"),
        ({"neurons": "CREATE TABLE t (x INTEGER)"}, UsageError, "one SELECT"),
        ({"neurons": f"{NEURONS}; {NEURONS}"}, UsageError, "one SELECT"),
        ({"neurons": NEURONS.replace("100", "512")}, UnknownNameError, "no neuron 512 in layer 3"),
        ({"neurons": NEURONS.replace("3, 100", "4, 0")}, UnknownNameError, "no layer 4"),
        ({"neurons": NEURONS.replace("3, 100", "-1, 0")}, UnknownNameError, "no layer -1"),
        ({"neurons": NEURONS.replace("demo-a', 0", "demo-b', 0")}, UnknownNameError,
         "no stored model named 'demo-b'.*--model NAME=SOURCE"),
        ({"site": "mpl"}, UnknownNameError, "did you mean 'mlp"),
        ({"controls": 512}, UsageError, "layer 0 has 511 neurons"),
        ({"mode": "value"}, UsageError, 'value and mode = "value" go together'),
        ({"mode": "zer"}, UsageError, "did you mean 'zero'"),
        ({"keeptokens": 3}, UsageError, "did you mean 'keep_tokens'"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_refused(
    loaded: LoadedModel, tmp_path: Path, keys: dict[str, Any], error: type[Exception], match: str
) -> None:
    store = Store.create(tmp_path / "wh")
    with pytest.raises(error, match=match):
        run(store, loaded, **keys)
    assert store.run_ids() == store.unfinished() == ()
