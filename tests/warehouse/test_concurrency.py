"""Many processes on one warehouse: who writes, who drops, who reads, and what each of them sees."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_warehouse import ROW, add_activations, add_documents, fill

import neuronmap_sql
from neuronmap_sql.content import folder
from neuronmap_sql.errors import QueryError
from neuronmap_sql.warehouse.shell import find_duckdb, shell_command
from neuronmap_sql.warehouse.staging import Partition, run_id
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.trash import GRACE_SECONDS, sweep
from neuronmap_sql.warehouse.verify import verify

CROWD = Path(__file__).with_name("crowd.py")
ROLES = ["write", "write", "same", "same", "drop", "drop", "read", "read"]
NEURONMAP = [sys.executable, "-c", "from neuronmap_sql.cli.main import main; main()"]


@pytest.mark.slow
def test_a_crowd_loses_nothing_doubles_nothing_and_reads_on(store: Store) -> None:
    still = add_documents(store, "still", topic=["x", "y"])
    stay = {still, add_activations(store, "still", parents=(still,))}
    roles = [*ROLES, *(["shell", "shell"] if find_duckdb() else [])]
    crowd = [
        subprocess.Popen(
            [sys.executable, CROWD, role, store.root, "6", str(seed)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for seed, role in enumerate(roles)
    ]  # fmt: skip
    told: list[dict[str, Any]] = []
    for process in crowd:
        out, err = process.communicate()
        assert process.returncode == 0, err
        told.append(json.loads(out))
    of = {role: [each for each in told if each["role"] == role] for role in roles}
    made = {run for each in of["write"] for run in each["made"]}
    assert len(made) == sum(len(each["made"]) for each in of["write"]) >= 4
    (same,) = {run for each in of["same"] for run in each["made"]}
    assert all("is in use by process" in each for one in of["same"] for each in one["told"])
    assert sum(len(each["dropped"]) for each in of["drop"]) >= 2
    assert set(store.run_ids()) - {same} == made | stay
    assert len(store.run_ids()) == len(set(store.run_ids()))
    assert store.unfinished() == ()
    assert verify(store) == []
    for reader in (*of["read"], *of.get("shell", [])):
        assert reader["wrong"] == []
        assert reader["answers"] > 0


def add_long(store: Store) -> str:
    """A run of two files whose rows no reader takes at once."""
    with store.stage(run_id("activations", {"long": 1})) as staging:
        for layer in (0, 1):
            where = Partition("m", "long", "mlp", layer)
            keys = {**vars(where), "neuron": range(300_000), "tok": 0, "value": 1.0}
            staging.write("firings", fill("firings", 300_000, **keys), where)
        return staging.commit(ROW)


def test_a_reader_of_a_dropped_run_gets_its_rows_or_is_told_the_file(store: Store) -> None:
    run = add_long(store)
    with neuronmap_sql.open(store.root) as wh, neuronmap_sql.open(store.root) as other:
        one = wh.sql("FROM firings WHERE layer = 0").reader(1000)
        one.read_next_batch()
        both = other.sql("FROM firings").reader(1000)
        both.read_next_batch()
        store.drop(run)
        assert one.read_all().num_rows == 300_000 - 1000, "its file is open"
        told = ""
        try:
            assert both.read_all().num_rows == 600_000 - 1000
        except QueryError as error:
            told = str(error)
        assert not told or re.search(f"runs/run={run}/firings/.*No such file", told)
        assert wh.sql("SELECT count(*) FROM firings").fetchall() == [(0,)]


def _shell(root: Path, cwd: Path) -> subprocess.Popen[str]:
    """A stock shell left open."""
    program = find_duckdb()
    if program is None:
        pytest.skip("the duckdb shell is not installed")
    return subprocess.Popen(
        shell_command(root, program, ["-csv", "-noheader"]), cwd=cwd, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_open_readers_go_on_when_the_only_documents_with_a_label_leave(
    store: Store, tmp_path: Path
) -> None:
    add_documents(store, "plain")
    run = add_documents(store, "labelled", topic=["x", "y"])
    question = "SELECT count(*) FROM docs"
    with neuronmap_sql.open(store.root) as wh, _shell(store.root, tmp_path) as shell:
        assert wh.sql(question).fetchall() == [(4,)]
        shell.stdin.write(f"{question};\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "4\n"
        store.drop(run)
        assert wh.sql(question).fetchall() == [(2,)]
        assert wh.sql("SELECT DISTINCT topic FROM docs").fetchall() == [(None,)]
        assert shell.communicate(f"{question};\n")[0] == "2\n"
        # Nothing stands in the way of another type of that label.
        add_documents(store, "other", topic=[["x"], ["y"]])
        assert wh.sql(question).fetchall() == [(4,)]
    with neuronmap_sql.open(store.root) as wh:
        assert wh.sql("SELECT topic FROM docs WHERE dataset = 'other' AND doc = 0").fetchall() == [
            (["x"],)
        ]
    assert verify(store) == []


def test_labels_that_left_are_forgotten_with_the_trash(store: Store) -> None:
    store.drop(add_documents(store, "labelled", topic=["x", "y"]))
    kept = store.root / "runs" / "labels" / "docs" / "0.parquet"
    assert kept.exists()
    old = kept.stat().st_mtime - GRACE_SECONDS
    os.utime(kept, (old, old))
    sweep(store.root)
    assert not kept.exists()
    with neuronmap_sql.open(store.root) as wh:
        assert "topic" not in wh.sql("FROM docs").columns
    assert verify(store) == []


@pytest.fixture
def ingest_small(demo_model: Path) -> list[str]:
    return [
        *NEURONMAP, "ingest", "--model", str(demo_model), "--layers", "1", "-q",
        "--data", str(folder("demo") / "text.jsonl.gz"), "--keep", "stats,weights",
        "--set", "data.limit=6",
    ]  # fmt: skip


def call(command: list[str], warehouse: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, "--to", str(warehouse)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "500"},
    )  # fmt: skip


def sums(store: Store) -> dict[str, str]:
    return {
        f"{run}/{entry.path}": entry.sha256
        for run, manifest in store.manifests().items()
        for entry in manifest.files
        if entry.table != "runs"
    }


@pytest.mark.slow
def test_the_same_recipe_twice_at_once_is_one_run(ingest_small: list[str], tmp_path: Path) -> None:
    crowd = [call(ingest_small, tmp_path / "wh") for _ in range(2)]
    for process in crowd:
        _, err = process.communicate()
        refused = f"is in use by process {crowd[0].pid}", f"is in use by process {crowd[1].pid}"
        assert process.returncode == 0 or any(text in err for text in refused), err
    assert min(process.returncode for process in crowd) == 0
    again = call(ingest_small, tmp_path / "wh")
    out, err = again.communicate()
    assert again.returncode == 0, err
    assert {line.split("\t")[1] for line in out.splitlines()} == {"was there"}
    store = Store.open(tmp_path / "wh")
    assert [run.partition("-")[0] for run in store.run_ids()] == [
        "activations", "docs", "model", "tokens", "weights"
    ]  # fmt: skip
    assert store.unfinished() == ()
    assert verify(store) == []


@pytest.mark.slow
def test_an_ingest_is_told_who_works_on_its_run_and_goes_on_later(
    ingest_small: list[str], tmp_path: Path
) -> None:
    first = call(ingest_small, tmp_path / "first")
    first.communicate()
    assert first.returncode == 0
    runs = Store.open(tmp_path / "first").run_ids()
    store = Store.create(tmp_path / "second")
    with store.stage(next(run for run in runs if run.startswith("tokens-"))):
        refused = call(ingest_small, store.root)
        _, err = refused.communicate()
        assert refused.returncode == 1
        assert f"is in use by process {os.getpid()} on" in err
        assert "wait for it, or stop it" in err
    later = call(ingest_small, store.root)
    later.communicate()
    assert later.returncode == 0
    assert sums(store) == sums(Store(tmp_path / "first"))
    assert verify(store) == []
