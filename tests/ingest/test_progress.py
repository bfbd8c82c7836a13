"""Talk goes to standard error, and provenance is what is installed."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.provenance import git_revision, versions


@pytest.mark.parametrize("show", [True, False])
def test_progress_is_on_standard_error_or_nowhere(
    capfd: pytest.CaptureFixture[str], show: bool
) -> None:
    reporter = Reporter(show=show)
    reporter.say("[hello] gpt2@step1")
    with reporter.meter("tokens of a", 10, "tokens") as meter:
        meter.advance(4, 1000)
        meter.advance(6, 500)
    assert meter.bytes == 1500
    out, err = capfd.readouterr()
    assert out == ""
    assert ("[hello] gpt2@step1" in err) == show
    assert ("tokens of a" in err and "100%" in err) == show


def test_versions_are_those_installed() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")
    assert found["duckdb"] == version("duckdb")


def test_git_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_revision() is None
    who = {
        f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], check=True, capture_output=True, text=True, env=os.environ | who
        )
        return done.stdout.strip()

    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "one")
    clean = git("rev-parse", "HEAD")
    assert git_revision() == clean
    (tmp_path / "a").write_text("2")
    assert git_revision() == clean + "+dirty"
