"""What is needed to run others' code on the same work: environments of their own, equal windows."""

from __future__ import annotations

import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from common import texts

__all__ = ["environment", "windows"]


def windows(
    tokenizer: Any, count: int, positions: int, *, lines: bool = True
) -> tuple[list[str], list[list[int]]]:
    """Cut the demo text into documents that are so many tokens long each, when read alone too.

    Args:
        tokenizer: of transformers.
        count: how many documents.
        positions: tokens of each.
        lines: whether line ends stay; else they become spaces.
    """
    pieces: list[str] = []
    ids: list[list[int]] = []
    for whole in texts():
        text = whole if lines else whole.replace("\n", " ")
        spans = tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        for first in range(0, len(spans) - positions + 1, positions):
            piece = text[spans[first][0] : spans[first + positions - 1][1]]
            alone = tokenizer(piece)["input_ids"]
            if len(alone) == positions:
                pieces.append(piece)
                ids.append(alone)
            if len(ids) == count:
                return pieces, ids
    raise SystemExit(f"the demo text has {len(ids)} such windows, not {count}")


def environment(folder: Path, packages: tuple[str, ...]) -> Path:
    """Make a virtual environment with some packages beside ours, unless it is there.

    Returns:
        Its Python.

    Raises:
        subprocess.CalledProcessError: pip could not install them.
    """
    if not packages:
        return Path(sys.executable)
    home = folder / "+".join(packages).replace("==", "-")
    python, done = home / "bin" / "python", home / "made"
    if not done.exists():
        venv.create(home, with_pip=True, clear=True)
        (linked,) = (home / "lib").glob("python*/site-packages")
        ours = Path(np.__file__).parents[1]
        (linked / "ours.pth").write_text(f"{ours}\n")
        pinned = home / "constraints.txt"
        pinned.write_text(f"torch=={version('torch').split('+')[0]}\n")
        words = [python, "-m", "pip", "install", "--quiet", "--constraint", pinned, *packages]
        subprocess.run(words, check=True, capture_output=True, text=True)
        done.touch()
    return python
