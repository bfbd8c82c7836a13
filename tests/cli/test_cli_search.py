"""`top` and `nearest` print what the Python calls return."""

from __future__ import annotations

import json
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
