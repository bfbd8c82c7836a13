"""What `neuronmap demo` will ask: its questions fit the queries; its commands fit the command line.

The demo as a whole is run by `make demo`.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

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
