"""`neuronmap demo`: it runs, its questions fit the queries, its commands fit the command line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from neuronmap_sql.cli.demo import _QUESTIONS, _next
from neuronmap_sql.cli.main import app
from neuronmap_sql.queries.catalog import load


@pytest.mark.parametrize(("name", "values"), _QUESTIONS, ids=[name for name, _ in _QUESTIONS])
def test_the_questions_fit_the_queries(name: str, values: dict[str, object]) -> None:
    assert load(name).bind(values)


def test_the_commands_to_try_next_exist() -> None:
    lines = [line.strip() for line in _next(Path("demo.warehouse")).splitlines()]
    found = [re.split(r" {3,}", line)[0] for line in lines if line.startswith("neuronmap ")]
    assert len(found) >= 4
    for line in found:
        _, command, *rest = shlex.split(line)
        target = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
        while hasattr(target, "commands"):
            target = target.commands[rest.pop(0)]
        target.make_context(command, rest)


@pytest.mark.slow
def test_it_runs_over_some_of_the_text(tmp_path: Path) -> None:
    to = tmp_path / "demo.warehouse"
    found = CliRunner().invoke(app, ["demo", str(to), "--limit", "60"])
    assert found.exit_code == 0, found.output
    for name, _ in _QUESTIONS:
        assert f"$ neuronmap query {name} " in found.stdout
    assert found.stdout.count("═") > 0
    assert {path.suffix for path in (to / "plots").iterdir()} == {".png", ".html"}
    assert "demo-a@step400" in found.stdout
