"""`neuronmap plot`: the files are what their endings say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("what", ["neuron", "layers", "model"])
def test_plot(cli: Any, demo_warehouse: Path, demo_model: Path, tmp_path: Path, what: str) -> None:
    png, page = tmp_path / "plots" / "a.png", tmp_path / "plots" / "a.html"
    place = ("1", "7") if what == "neuron" else ()
    answer = cli("plot", what, demo_model.name, *place, "-o", png, "-o", page, "-w", demo_warehouse)
    assert (answer.code, answer.err) == (0, "")
    assert answer.text.split() == [str(png), str(page)]
    assert png.read_bytes().startswith(b"\x89PNG")
    text = page.read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert 'src="http' not in text  # offline


def test_plot_refuses_an_unknown_ending(cli: Any, demo_warehouse: Path, demo_model: Path) -> None:
    answer = cli("plot", "model", demo_model.name, "-o", "a.gif", "-w", demo_warehouse)
    assert answer.code == 2
    assert ".png" in answer.err


def test_plot_wants_a_file(cli: Any, demo_warehouse: Path, demo_model: Path) -> None:
    assert cli("plot", "model", demo_model.name, "-w", demo_warehouse).code == 2
