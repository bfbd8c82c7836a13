"""`compare` runs the recipe that file and flags amount to, as the Python call does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import neuronmap_sql as nm
from neuronmap_sql.content import folder

DEMO = folder("demo")
FLAGS = (
    "-m", DEMO / "models" / "demo-a", "-m", DEMO / "models" / "demo-b",
    "--data", DEMO / "text.jsonl.gz", "--set", "data.limit=5", "--layers", "0",
)  # fmt: skip


def recipe(place: Path) -> Path:
    path = place / "two.toml"
    path.write_text(
        f"""
        [data]
        path = "{DEMO / "text.jsonl.gz"}"
        limit = 5
        [sites]
        layers = "0"
        [[models]]
        source = "{DEMO / "models" / "demo-a"}"
        [[models]]
        source = "{DEMO / "models" / "demo-b"}"
        """
    )
    return path


@pytest.mark.slow
def test_flags_and_file_make_the_same_run(cli: Any, tmp_path: Path) -> None:
    by_flags = cli("compare", *FLAGS, "--to", tmp_path / "a", "-q")
    by_file = cli("compare", recipe(tmp_path), "--to", tmp_path / "b", "-q")
    assert by_flags.text == by_file.text
    assert all(line.endswith("\tmade") for line in by_flags.text.splitlines())
    with nm.create(tmp_path / "b") as wh:
        again = wh.compare(recipe(tmp_path), progress=False)
        assert again.made == ()
        assert set(again.runs.values()) == {
            line.split("\t")[0] for line in by_file.text.splitlines()
        }
        assert len(wh.query("universality_by_model").pl()) == 2


def test_a_dry_run_says_what_it_takes_and_touches_nothing(cli: Any, tmp_path: Path) -> None:
    said = cli("compare", recipe(tmp_path), "--dry-run", "--to", tmp_path / "wh", "-q").text
    assert "demo-a: 512 neurons in 1 layers, 100.0% of" in said
    assert f"pairs      {512 * 512:,} of neurons" in said
    assert "in 1 sweeps" in said
    assert not (tmp_path / "wh").exists()


def test_what_is_wrong_is_said_in_one_line(cli: Any, tmp_path: Path) -> None:
    alone = cli("compare", *FLAGS[:2], *FLAGS[4:], "--to", tmp_path / "wh")
    assert "1 [[models]]: a comparison needs two" in alone.err
    nowhere = cli("compare", recipe(tmp_path))
    assert "say which warehouse" in nowhere.err
    missing = cli("compare", tmp_path / "too.toml", "--to", tmp_path / "wh")
    assert "no such recipe" in missing.err
    assert alone.code == nowhere.code == missing.code == 2
