"""A clock that is set back, set forward or stands still: nothing is lost, nobody waits."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from small_warehouse import add_documents, add_weights

from neuronmap_sql.warehouse.jobs import jobs
from neuronmap_sql.warehouse.lock import Owner
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.trash import GRACE_SECONDS, sweep
from neuronmap_sql.warehouse.verify import repair, verify

DAY = 24 * 3600
NOW = time.time_ns()


def set_clock(patch: pytest.MonkeyPatch, offset: float) -> None:
    patch.setattr(time, "time", lambda: NOW / 1e9 + offset)
    patch.setattr(time, "time_ns", lambda: NOW + int(offset * 1e9))


@pytest.mark.parametrize("jump", [-400 * DAY, -3600, 3600, 400 * DAY])
def test_a_job_is_as_alive_as_before_when_the_clock_jumps(
    store: Store, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    with store.stage("tokens-1") as staging:
        staging.beat("reading", 1, 2, "documents")
        set_clock(monkeypatch, jump)
        (job,) = jobs(store.root)
        assert job.state == "running"
        assert 0 <= job.seconds < 60
    (job,) = jobs(store.root)
    assert job.state == "interrupted"
    assert job.seconds >= 0


def test_the_word_of_another_machine_is_never_from_the_future(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.stage("tokens-1") as staging:
        staging.beat("reading", 1, 2, "documents")
        other = Owner(1, "another-machine", "x")
        monkeypatch.setattr("neuronmap_sql.warehouse.jobs.read_owner", lambda _: other)
        for offset, state, least in ((-3600, "running", 0), (3600, "stalled", 3000)):
            set_clock(monkeypatch, offset)
            (job,) = jobs(store.root)
            assert job.state == state
            assert job.seconds >= least


@pytest.mark.parametrize("beat", ['{"time": "x"}', '{"monotonic": null}', "[1]", "7"])
def test_a_heartbeat_of_nonsense_is_none(store: Store, beat: str) -> None:
    with store.stage("tokens-1") as staging:
        staging.state("x").with_name("heartbeat.json").write_text(beat)
        (job,) = jobs(store.root)
        assert (job.run, job.state, job.what) == ("tokens-1", "running", "")


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_runs_enter_and_leave_and_locks_are_free_whatever_the_clock_says(
    store: Store, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    first = add_weights(store, "a")
    set_clock(monkeypatch, jump)
    second = add_weights(store, "b")
    assert store.run_ids() == tuple(sorted((first, second)))
    store.drop(first)
    assert verify(store) == []
    monkeypatch.undo()
    add_weights(store, "a")
    assert verify(store) == []
    assert store.run_ids() == tuple(sorted((first, second)))


def trash(store: Store) -> list[Path]:
    return sorted((store.root / "trash").iterdir())


def test_a_run_dropped_twice_in_one_moment_is_there_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, 0)
    for _ in range(2):
        store.drop(add_documents(store))
    assert len(trash(store)) == 2
    for name in ("a", "b"):
        (store.root / "x").write_text(name)
        repair(store, verify(store))
    kept = sorted(path.read_text() for path in (store.root / "damaged").iterdir())
    assert kept == ["a", "b"]


def test_trash_of_a_day_to_come_stays_a_day_from_now(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, 400 * DAY)
    store.drop(add_weights(store))
    set_clock(monkeypatch, 0)
    sweep(store.root)
    (path,) = trash(store)
    assert path.name.startswith(f"{NOW}-run=weights-")
    set_clock(monkeypatch, GRACE_SECONDS - 1)
    sweep(store.root)
    assert trash(store) == [path]
    set_clock(monkeypatch, GRACE_SECONDS)
    sweep(store.root)
    assert trash(store) == []


def test_what_is_no_trash_is_left_alone(store: Store) -> None:
    """A file there made every commit fail."""
    for name in ("notes.txt", "1-notes", "x-run=weights-1"):
        (store.root / "trash" / name).write_text("mine")
    (store.root / "thesis.part").write_text("mine")
    store.drop(add_weights(store))
    strangers = {problem.path for problem in verify(store)}
    assert strangers == {
        "thesis.part", "trash/notes.txt", "trash/1-notes", "trash/x-run=weights-1"
    }  # fmt: skip
    assert [path.read_text() for path in repair(store, verify(store))] == ["mine"] * 4
    assert verify(store) == []
    assert len(trash(store)) == 1


def test_folders_without_files_may_be_missing(store: Store) -> None:
    """Archives and clean-ups drop them."""
    for name in ("trash", "staging"):
        (store.root / name).rmdir()
    assert verify(store) == []
    store.drop(add_weights(Store.open(store.root)))
    assert len(trash(store)) == 1


def test_since_when_is_for_people_only() -> None:
    owner = Owner(os.getpid(), socket.gethostname(), "x", "9999-01-01 00:00:00+00:00")
    assert not owner.gone
    assert "since 9999" in str(owner)
    assert set(asdict(owner)) == {"pid", "host", "command", "since", "started"}
