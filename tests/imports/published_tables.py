"""Published neuron tables: an excerpt-shaped file of made-up numbers, and files close to it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

PUBLISHED = Path(__file__).parent / "published.csv"
"""48 neurons of a model with 4 layers of 512, in the public schema."""

Cells = list[list[str]]


def changed(target: Path, change: Callable[[Cells], object]) -> Path:
    """Write the file with something changed: the header is line 0 of the cells, line 1 of it."""
    cells = list(csv.reader(PUBLISHED.read_text().splitlines()))
    change(cells)
    target.write_text("".join(",".join(row) + "\n" for row in cells))
    return target


def place(name: str) -> int:
    """The index of a column."""
    return PUBLISHED.read_text().splitlines()[0].split(",").index(name)
