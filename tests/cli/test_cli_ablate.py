"""`ablate` runs what file and flags amount to, as the Python call does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import neuronmap_sql as nm
from neuronmap_sql.content import folder

SQL = "SELECT model, 1 AS layer, 7 AS neuron FROM models"
FEW = ("--limit", 2, "--controls", 1, "-q")


@pytest.fixture
def warehouse(demo_warehouse: Path, tmp_path: Path) -> Path:
    return shutil.copytree(demo_warehouse, tmp_path / "warehouse")


def test_flags_the_recipe_kept_and_python(cli: Any, warehouse: Path, tmp_path: Path) -> None:
    """A dataset and a model that are stored are named, not found again."""
    made = cli("ablate", "-n", SQL, "--data", "text", "--to", warehouse, *FEW)
    assert (made.code, made.err) == (0, "")
    run, word = made.text.split("\t")
    assert (run.startswith("ablation-"), word) == (True, "made\n")
    with nm.open(warehouse) as wh:
        done = wh.ablate(SQL, "text", limit=2, controls=1, progress=False)
        assert (list(done.runs.values()), done.made) == ([run], ())
        (recipe,) = wh.sql(f"SELECT recipe FROM runs WHERE run = '{run}'").fetchall()[0]
        (tmp_path / "recipe.toml").write_text(recipe)
        done = wh.ablate(tmp_path / "recipe.toml", progress=False)
        assert (list(done.runs.values()), done.made) == ([run], ())
    again = cli("ablate", tmp_path / "recipe.toml", "--to", warehouse, "-q")
    assert again.text == f"{run}\twas there\n"


def test_groups_and_a_model_from_elsewhere(cli: Any, warehouse: Path) -> None:
    name = nm.open(warehouse).sql("SELECT model FROM models").fetchall()[0][0]
    other = f"{name}={folder('demo') / 'models' / 'demo-b'}"
    flags = ("--mode", "value", "--value", 0.5, "--together", "--name", "both", "--data", "text")
    refused = cli("ablate", "-n", SQL, *flags, "-m", other, "--to", warehouse, *FEW)
    assert (refused.code, "already holds models" in refused.err) == (2, True)
    done = cli("ablate", "-n", SQL, *flags, "--to", warehouse, *FEW)
    assert done.code == 0
    asked = "SELECT experiment, control, grp, mode, neurons[1].value AS v FROM effects ORDER BY 2"
    rows = cli("sql", asked, "-w", warehouse, "-f", "csv").text.splitlines()[1:]
    assert rows == ["both,0,all,value,0.5", "both,1,all,value,0.5"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-n", SQL), "key 'data' is missing"),
        (("--data", "text"), "key 'neurons' is missing"),
        (("-n", SQL, "--data", "text", "-m", "demo-a"), "--model demo-a: write NAME=SOURCE"),
        (("-n", "SELECT 1 AS x", "--data", "text"), "no column 'model'; known: x"),
        (("-n", SQL, "--data", "txt.jsonl"), "txt.jsonl"),
        (("-n", SQL, "--data", "text", "--controls", "x"), "--controls"),
        (("-n", SQL, "--data", "text", "-m", "b=/tmp/b"), "no model among the chosen neurons"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(
    cli: Any, demo_warehouse: Path, flags: tuple[str, ...], said: str
) -> None:
    answer = cli("ablate", *flags, "--to", demo_warehouse)
    assert (answer.code, said in answer.err) in {(2, True), (1, True)}, answer.err


def test_a_warehouse_must_be_named(cli: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli("ablate", "-n", SQL, "--data", "text")
    assert (answer.code, "the current folder is not a warehouse" in answer.err) == (1, True)
