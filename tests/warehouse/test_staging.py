"""Unfinished work that somebody deletes is missed at once, and never committed without its rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from small_warehouse import ROW, add_weights, fill

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.commit import reseal
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.staging import Partition, Staging
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

WHERE = Partition("m", "d", "mlp", 0)


def write(staging: Staging, shard: str) -> None:
    rows = {"pool": "mean", "doc": int(shard), "vector": [[1.0, 2.0]]}
    staging.write("vectors", fill("vectors", 1, **vars(WHERE), **rows), WHERE, shard)


def folders(staging: Staging) -> list[Path]:
    return [staging.folder]


def state(staging: Staging) -> list[Path]:
    return [staging.state("x").parent]


def both(staging: Staging) -> list[Path]:
    return [staging.folder, staging.state("x").parent]


@pytest.mark.parametrize("gone", [folders, state, both])
def test_a_deleted_folder_ends_the_work_and_leaves_the_warehouse_alone(
    store: Store, gone: Callable[[Staging], list[Path]]
) -> None:
    kept = add_weights(store)
    with store.stage("activations-1") as staging:
        write(staging, "0")
        for folder in gone(staging):
            shutil.rmtree(folder)
        for work in (
            lambda: write(staging, "1"),
            lambda: staging.beat("reading", 1, 2, "tokens"),
            lambda: staging.commit(ROW),
        ):
            with pytest.raises(StoreError, match=r"staging/run=activations-1 was deleted while"):
                work()
            staging._beaten = float("-inf")
    assert store.run_ids() == (kept,)
    if staging.folder.exists() or staging.state("x").parent.exists():
        store.drop("activations-1")
    assert verify(store) == []
    with store.stage("activations-1") as again:
        write(again, "0")
        write(again, "1")
        again.commit(ROW)
    assert connect(store.root).sql("SELECT count(*) FROM vectors").fetchall() == [(2,)]


def test_a_run_without_one_of_its_files_is_not_committed(store: Store) -> None:
    with store.stage("activations-1") as staging:
        write(staging, "0")
        with staging.writer("vectors", WHERE, "1"):
            pass
        write(staging, "2")
        lost = next(staging.folder.rglob("1.parquet"))
        lost.unlink()
        with pytest.raises(StoreError, match=rf"{lost} was deleted .*the run starts anew"):
            staging.commit(ROW)
    assert not store.has("activations-1")


def test_a_run_that_lost_a_file_between_two_processes_starts_anew(store: Store) -> None:
    """A clean-up of old files takes the first shards; the saved state speaks of them still."""
    with store.stage("activations-1") as staging:
        write(staging, "0")
        staging.finish("0")
        staging.state("reducers").write_text("after shard 0")
        write(staging, "1")
    next(staging.folder.rglob("0.parquet")).unlink()
    with store.stage("activations-1") as later:
        assert not later.finished("0")
        assert not later.state("reducers").exists()
        assert not list(later.folder.rglob("*.parquet"))
        write(later, "0")
        later.commit(ROW)
    assert verify(store) == []


def test_what_was_written_before_a_reset_is_not_missed(store: Store) -> None:
    with store.stage("activations-1") as staging:
        write(staging, "0")
        staging.reset()
        write(staging, "1")
        staging.commit(ROW)
    assert verify(store) == []


def test_a_list_that_a_power_cut_spoilt_is_read_as_far_as_it_goes(store: Store) -> None:
    with store.stage("activations-1") as staging:
        write(staging, "0")
        with staging._files.path.open("a") as lines:
            lines.write("vectors/ab\0\0\0.parquet\nvectors/half")
        write(staging, "1")
        staging.commit(ROW)
    assert store.has("activations-1")


def test_a_heartbeat_that_cannot_be_left_stops_nothing(store: Store) -> None:
    with store.stage("activations-1") as staging:
        staging.beat("reading", 1, 2, "tokens")
        beat = staging.state("x").with_name("heartbeat.json")
        beat.unlink()
        beat.mkdir()  # as good as a full disk: nothing can be written there
        staging._beaten = float("-inf")
        staging.beat("reading", 2, 2, "tokens")


def test_a_migration_killed_on_the_way_leaves_nothing_behind(store: Store) -> None:
    run = add_weights(store)
    reseal(store.root, run)
    assert store.unfinished() == (run,)
    assert verify(store) == []
    assert store.unfinished() == ()
    assert store.has(run)


def test_of_two_that_stage_a_run_as_it_is_committed_neither_is_told_nonsense(store: Store) -> None:
    """The lock's file goes with the run's state: who waits then finds a new file."""
    first = store.stage("activations-1")
    write(first, "0")
    with pytest.raises(StoreError, match="in use by process"):
        store.stage("activations-1")
    first.commit(ROW)
    with store.stage("activations-1") as second:
        write(second, "0")
        second.commit(ROW)
    assert store.run_ids() == ("activations-1",)
    assert store.unfinished() == ()
    assert verify(store) == []
