"""The command line, called in this process or in one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from neuronmap_sql.cli.main import main


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEURONMAP_WAREHOUSE", raising=False)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """Call `neuronmap` in this process, to the exit."""

    def call(*args: object, stdin: str = "") -> Answer:
        monkeypatch.setattr(sys, "argv", ["neuronmap", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsysbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsysbinary.readouterr()
        return Answer(int(end.value.code or 0), out, err.decode())

    return call


@pytest.fixture(scope="session")
def script() -> Path:
    """The installed command."""
    return Path(sys.executable).with_name("neuronmap")


@pytest.fixture
def process(script: Path) -> Cli:
    """Call the installed command in a process of its own."""

    def call(*args: object, stdin: str = "", cwd: Path | None = None) -> Answer:
        done = subprocess.run(
            [script, *map(str, args)], input=stdin.encode(), capture_output=True, cwd=cwd,
            env=os.environ, timeout=300,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr.decode())

    return call
