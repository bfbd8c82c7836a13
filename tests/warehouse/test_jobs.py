"""Jobs under way are told by what they leave behind: owner, heartbeat, log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.jobs import STALLED_SECONDS, jobs, log_lines
from neuronmap_sql.warehouse.lock import Owner, read_owner
from neuronmap_sql.warehouse.store import Store


def heartbeat(store: Store) -> Path:
    (folder,) = (store.root / "staging").glob("state=*")
    return folder / "heartbeat.json"


def test_a_job_is_running_then_stalled_then_gone(store: Store) -> None:
    assert jobs(store.root) == []
    with store.stage("tokens-1") as staging:
        (job,) = jobs(store.root)
        assert (job.run, job.state, job.what) == ("tokens-1", "running", "")
        staging.beat("reading", 30, 100, "documents")
        staging.beat("reading", 31, 100, "documents")  # too soon to be written
        (job,) = jobs(store.root)
        assert (job.what, job.done, job.total, job.unit) == ("reading", 30, 100, "documents")
        assert job.seconds < 30
        assert f"process {os.getpid()} on" in job.process
        found = json.loads(heartbeat(store).read_text())
        found["monotonic"] = time.monotonic() - STALLED_SECONDS - 1
        heartbeat(store).write_text(json.dumps(found))
        assert jobs(store.root)[0].state == "stalled"
    (job,) = jobs(store.root)
    assert (job.state, job.process, job.done) == ("interrupted", "", 30)
    with store.stage("tokens-1") as staging:
        staging.discard()
    assert jobs(store.root) == []


def test_the_owner_of_a_killed_job_is_known_to_be_gone(store: Store) -> None:
    code = (
        "import os, sys; from neuronmap_sql.warehouse.store import Store\n"
        "Store(__import__('pathlib').Path(sys.argv[1])).stage('tokens-1'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    (job,) = jobs(store.root)
    assert job.state == "interrupted"
    assert "process" in job.process
    with store.stage("tokens-1"):
        assert jobs(store.root)[0].state == "running"


def test_a_lock_names_its_owner(store: Store) -> None:
    with store.stage("tokens-1"), pytest.raises(StoreError, match=rf"process {os.getpid()} on .*"):
        store.stage("tokens-1")
    assert read_owner(store.root / "nowhere") is None
    assert not Owner(os.getpid(), "another-machine", "x").gone
    assert not Owner(1 << 22, "another-machine", "x").gone


def test_a_spoilt_heartbeat_is_no_error(store: Store) -> None:
    with store.stage("tokens-1") as staging:
        staging.beat("reading", 1, 2, "documents")
        heartbeat(store).write_text("{")
        assert jobs(store.root)[0].what == ""


def test_log_lines_come_in_the_order_of_time_with_their_stacks(store: Store) -> None:
    logs = store.root / "logs"
    logs.mkdir()
    (logs / "tokens-1.log").write_text(
        "2026-11-21 10:00:00,001 INFO begun\n"
        "2026-11-21 10:00:02,000 ERROR failed\nTraceback\n  File x\n"
        "2026-11-21 10:00:03,000 INFO again\n"
    )
    (logs / "weights-1.log").write_text("2026-11-21 10:00:01,000 WARNING slow\n")
    assert [line.split()[-1] for line in log_lines(store.root)] == ["begun", "slow", "x", "again"]
    assert [line.split()[2] for line in log_lines(store.root, errors=True)] == [
        "weights-1",
        "tokens-1",
    ]
    assert len(log_lines(store.root, "weights")) == 1
