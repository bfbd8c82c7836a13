"""Locks name who holds them since when, and end with their holder, whatever the file says."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from small_warehouse import add_weights

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.lock import Lock, Owner, read_owner
from neuronmap_sql.warehouse.store import Store

HOLDER = """
import sys, time
from pathlib import Path
from neuronmap_sql.warehouse.lock import Lock
lock = Lock(Path(sys.argv[1]), "the thing").acquire()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds `tmp_path/lock`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_held_lock_names_process_command_machine_and_time(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    said = rf"the thing is in use by process {holder.pid} on {socket.gethostname()} "
    said += r'\("-c [^"]*lock", since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\): wait for it'
    with pytest.raises(StoreError, match=said):
        Lock(tmp_path / "lock", "the thing").acquire()


def test_waiting_ends_when_the_time_is_over(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match="in use"):
        Lock(tmp_path / "lock", "the thing", wait_seconds=0.2).acquire()
    assert time.monotonic() - began >= 0.2


def test_a_killed_holder_is_followed_without_waiting(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet buried
    left = read_owner(path)
    assert left
    assert left.pid == holder.pid
    assert left.gone
    with Lock(path, "the thing") as lock:  # which may not wait at all
        assert lock.held
        owner = read_owner(path)
        assert owner
        assert owner.pid == os.getpid()
        assert not owner.gone
    assert read_owner(path) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        json.dumps({"pid": "x", "host": 1, "command": None}),
        json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), "pytest"))),
        json.dumps(asdict(Owner(1, socket.gethostname(), "init"))),
        json.dumps(asdict(Owner(1, "another-machine", "x", "2099-01-01 00:00:00+00:00", 7))),
    ],
    ids=["empty", "cut", "a list", "other types", "ourselves", "init", "another machine"],
)
def test_what_the_file_says_keeps_nobody_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)
    with Lock(tmp_path / "lock", "the thing") as lock:
        assert lock.held
        owner = read_owner(tmp_path / "lock")
        assert owner
        assert owner.pid == os.getpid()


def test_a_process_that_got_the_number_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock", "the thing"):
        me = read_owner(tmp_path / "lock")
        assert me
        assert not me.gone
        assert replace(me, started=me.started - 1).gone
        assert not replace(me, started=0).gone
        assert not replace(me, started=me.started - 1, host="another-machine").gone


def test_a_dead_owner_is_not_blamed_for_a_lock_that_is_held(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Between taking the lock and saying so, the file still names the holder before."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    before = Owner(dead.pid, socket.gethostname(), "dead")
    (tmp_path / "lock").write_text(json.dumps(asdict(before)))
    with pytest.raises(StoreError, match="in use by another process"):
        Lock(tmp_path / "lock", "the thing").acquire()


def test_a_lock_whose_file_was_deleted_is_no_longer_held(tmp_path: Path) -> None:
    first = Lock(tmp_path / "lock", "the thing").acquire()
    (tmp_path / "lock").unlink()
    assert not first.held
    second = Lock(tmp_path / "lock", "the thing").acquire()
    assert second.held
    assert not first.held
    first.release()
    assert second.held
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        Lock(tmp_path / "lock", "the thing").acquire()
    second.release()


def test_a_warehouse_goes_on_after_its_writer_was_killed(store: Store) -> None:
    code = (
        "import os, sys; from pathlib import Path\n"
        "from neuronmap_sql.warehouse.mend import warehouse_lock\n"
        "warehouse_lock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.root)], check=False)
    assert re.search(r'"pid": \d+', (store.root / "lock").read_text())
    began = time.monotonic()
    add_weights(store)
    assert time.monotonic() - began < 30, "the lock waits for 60 seconds where it is held"
