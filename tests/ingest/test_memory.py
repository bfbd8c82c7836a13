"""What is gathered of every neuron fits in memory, or is refused before the pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from demo_recipes import demo_recipe
from torch import nn

from neuronmap_sql.errors import UsageError
from neuronmap_sql.ingest import job
from neuronmap_sql.ingest.models.loading import from_module, load
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store


def test_a_top_k_beyond_the_tokens_keeps_them_all(demo_model: Path, tmp_path: Path) -> None:
    keep = {"tables": ["top"], "top_k": 10**9}
    store = Store.create(tmp_path / "wh")
    done = ingest(demo_recipe(demo_model, 1, sites={"layers": "0"}, keep=keep), store)
    with connect(store.root) as con:
        ranks = con.sql("SELECT DISTINCT max(rank) FROM top_activations GROUP BY neuron, side")
        assert ranks.fetchall() == [(done.tokens,)]


def test_more_than_fits_is_refused_with_the_way_out(
    demo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "free_memory", lambda _: 10**6)
    recipe = demo_recipe(demo_model, 1, sites={"layers": "0"}, keep={"tables": ["top"]})
    with pytest.raises(UsageError, match=r"^statistics of 512 neurons take .* `neuronmap top`"):
        ingest(recipe, Store.create(tmp_path / "wh"))
    other = demo_recipe(demo_model, 1, sites={"layers": "0"}, keep={"tables": ["activations"]})
    assert ingest(other, Store.create(tmp_path / "wh")).made


def test_an_unloaded_model_gives_its_memory_back() -> None:
    bytes_ = 4 * 100_000 * 512
    loaded = from_module(nn.Sequential(nn.Embedding(100_000, 512), nn.Linear(512, 8)), "big")
    before, after = loaded.unload()
    assert before - after == pytest.approx(bytes_, rel=0.1)
    assert all(parameter.is_meta for parameter in loaded.backbone.parameters())


def test_an_ingest_unloads_what_it_loaded_and_says_so(
    demo_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = demo_recipe(demo_model, 1, keep={"tables": ["stats"]})
    mine = load(recipe.model)
    for loaded in (None, mine):
        store = Store.create(tmp_path / ("own" if loaded else "wh"))
        ingest(recipe, store, loaded=loaded, reporter=Reporter(show=True))
        said = re.search(r"demo-a: unloaded, ([\d,]+) to ([\d,]+) MB", capsys.readouterr().err)
        assert (said is None) == (loaded is mine)
    assert not any(parameter.is_meta for parameter in mine.backbone.parameters())
