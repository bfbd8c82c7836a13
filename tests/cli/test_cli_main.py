"""The command as a whole: help everywhere, no torch where SQL is asked, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from neuronmap_sql.cli.main import app
from neuronmap_sql.errors import NeuronMapError, UsageError, WorkError

GROUPS = ("export", "import", "models", "plot", "report", "runs")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


COMMANDS = list(commands(typer.main.get_command(app)))


def test_all_commands_are_there() -> None:
    names = {path[0] for path in COMMANDS if path}
    assert names == {
        "init", "ingest", "models", "layers", "runs", "sql", "shell", "queries", "query", "plot",
        "demo", "verify", "migrate", "doctor", "monitor", "log", "top", "nearest", "import",
        "export", "compare", "analyze", "ablate", "report",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_of_every_command(cli: Any, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert "Usage: neuronmap" in answer.text
    assert cli(*path, "-h").out == answer.out


def test_every_option_says_what_it_does() -> None:
    def walk(group: Any, path: str) -> Iterator[str]:
        for parameter in group.params:
            if not getattr(parameter, "help", None):
                yield f"{path} {parameter.name}"
        for name, command in getattr(group, "commands", {}).items():
            yield from walk(command, f"{path} {name}")

    silent = [
        line for line in walk(typer.main.get_command(app), "neuronmap") if "completion" not in line
    ]
    assert silent == []


@pytest.mark.parametrize("error", [WorkError, UsageError, NeuronMapError])
def test_errors_say_their_exit_code(error: type[NeuronMapError]) -> None:
    assert error.exit_code == (2 if issubclass(error, UsageError) else 1)


HEAVY = ("torch", "transformers", "altair", "scipy")


def heavy_modules(code: str, *arguments: str | Path) -> str:
    """Run Python code in a process; return which heavy packages it had imported at its end."""
    tail = f"import sys; print('!', *sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    whole = f"import atexit\natexit.register(lambda: exec({tail!r}))\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", whole, *arguments],
        capture_output=True, text=True, env=os.environ, timeout=120, check=True,
    )  # fmt: skip
    return done.stderr.rpartition("!")[2].strip()


MAIN = "from neuronmap_sql.cli.main import main; main()"


def test_the_package_leaves_torch_alone() -> None:
    assert heavy_modules("import neuronmap_sql") == ""


def test_torch_would_be_seen() -> None:
    """The control of the tests above and below."""
    assert heavy_modules("import torch").split()[0] == "torch"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("ingest", "--help"),
        ("sql", "SELECT * FROM neuron_stats ORDER BY kurtosis DESC LIMIT 5"),
        ("query", "label_overview", "-p", "label=source", "-f", "csv"),
        ("runs",),
        ("queries",),
        ("import", "hdf5", "--help"),
    ],
    ids=" ".join,
)
def test_asking_leaves_torch_alone(
    demo_warehouse: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURONMAP_WAREHOUSE", str(demo_warehouse))
    assert heavy_modules(MAIN, *arguments) == ""
