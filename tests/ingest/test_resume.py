"""Interrupted, out of memory, repeated, changed: an ingest counts every value once."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from demo_recipes import demo_recipe

from neuronmap_sql.errors import ModelError, StoreError, UsageError
from neuronmap_sql.ingest.extraction.extract import Extraction
from neuronmap_sql.ingest.extraction.hooks import Extractor
from neuronmap_sql.ingest.extraction.reducers import SiteReducer
from neuronmap_sql.ingest.extraction.runner import Runner
from neuronmap_sql.ingest.extraction.saved import SavedState
from neuronmap_sql.ingest.pipeline import Ingested, ingest
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.settings import Recipe
from neuronmap_sql.numerics.extremes import Extremes
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

DOCS = 12
TABLES = ["stats", "top", "samples", "activations", "vectors"]
SITES = {"use": ["mlp", "resid_post"], "layers": "1,2"}
BATCH = {"tokens": 256, "shard_tokens": 200}

Make = Callable[..., Recipe]


@pytest.fixture
def make(demo_model: Path) -> Make:
    def recipe(**sections: dict[str, Any]) -> Recipe:
        own = {"sites": SITES, "keep": {"tables": TABLES}, "batch": BATCH}
        return demo_recipe(demo_model, DOCS, **(own | sections))

    return recipe


def contents(root: Path, run: str) -> dict[str, pa.Table]:
    """Every file of a run but its row of `runs`: path and table."""
    folder = root / "runs" / f"run={run}"
    files = sorted(p for p in folder.rglob("*.parquet") if p.parent.name != "runs")
    return {str(p.relative_to(folder)): pq.ParquetFile(p).read() for p in files}


@pytest.fixture(scope="module")
def prepared(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with all runs but activations, to copy."""
    root = tmp_path_factory.mktemp("prepared") / "warehouse"
    ingest(demo_recipe(demo_model, DOCS, keep={"tables": ["weights"]}), Store.create(root))
    return root


@pytest.fixture(scope="module")
def whole(
    demo_model: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ingested]:
    """An uninterrupted ingest; read it, do not write it."""
    root = shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "warehouse")
    recipe = demo_recipe(demo_model, DOCS, sites=SITES, keep={"tables": TABLES}, batch=BATCH)
    return root, ingest(recipe, Store.open(root))


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Store:
    return Store.open(shutil.copytree(prepared, tmp_path / "warehouse"))


def interrupt(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: int) -> None:
    """Make the call number `after` of a method end as Ctrl-C does, in the middle of its work."""
    original, calls = getattr(owner, name), iter(range(10**9))

    def method(self: Any, *args: Any, **keys: Any) -> Any:
        result = original(self, *args, **keys)
        if next(calls) == after:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [(SiteReducer, "update", 14), (Extraction, "_shard", 3),
     (Extraction, "_save", 0), (Extraction, "run", 0)],
)  # fmt: skip
def test_an_interrupted_ingest_goes_on_bit_for_bit(
    whole: tuple[Path, Ingested], make: Make, store: Store, monkeypatch: pytest.MonkeyPatch,
    owner: type, name: str, after: int,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        interrupt(patch, owner, name, after)
        with pytest.raises(KeyboardInterrupt):
            ingest(make(), store)
    run = whole[1].runs["activations"]
    assert store.unfinished() == (run,)
    assert not store.has(run)
    with connect(store.root) as con:
        assert con.sql("SELECT count(*) FROM neuron_stats").fetchall() == [(0,)]
    assert ingest(make(), store).made == (run,)
    found, expected = contents(store.root, run), contents(whole[0], run)
    assert found.keys() == expected.keys()
    assert all(found[path].equals(expected[path]) for path in expected)
    assert store.unfinished() == ()


def test_a_resumed_ingest_does_not_do_the_work_again(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, Extraction, "_shard", 3)
        with pytest.raises(KeyboardInterrupt):
            ingest(make(), store)
    begun: list[int] = []
    shard = Extraction._shard
    monkeypatch.setattr(
        Extraction, "_shard", lambda self, p, n, *a: begun.append(n) or shard(self, p, n, *a)
    )
    ingest(make(), store, reporter=Reporter(show=True))
    assert re.search(r"goes on after [\d,]+ of [\d,]+ tokens", capsys.readouterr().err)
    assert begun[0] == 3
    assert len(begun) > 1


@pytest.mark.parametrize("after", [0, 3])
def test_shards_may_be_cut_otherwise_when_resumed(
    whole: tuple[Path, Ingested], make: Make, store: Store, monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:  # fmt: skip
    with monkeypatch.context() as patch:
        interrupt(patch, Extraction, "_shard", after)
        with pytest.raises(KeyboardInterrupt):
            ingest(make(), store)
    ingest(make(batch={"tokens": 256, "shard_tokens": 600}), store)
    check_alike(whole, store)


def test_what_goes_wrong_while_saving_ends_the_ingest(
    whole: tuple[Path, Ingested], make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A save is written by another thread; what had been saved before still stands."""
    calls = iter(range(10**9))
    write = SavedState._write

    def full(self: Any, *args: Any) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state")
        write(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(SavedState, "_write", full)
        with pytest.raises(StoreError, match=r"state: No space left on device: free some space"):
            ingest(make(), store)
    ingest(make(), store)
    run = whole[1].runs["activations"]
    found, expected = contents(store.root, run), contents(whole[0], run)
    assert all(found[path].equals(expected[path]) for path in expected)


def check_alike(whole: tuple[Path, Ingested], store: Store) -> None:
    """Same rows, same counts, same values within rounding."""
    query = "SELECT site, layer, neuron, count, list_sum(hist_counts) AS total FROM neuron_stats"
    values = "SELECT mean, variance, min, max FROM neuron_stats ORDER BY site, layer, neuron"
    pooled = "SELECT site, layer, doc, vector FROM vectors ORDER BY ALL"
    with connect(store.root) as own, connect(whole[0]) as other:
        assert (
            own.sql(f"{query} ORDER BY ALL").fetchall()
            == other.sql(f"{query} ORDER BY ALL").fetchall()
        )
        found, expected = (np.array(c.sql(values).fetchall()) for c in (own, other))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        mine, theirs = (c.sql(pooled).fetchall() for c in (own, other))
        assert [row[:3] for row in mine] == [row[:3] for row in theirs]
        for one, two in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(one[3], two[3], rtol=1e-4, atol=1e-5)


def fail_once(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, calls: Iterator[int], at: int
) -> None:
    """Make the call number `at` of a method run out of memory after it has done its work."""
    original = getattr(owner, name)

    def method(self: Any, *args: Any) -> Any:
        result = original(self, *args)
        if next(calls) == at:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return result

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("owner", "name"), [(Runner, "_receive"), (Extremes, "update"), (SiteReducer, "update")]
)
def test_no_value_is_counted_twice_when_memory_runs_out(
    whole: tuple[Path, Ingested], make: Make, store: Store, monkeypatch: pytest.MonkeyPatch,
    owner: type, name: str,
) -> None:  # fmt: skip
    calls, at = iter(range(10**9)), 13
    fail_once(monkeypatch, owner, name, calls, at)
    ingest(make(batch={"tokens": 512, "shard_tokens": 600}), store)
    assert next(calls) > at
    check_alike(whole, store)


def test_batches_are_halved_once_for_all(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of the size that failed is not tried again in the same shard."""
    sizes: list[int] = []
    run = Extractor.run

    def limited(self: Extractor, input_ids: torch.Tensor, *rest: Any) -> None:
        sizes.append(input_ids.numel())
        if input_ids.numel() > 300:
            raise torch.OutOfMemoryError("CUDA out of memory")
        run(self, input_ids, *rest)

    monkeypatch.setattr(Extractor, "run", limited)
    ingest(make(batch={"tokens": 512, "shard_tokens": 100_000}), store)
    assert sum(size > 300 for size in sizes) == 1


def test_batches_grow_back_when_memory_is_there_again(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []
    sizes: list[int] = []
    run = Extractor.run

    def short_for_a_while(self: Extractor, input_ids: torch.Tensor, *rest: Any) -> None:
        sizes.append(input_ids.numel())
        if len(failed) < 1 and input_ids.numel() > 300:
            failed.append(len(sizes))
            raise torch.OutOfMemoryError("CUDA out of memory")
        run(self, input_ids, *rest)

    monkeypatch.setattr(Extractor, "run", short_for_a_while)
    monkeypatch.setattr("neuronmap_sql.ingest.extraction.runner._PATIENCE", 1)
    ingest(make(batch={"tokens": 512, "shard_tokens": 100_000}), store)
    (at,) = failed
    assert max(sizes[at : at + 3]) <= 300
    assert max(sizes[at + 3 :]) > 300, sizes


def test_a_window_that_does_not_fit_is_an_error(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Extraction, "_reduce", full)
    with pytest.raises(ModelError, match=r"single window of \d+ tokens.*data.context"):
        ingest(make(), store)


def test_other_failures_are_not_taken_for_lack_of_memory(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("another thing")

    monkeypatch.setattr(SiteReducer, "update", broken)
    with pytest.raises(RuntimeError, match="another thing"):
        ingest(make(), store)
    (log,) = (store.root / "logs").glob("activations-*.log")
    assert "another thing" in log.read_text()


def test_a_second_ingest_does_nothing(whole: tuple[Path, Ingested], make: Make) -> None:
    store = Store.open(whole[0])
    before = store.run_ids()
    again = ingest(make(), store)
    assert again.made == ()
    assert again.runs == whole[1].runs
    assert store.run_ids() == before


def test_batches_and_shards_do_not_change_what_a_run_is(
    whole: tuple[Path, Ingested], make: Make
) -> None:
    other = make(batch={"tokens": 64, "shard_tokens": 5000})
    assert ingest(other, Store.open(whole[0])).made == ()


CHANGES = {
    "keep": {"keep": {"tables": TABLES, "top_k": 7}},
    "folding": {"keep": {"tables": ["weights"]}, "weights": {"folding": "none"}},
    "documents": {"data": {"limit": 3}},
}


@pytest.mark.parametrize(
    "change", ["keep", "folding", pytest.param("documents", marks=pytest.mark.slow)]
)
def test_another_recipe_for_the_same_names_is_refused_before_any_work(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    few = {"keep": {"tables": ["stats", "top", "weights"]}, "sites": {"layers": "0"}}
    first = ingest(make(**few), store)
    before = store.run_ids()
    sections = few | CHANGES[change]
    with pytest.raises(UsageError, match=r"already holds .*--replace .*model.name or data.name"):
        ingest(make(**sections), store)
    assert store.run_ids() == before
    assert store.unfinished() == ()
    replaced = ingest(make(**sections), store, replace=True)
    assert replaced.made
    assert not set(replaced.made) & set(first.made)
    with connect(store.root) as con:
        per_neuron = con.sql(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM neuron_stats"
            " GROUP BY model, dataset, site, layer, neuron)"
        ).fetchall()
    assert per_neuron in ([(1,)], [(None,)])


def test_the_same_model_on_another_dataset_shares_its_model_run(make: Make, store: Store) -> None:
    few = {"keep": {"tables": ["stats", "weights"]}, "sites": {"layers": "0"}}
    first = ingest(make(**few), store)
    other = ingest(make(**few, data={"name": "other", "limit": 5}), store)
    assert other.runs["model"] == first.runs["model"]
    assert set(other.made) == {other.runs[kind] for kind in ("docs", "tokens", "activations")}
    with connect(store.root) as con:
        found = con.sql("SELECT DISTINCT dataset FROM neuron_stats ORDER BY ALL").fetchall()
    assert found == [("other",), ("text",)]


def test_seed_decides_the_samples(make: Make, store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "other")
    found = []
    for seed, root in enumerate((store.root, tmp_path / "other")):
        recipe = make(keep={"tables": ["samples"], "sampled_tokens": 100}, sites={"layers": "0"})
        ingest(replace(recipe, seed=seed), Store.open(root))
        with connect(root) as con:
            query = "SELECT neuron, bin, rank, tok FROM activation_samples ORDER BY ALL"
            found.append(con.sql(query).fetchall())
    assert found[0] != found[1]


def test_replacing_a_dataset_spares_other_models_and_happens_in_one_step(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"keep": {"tables": ["stats"]}, "sites": {"layers": "0"}}
    ingest(make(**few), store)
    mine = set(store.run_ids())
    ingest(make(**few, model={"name": "other"}), store)
    theirs = set(store.run_ids()) - mine
    changed = few | {"data": {"limit": 3}}
    with pytest.raises(UsageError, match=r"do not replace: activations-\w+; .*--with-children"):
        ingest(make(**changed), store, replace=True)
    assert set(store.run_ids()) == mine | theirs

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("neuronmap_sql.ingest.pipeline.write_activations", stop)
        with pytest.raises(KeyboardInterrupt):
            ingest(make(**changed), store, replace=True, with_children=True)
    assert set(store.run_ids()) == mine | theirs
    done = ingest(make(**changed), store, replace=True, with_children=True)
    assert set(done.runs.values()) <= set(store.run_ids())
    with connect(store.root) as con:
        assert con.sql("SELECT DISTINCT model FROM neuron_stats").fetchall() == [("demo-a",)]
        assert con.sql("SELECT count(*) FROM docs").fetchall() == [(3,)]
