"""Models that accelerate spreads: the same values, weights and rows as in one place.

There is no GPU in these tests: the weights are spread over memory and the disk, so that every part
that meets weights elsewhere is passed through, but only one device computes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import tiny
import torch
from demo_recipes import demo_recipe
from recording import IDS, MASK

from neuronmap_sql.errors import RecipeError
from neuronmap_sql.ingest.extraction.hooks import extractor
from neuronmap_sql.ingest.extraction.weight_rows import weight_rows
from neuronmap_sql.ingest.models.availability import check
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe import parse_recipe, to_toml
from neuronmap_sql.ingest.settings import ModelSettings, SiteSettings, WeightSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

SITES = {"gpt2": ("mlp", "resid_post"), "llama": ("mlp", "head_out"), "t5": ("decoder.mlp",)}


def spread(source: Path, most: str) -> ModelSettings:
    return ModelSettings(str(source), device_map="auto", max_memory={"cpu": most})


def values(model: LoadedModel, sites: tuple[str, ...]) -> list[torch.Tensor]:
    hooks = resolve(model.backbone, model.family, SiteSettings(use=sites))
    found: list[torch.Tensor] = []
    with extractor(model.backbone, hooks, lambda _, tensor: found.append(tensor.clone())) as passes:
        passes.run(IDS, MASK)
    return found


@pytest.mark.parametrize("kind", SITES)
def test_weights_on_the_disk_give_the_same_values(kind: str, tmp_path: Path) -> None:
    full = tiny.language_model(kind)
    full.save_pretrained(tmp_path)
    size = sum(p.numel() * 4 for p in full.parameters())
    plain = load(ModelSettings(str(tmp_path), device="cpu"))
    model = load(spread(tmp_path, f"{size // 2000}KB"))
    waiting = sum(p.numel() * 4 for p in model.backbone.parameters() if p.is_meta)
    assert 0 < waiting < size
    for one, other in zip(values(model, SITES[kind]), values(plain, SITES[kind]), strict=True):
        assert torch.equal(one, other)
    assert model.info == plain.info


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_neuron_weights_are_read_from_the_disk(kind: str, tmp_path: Path) -> None:
    tiny.language_model(kind).save_pretrained(tmp_path)
    rows: list[pa.Table] = []
    for settings in (ModelSettings(str(tmp_path), device="cpu"), spread(tmp_path, "1KB")):
        with Reporter(show=False).meter("", 0, "neurons") as meter:
            rows.append(weight_rows(load(settings), WeightSettings(tokens=3), meter))
    assert rows[0].equals(rows[1])


def test_an_ingest_of_a_spread_model_makes_the_same_run(demo_model: Path, tmp_path: Path) -> None:
    keep = {"tables": ["stats", "top", "activations", "vectors"]}
    found, runs = [], []
    for name, model in {
        "plain": {"device": "cpu"},
        "spread": {"device_map": "auto", "max_memory": {"cpu": "3MB"}},
    }.items():
        store = Store.create(tmp_path / name)
        done = ingest(demo_recipe(demo_model, 5, keep=keep, model=model), store)
        runs.append(done.runs)
        with connect(store.root) as con:
            found.append(
                [
                    con.sql(f"SELECT * FROM {table} ORDER BY ALL").to_arrow_table()
                    for table in ("neuron_stats", "top_activations", "activations", "vectors")
                ]
            )
            device = "SELECT device FROM runs WHERE kind = 'activations'"
            (text,) = con.sql(device).fetchall()
    assert runs[0] == runs[1]
    assert "disk (" in text[0]
    assert "cpu (" in text[0]
    for one, other in zip(*found, strict=True):
        assert one.num_rows > 0
        assert one.equals(other)


def test_a_spread_model_is_let_go(demo_model: Path) -> None:
    assert not check(spread(demo_model, "3MB")).problems
    model = load(spread(demo_model, "3MB"))
    model.unload()
    assert all(p.is_meta for p in model.backbone.parameters())
    assert not any(hasattr(module, "_hf_hook") for module in model.backbone.modules())


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"max_memory": {"cpu": "3MB"}}, 'max_memory needs model.device_map = "auto"'),
        ({"device_map": "auto", "device": "cpu"}, "leave one of them out"),
        ({"device_map": "auto", "max_memory": {"gpu": "3MB"}}, "number of a GPU, cpu or disk"),
        ({"device_map": "auto", "max_memory": {"cpu": "3 apples"}}, "write a number and KB"),
        ({"device_map": "balancd"}, "did you mean 'balanced'"),
    ],
)
def test_a_map_that_means_nothing_is_refused(model: dict[str, object], said: str) -> None:
    raw = {"model": {"source": "m", **model}, "data": {"path": "d"}}
    with pytest.raises(RecipeError, match="model") as error:
        parse_recipe(raw, "recipe.toml", Path())
    assert said in str(error.value)


def test_a_recipe_with_limits_is_written_back(tmp_path: Path) -> None:
    limits = {"0": "20GB", "cpu": "1.5GiB"}
    raw = {
        "model": {"source": "m", "device_map": "sequential", "max_memory": limits},
        "data": {"path": "d"},
    }
    recipe = parse_recipe(raw, "recipe.toml", tmp_path)
    assert recipe.model.max_memory == limits
    assert "[model.max_memory]" in to_toml(recipe)
    plain = parse_recipe({**raw, "model": {"source": "m"}}, "recipe.toml", tmp_path)
    assert "max_memory" not in to_toml(plain)


def test_a_missing_package_is_named(demo_model: Path) -> None:
    code = f"""
import subprocess
import sys
sys.modules["accelerate"] = None
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.settings import ModelSettings
load(ModelSettings({str(demo_model)!r}, device_map="auto"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install `neuronmap-sql[device-map]`" in done.stderr.splitlines()[-1]
