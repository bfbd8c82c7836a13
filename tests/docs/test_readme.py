"""What the README shows is what the shell answers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from neuronmap_sql.content import folder
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.recipe import read_recipe
from neuronmap_sql.warehouse.shell import find_duckdb, shell_command
from neuronmap_sql.warehouse.store import Store

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```sql\n(.+?)```\n```\n(.+?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_answers_are_those_of_the_shell(tmp_path: Path) -> None:
    """All of the demo's text, because top tokens are of all of it."""
    store = Store.create(tmp_path / "wh")
    ingest(read_recipe(folder("ingest") / "demo.toml", {"keep.tables": ["top"]}), store)
    program = find_duckdb()
    assert program is not None
    assert len(SHOWN) == 2
    for sql, expected in SHOWN:
        done = subprocess.run(
            shell_command(store.root, program), input=sql, capture_output=True, text=True,
            check=True, timeout=100,
        )  # fmt: skip
        assert done.stdout.split() == expected.split()
