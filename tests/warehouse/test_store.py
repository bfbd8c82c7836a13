from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_warehouse import ROW, add_activations, add_documents, add_weights, fill

from neuronmap_sql.errors import StoreError, UnknownNameError, UsageError
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import sha256
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Partition, run_id
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.trash import GRACE_SECONDS


def test_create_is_idempotent_and_open_knows_a_warehouse(store: Store, tmp_path: Path) -> None:
    run = add_weights(store)
    assert Store.create(store.root).run_ids() == (run,)
    assert Store.open(store.root).run_ids() == (run,)
    with pytest.raises(StoreError, match="neuronmap init"):
        Store.open(tmp_path)


def test_create_leaves_a_folder_with_other_things_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        Store.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_path_that_the_engine_misreads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot have a '\?'"):
        Store.create(tmp_path / "what?")


def test_the_manifest_tells_the_files_as_they_are(store: Store) -> None:
    run = add_documents(store)
    manifest = store.manifest(run)
    folder = store.root / "runs" / f"run={run}"
    on_disk = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.parquet")}
    assert {entry.path for entry in manifest.files} == set(on_disk)
    for entry in manifest.files:
        path = on_disk[entry.path]
        assert entry.sha256 == sha256(path)
        assert entry.bytes == path.stat().st_size
        assert entry.rows == pq.read_metadata(path).num_rows
    assert manifest.kind == "tokens"
    assert manifest.keys == (Key("docs", dataset="d"), Key("tokens", dataset="d", tokenizer="tk"))


def test_the_row_of_runs_is_filled_in(store: Store) -> None:
    run = add_documents(store)
    (row,) = pq.read_table(store.root / "runs" / f"run={run}" / "runs" / "0.parquet").to_pylist()
    assert (row["run"], row["kind"], row["rows"], row["seconds"]) == (run, "tokens", 15, 1.5)
    assert row["parents"] == []


def test_run_ids_depend_on_content_and_not_on_order() -> None:
    assert run_id("a", {"x": 1, "y": [2]}) == run_id("a", {"y": [2], "x": 1})
    assert len({run_id("a", {"x": 1}), run_id("a", {"x": 2}), run_id("b", {"x": 1})}) == 3


def test_the_same_run_again_changes_nothing(store: Store) -> None:
    run = add_documents(store)
    before = (store.root / "runs" / f"run={run}" / "manifest.json").read_text()
    assert add_documents(store) == run
    assert (store.root / "runs" / f"run={run}" / "manifest.json").read_text() == before
    assert store.unfinished() == ()
    assert not list((store.root / "staging").iterdir())


def test_names_are_keys(store: Store) -> None:
    first = add_documents(store)
    with pytest.raises(UsageError, match=rf"{first} already holds docs \(dataset d\).*--replace"):
        add_documents(store, tokenizer="other")
    assert store.run_ids() == (first,)
    add_documents(store, dataset="e")


def _layers(store: Store, layers: list[int], seed: int, replace: bool = False) -> str:
    rows = len(layers)
    keys = {"model": "m", "dataset": "d", "site": "mlp"}
    staging = store.stage(run_id("activations", {"layers": layers, "seed": seed}))
    with staging:
        staging.write("neuron_stats", fill("neuron_stats", rows, **keys, layer=layers))
        return staging.commit(ROW, replace=replace)


def test_runs_overlap_by_layers(store: Store) -> None:
    first = _layers(store, [0, 1], 0)
    _layers(store, [2, 3], 0)
    with pytest.raises(UsageError, match="layers 1,2"):
        _layers(store, [1, 2], 1)
    keys = [Key("neuron_stats", "m", "d", site="mlp", layers=(1,))]
    assert store.leaving({"new": keys}, replace=True) == (first,)


def test_replace_takes_the_old_run_and_what_was_computed_from_it(store: Store) -> None:
    parent = add_documents(store)
    child = add_activations(store, parents=(parent,))
    other = add_weights(store)
    staging = store.stage(run_id("tokens", {"new": 1}))
    staging.write("docs", fill("docs", 1, dataset="d", text="new"))
    with pytest.raises(UsageError, match=f"do not replace: {child}; .*--with-children"):
        staging.commit(ROW, replace=True)
    assert store.run_ids() == tuple(sorted([parent, child, other]))
    new = staging.commit(ROW, replace=True, with_children=True)
    assert store.run_ids() == tuple(sorted([new, other]))
    trash = {path.name.split("-", 1)[1] for path in (store.root / "trash").iterdir()}
    assert trash == {f"run={parent}", f"run={child}"}


def test_labels_that_one_column_cannot_hold_are_refused(store: Store) -> None:
    add_documents(store, "d", topic=["x", "y"], tags=[["a"], ["b"]])
    add_documents(store, "e", topic=[1, 2], tags=[["c"], ["d"]])
    for labels in ({"topic": [["x"], ["y"]]}, {"tags": ["x", "y"]}, {"tags": [[["x"]], [["y"]]]}):
        with pytest.raises(UsageError, match=r"label '\w+' is .* here and .* in run tokens-\w+"):
            add_documents(store, "f", **labels)  # type: ignore[arg-type]
    found = connect(store.root).sql("SELECT topic, tags FROM docs ORDER BY ALL").fetchall()
    assert found == [("1", ["c"]), ("2", ["d"]), ("x", ["a"]), ("y", ["b"])]


def test_drop_refuses_parents_by_naming_the_children(store: Store) -> None:
    parent = add_documents(store)
    child = add_activations(store, parents=(parent,))
    with pytest.raises(UsageError, match=f"{child}; drop them too"):
        store.drop(parent)
    assert store.drop(parent, with_children=True) == (parent, child)
    assert store.run_ids() == ()
    with pytest.raises(UnknownNameError, match="no run named"):
        store.drop(parent)


def test_a_run_whose_parent_is_gone_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="needs, is gone"):
        add_activations(store, parents=("tokens-0",))
    assert store.run_ids() == ()


def test_old_trash_is_swept_and_young_trash_stays(store: Store) -> None:
    for dataset in ("d", "e"):
        store.drop(add_documents(store, dataset))
    first, second = sorted((store.root / "trash").iterdir())
    old = time.time_ns() - int(2e9 * GRACE_SECONDS)
    first.rename(first.with_name(f"{old}-{first.name.split('-', 1)[1]}"))
    store.refresh()
    assert list((store.root / "trash").iterdir()) == [second]


def test_one_process_at_a_time_stages_a_run(store: Store) -> None:
    with store.stage("tokens-1"):
        with pytest.raises(StoreError, match=r"tokens-1 is in use by process \d+ on"):
            store.stage("tokens-1")
        with store.stage("tokens-2"):
            pass
    with store.stage("tokens-1"):
        pass


def test_many_writers_at_once_lose_nothing(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = set(pool.map(lambda name: add_documents(store, name), "abcdefgh"))
    assert set(store.run_ids()) == runs
    assert len(runs) == 8
    texts = connect(store.root).sql("SELECT count(DISTINCT dataset) FROM docs").fetchall()
    assert texts == [(8,)]


def test_of_two_writers_of_one_name_one_is_refused(store: Store) -> None:
    def write(tokenizer: str) -> str:
        try:
            return add_documents(store, "d", tokenizer)
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(write, "abcd"))
    (run,) = store.run_ids()
    assert answers.count(run) == 1
    assert sum(f"run {run} already holds" in answer for answer in answers) == 3


def test_unfinished_work_is_found_again_and_can_be_dropped(store: Store) -> None:
    with store.stage("tokens-1") as staging:
        staging.write("docs", fill("docs", 1, dataset="d"), shard="a b")
        staging.state("sums").write_text("1")
        staging.finish("a b")
    assert store.unfinished() == ("tokens-1",)
    assert store.run_ids() == ()
    with store.stage("tokens-1") as staging:
        assert staging.finished("a b")
        assert not staging.finished("c")
        assert staging.state("sums").read_text() == "1"
        assert staging.path("docs", shard="a b").exists()
        staging.reset()
        assert not staging.finished("a b")
        assert not staging.path("docs", shard="a b").exists()
    assert store.drop("tokens-1") == ("tokens-1",)
    assert not list((store.root / "staging").iterdir())


def test_a_file_counts_only_when_it_is_whole(store: Store) -> None:
    where = Partition("m/x", "d", "mlp", 3)
    with store.stage("activations-1") as staging:
        with pytest.raises(KeyError), staging.writer("vectors", where):
            raise KeyError
        assert not list(staging.folder.rglob("*.parquet*"))
        with staging.writer("vectors", where) as writer:
            writer.write_table(arrow_schema("vectors").empty_table())
        path = staging.path("vectors", where)
        assert path.exists()
        assert path.parent.name == "layer=3"
        assert "model=m%2Fx" in path.parts
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(StoreError, match="not whole"):
            staging.commit(ROW)


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("neuron_stats", {"mean": [math.nan]}, "neuron_stats.mean holds NaN"),
        ("neuron_stats", {"max": [math.inf]}, "neuron_stats.max holds NaN"),
        ("neuron_stats", {"neuron": [None]}, "neuron_stats.neuron holds NULL"),
        ("neuron_stats", {"neuron": ["one"]}, "neuron_stats.neuron must be int32"),
        ("neuron_weights", {"w_out": [[1.0, math.nan]]}, "neuron_weights.w_out holds NaN"),
        ("neuron_stats", {"meen": [1.0]}, "no column 'meen'; did you mean 'mean'"),
        ("docs", {"Text": ["x"]}, "label 'Text' has the name of another column"),
        ("docs", {"score": [math.nan]}, "docs.score holds NaN"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    store: Store, table: str, changes: dict[str, Any], message: str
) -> None:
    good = fill(table, 1)
    columns = {name: good[name] for name in good.column_names if name not in changes}
    with store.stage("activations-1") as staging:
        staging.write(table, good)
        with pytest.raises(StoreError, match=message):
            staging.write(table, pa.table(columns | changes))


def test_a_missing_column_and_a_missing_partition_are_named(store: Store) -> None:
    with store.stage("activations-1") as staging:
        with pytest.raises(StoreError, match="lack the column 'doc'"):
            staging.write("docs", fill("docs", 1).drop_columns(["doc"]))
        with pytest.raises(UsageError, match="needs a partition"):
            staging.write("vectors", pa.table({}))
        with pytest.raises(StoreError, match="has no files"):
            staging.commit(ROW)


def test_a_damaged_manifest_is_named(store: Store) -> None:
    run = add_weights(store)
    path = store.root / "runs" / f"run={run}" / "manifest.json"
    path.write_text(json.dumps({"run": run}))
    with pytest.raises(StoreError, match=r"manifest\.json is missing or damaged"):
        store.manifest(run)
