"""`top` and `nearest` print what the Python calls return."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import neuronmap_sql as nm


def test_top_is_the_python_call(cli: Any, demo_warehouse: Path) -> None:
    answer = cli("top", "demo-a", 1, 7, "-k", 300, "-w", demo_warehouse, "-f", "json")
    expected = nm.open(demo_warehouse).top_values("demo-a", 1, 7, 300)
    assert json.loads(answer.text) == expected.to_dicts()
    assert len(expected) == 300
    answer = cli(
        "top", "demo-a", 1, "7,9", "--combine", "min", "--side", "lowest",
        "-w", demo_warehouse, "-f", "json",
    )  # fmt: skip
    expected = nm.open(demo_warehouse).top_values("demo-a", 1, [7, 9], combine="min", side="lowest")
    assert json.loads(answer.text) == expected.to_dicts()


def test_nearest_is_the_python_call(cli: Any, demo_warehouse: Path) -> None:
    where = ("demo-a", 2, "7,9,30", 0, 3)
    answer = cli("nearest", *where, "--metric", "cosine", "-w", demo_warehouse, "-f", "json")
    expected = nm.open(demo_warehouse).nearest("demo-a", 2, [7, 9, 30], 0, 3, metric="cosine")
    assert json.loads(answer.text) == expected.to_dicts()


def test_codes_beside_matrices_give_the_same_and_alone_say_what_they_are(
    cli: Any, demo_warehouse: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(demo_warehouse, tmp_path / "own")
    asked = [
        ("top", "demo-a", 1, 7, "-k", 300),
        ("top", "demo-a", 1, "7,9", "--combine", "min", "--side", "lowest"),
        ("nearest", "demo-a", 2, "7,9,30", 0, 3),
    ]

    def answers() -> list[tuple[list[tuple[object, ...]], str]]:
        found = [cli(*each, "-w", own, "-f", "json") for each in asked]
        kept = ("rank", "value", "distance", "error", "tok", "token", "context")
        rows = [[tuple(map(row.get, kept)) for row in json.loads(each.text)] for each in found]
        return [(row, each.err) for row, each in zip(rows, found, strict=True)]

    exact = answers()
    assert all(err == "" for _, err in exact)
    for path in own.glob("runs/run=activations-*/activations"):
        shutil.rmtree(path)
    assert answers() == exact
    for path in own.glob("runs/run=activations-*/token_matrices"):
        shutil.rmtree(path)
    for rows, err in answers():
        assert "approximate: decoded from int8, off by at most 0.0" in err
        assert all(row[3] > 0 for row in rows)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top", "demo-a", 1, "7;9"), "neurons are numbers: 7 or 7,12,40, not '7;9'"),
        (("top", "demo-b", 1, 7), "no values kept of model 'demo-b', site 'mlp', layer 1"),
        (("top", "demo-a", 1, 7, "--side", "top"), "'top' is not one of"),
        (("nearest", "demo-a", 1, 7, 99999, 0), "no stored values at doc 99999, pos 0"),
    ],
)
def test_wrong_usage_names_the_way_out(
    cli: Any, demo_warehouse: Path, arguments: tuple[object, ...], said: str
) -> None:
    answer = cli(*arguments, "-w", demo_warehouse)
    assert (answer.code, answer.out) == (2, b"")
    assert said in answer.err
