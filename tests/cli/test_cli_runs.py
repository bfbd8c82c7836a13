"""`init`, `runs`, `runs show`, `runs drop`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from neuronmap_sql.warehouse.store import Store


def listed(cli: Any, warehouse: Path) -> dict[str, dict[str, Any]]:
    answer = cli("runs", "-w", warehouse, "-f", "json")
    return {row["kind"]: row for row in json.loads(answer.out)}


@pytest.fixture
def own(demo_warehouse: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_warehouse, tmp_path / "own"))


def test_init_makes_an_empty_warehouse(cli: Any, tmp_path: Path) -> None:
    answer = cli("init", tmp_path / "new")
    assert (answer.code, answer.out) == (0, b"")
    assert "is ready" in answer.err
    assert listed(cli, tmp_path / "new") == {}
    assert (
        cli(
            "sql", "SELECT count(*) AS n FROM neuron_stats", "-w", tmp_path / "new", "-f", "csv"
        ).text
        == "n\n0\n"
    )
    assert cli("init", tmp_path / "new").code == 0


def test_init_leaves_other_folders_alone(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    answer = cli("init", tmp_path)
    assert answer.code == 2
    assert "not a warehouse and not empty" in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_runs_lists_what_the_folders_hold(cli: Any, demo_warehouse: Path) -> None:
    runs = listed(cli, demo_warehouse)
    assert set(runs) == {"docs", "tokens", "model", "weights", "activations"}
    assert {row["run"] for row in runs.values()} == set(Store.open(demo_warehouse).run_ids())
    table = cli("runs", "-w", demo_warehouse).text
    assert all(row["run"] in table for row in runs.values())


def test_show_tells_where_a_run_came_from(cli: Any, demo_warehouse: Path) -> None:
    run = listed(cli, demo_warehouse)["activations"]["run"]
    text = cli("runs", "show", run, "-w", demo_warehouse).text
    assert "[model]" in text
    assert "tolerance" in text
    rows = json.loads(cli("runs", "show", run, "-w", demo_warehouse, "-f", "json").out)
    assert [row["run"] for row in rows] == [run]
    assert rows[0]["versions"]["torch"]


def test_drop_refuses_parents_and_then_takes_the_children(cli: Any, own: Path) -> None:
    runs = listed(cli, own)
    model = runs["model"]["run"]
    refused = cli("runs", "drop", model, "-w", own)
    assert refused.code == 2
    assert "--with-children" in refused.err
    assert listed(cli, own) == runs
    dropped = cli("runs", "drop", model, "--with-children", "-w", own)
    assert dropped.code == 0
    assert set(listed(cli, own)) == {"docs", "tokens"}
    assert (
        cli("sql", "SELECT count(*) AS n FROM neuron_stats", "-w", own, "-f", "csv").text
        == "n\n0\n"
    )
    assert (
        cli("sql", "SELECT count(*) > 0 AS n FROM tokens", "-w", own, "-f", "csv").text
        == "n\ntrue\n"
    )


def test_drop_takes_a_run_without_children(cli: Any, own: Path) -> None:
    run = listed(cli, own)["activations"]["run"]
    answer = cli("runs", "drop", run, "-w", own)
    assert (answer.code, answer.out, answer.err) == (0, b"", f"dropped {run}\n")
    assert "activations" not in listed(cli, own)


def test_the_option_belongs_after_the_command(
    cli: Any, own: Path, demo_warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `runs -w A drop RUN` would drop from the warehouse of the environment."""
    monkeypatch.setenv("NEURONMAP_WAREHOUSE", str(own))
    runs = listed(cli, own)
    answer = cli("runs", "-w", demo_warehouse, "drop", runs["activations"]["run"])
    assert answer.code == 2
    assert "write -w after `runs drop`" in answer.err
    assert listed(cli, own) == runs
