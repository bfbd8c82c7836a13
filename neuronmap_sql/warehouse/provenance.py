"""Where numbers come from: versions, platform, git revision."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["git_revision", "made_with", "versions"]

_PACKAGES = ("neuronmap-sql", "torch", "transformers", "tokenizers", "duckdb", "pyarrow", "numpy")


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that compute and write, and the platform."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def made_with() -> dict[str, Any]:
    """Columns of `runs` on the software: versions and git revision."""
    return {"versions": list(versions().items()), "git_revision": git_revision()}


def git_revision() -> str | None:
    """Revision of the working directory's checkout, `+dirty` if changed; None without one."""
    try:
        revision = _git("rev-parse", "HEAD")
        return revision + ("+dirty" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
