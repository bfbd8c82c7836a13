"""`neuronmap doctor`, `monitor` and `log`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from neuronmap_sql.ingest import doctor
from neuronmap_sql.warehouse.store import Store


def test_the_doctor_looks_at_the_machine(cli: Any, tmp_path: Path) -> None:
    answer = cli("doctor", tmp_path / "not" / "there", "-f", "json")
    found = {row["what"]: row for row in json.loads(answer.out)}
    assert {"python", "torch", "duckdb", "processors", "memory", "disk", "GPU"} <= {
        name.split()[0] if name.startswith("GPU") else name for name in found
    }
    assert str(tmp_path) in found["disk"]["found"]
    total = psutil.virtual_memory().total / 1e9
    assert f"{total:,.1f} GB" in found["memory"]["found"]


def test_the_doctor_warns_of_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_quota", lambda: 0.5)
    monkeypatch.setattr(doctor.torch, "get_num_threads", lambda: 8)
    (found,) = [f for f in doctor.examine(Path()) if f.what == "processors"]
    assert "set OMP_NUM_THREADS=1" in found.advice
    monkeypatch.setattr(doctor.torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(doctor, "_quota", lambda: None)
    monkeypatch.setattr(doctor.psutil, "getloadavg", lambda: (0.1, 0, 0))
    (found,) = [f for f in doctor.examine(Path()) if f.what == "processors"]
    assert found.advice == ""


def test_the_monitor_shows_unfinished_runs(cli: Any, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "wh")
    assert "no ingest is running" in cli("monitor", "-w", tmp_path / "wh").err
    with store.stage("activations-1") as staging:
        staging.beat("activations m", 5, 10, "tokens")
        (job,) = json.loads(cli("monitor", "-w", tmp_path / "wh", "-f", "json").out)
    assert (job["run"], job["state"], job["done"]) == ("activations-1", "running", 5)
    assert "interrupted" in cli("monitor", "-w", tmp_path / "wh").text


@pytest.mark.parametrize(
    ("form", "out"), [("json", "[]"), ("csv", "run,state,what,"), ("jsonl", "")]
)
def test_nothing_to_monitor_is_no_rows(cli: Any, tmp_path: Path, form: str, out: str) -> None:
    Store.create(tmp_path / "wh")
    answer = cli("monitor", "-w", tmp_path / "wh", "-f", form)
    assert (answer.code, "".join(answer.text.split())[: len(out)]) == (0, out)


def test_the_log(cli: Any, demo_warehouse: Path, tmp_path: Path) -> None:
    root = shutil.copytree(demo_warehouse, tmp_path / "wh")
    lines = cli("log", "-w", root).text
    assert "complete" in lines
    assert cli("log", "-w", root, "--errors").text == ""
    answer = cli("log", "activaton", "-w", root)
    assert answer.code == 2
    assert "did you mean 'activations-" in answer.err or "known: " in answer.err
