"""`neuronmap verify` and `migrate`: what is wrong, on standard output; exit code 1 while it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def copied(demo_warehouse: Path, tmp_path: Path) -> Path:
    return shutil.copytree(demo_warehouse, tmp_path / "wh")


def test_a_sound_warehouse(cli: Any, copied: Path) -> None:
    answer = cli("verify", "-w", copied)
    assert (answer.code, answer.text) == (0, "")
    assert "all as they were written" in answer.err
    assert json.loads(cli("verify", "-w", copied, "-f", "json").out) == []


def test_damage_is_told_moved_and_gone(cli: Any, copied: Path) -> None:
    path = next(copied.glob("runs/run=activations-*/neuron_stats/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    answer = cli("verify", "-w", copied, "-f", "json")
    (problem,) = json.loads(answer.out)
    assert answer.code == 1
    assert problem["path"] == path.parents[1].relative_to(copied).as_posix()
    assert "--repair" in answer.err
    mended = cli("verify", "-w", copied, "--repair")
    assert mended.code == 0
    assert "moved to" in mended.err
    assert next(copied.glob("damaged/*/neuron_stats/*.parquet")).stat().st_size > 0


def test_nothing_to_migrate(cli: Any, copied: Path) -> None:
    answer = cli("migrate", "-w", copied)
    assert answer.code == 0
    assert "0 runs migrated" in answer.err
