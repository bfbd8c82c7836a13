"""`neuronmap plot universality` and `neuronmap report universality`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("part", ["all", "dashboard"])
def test_plot(cli: Any, compared_warehouse: Path, tmp_path: Path, part: str) -> None:
    png, page = tmp_path / "a.png", tmp_path / "a.html"
    answer = cli(
        "plot", "universality", "original", "--part", part, "-w", compared_warehouse,
        "-o", png, "-o", page,
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    assert answer.text.split() == [str(png), str(page)]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_report_prints_text_or_writes_files(
    cli: Any, compared_warehouse: Path, tmp_path: Path
) -> None:
    place = ("report", "universality", "original", "-w", compared_warehouse)
    printed = cli(*place, "--partner", "copy", "--kind", "gaussian", "--k", "2")
    assert (printed.code, printed.err) == (0, "")
    assert printed.text.startswith("Universality of neurons: copy, original\n===")
    file = tmp_path / "r.json"
    assert cli(*place, "-o", file).text.split() == [str(file)]
    assert json.loads(file.read_text())["models"] == ["copy", "original", "twin"]


@pytest.mark.parametrize("command", ["plot", "report"])
def test_without_a_comparison_the_way_out_is_named(
    cli: Any, demo_warehouse: Path, tmp_path: Path, command: str
) -> None:
    answer = cli(command, "universality", "-w", demo_warehouse, "-o", tmp_path / "r.html")
    assert answer.code == 2
    assert "neuronmap compare" in answer.err
