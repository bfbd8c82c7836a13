"""`neuronmap analyze labels` makes the run that the Python call makes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import neuronmap_sql as nm


@pytest.mark.slow
def test_labels(cli: Any, demo_warehouse: Path, tmp_path: Path) -> None:
    own = shutil.copytree(demo_warehouse, tmp_path / "own")
    asked = ("analyze", "labels", "-m", "demo-a", "--layers", "0,2", "-w", own)
    answer = cli(*asked, "--labels", "token,digits,docs.source", "--lag", "0,1")
    with nm.open(own) as wh:
        found = wh.sql("SELECT DISTINCT run, layer, label, lag FROM label_scores ORDER BY ALL")
        rows = found.fetchall()
        again = wh.analyze_labels(
            "demo-a", layers=[2, 0], labels=["token", "digits", "docs.source"], progress=False
        )
    assert answer.text.strip() == again.run == rows[0][0]
    assert not again.made
    places = [("digits", 0), ("digits", 1), ("docs.source", 0), ("token", 0), ("token", 1)]
    assert [row[1:] for row in rows] == [(layer, *place) for layer in (0, 2) for place in places]


@pytest.mark.slow
def test_what_is_wrong_is_wrong_usage(cli: Any, demo_warehouse: Path) -> None:
    where = ("-m", "demo-a", "-w", demo_warehouse)
    for wrong in (("--layers", "a"), ("--lag", "0,"), ("--labels", "nothing"), ("--layers", "9")):
        assert cli("analyze", "labels", *where, *wrong).code == 2
    asked = cli("query", "unigram_neurons", "-p", "model=demo-a", "-w", demo_warehouse)
    assert "`neuronmap analyze labels` writes them" in asked.err
