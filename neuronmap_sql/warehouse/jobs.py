"""Ingests under way or interrupted, from what they leave in `staging/`; no lock is touched."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neuronmap_sql.warehouse.lock import Owner, read_owner
from neuronmap_sql.warehouse.names import decode

__all__ = ["STALLED_SECONDS", "Job", "jobs", "log_lines"]

STALLED_SECONDS = 120.0
"""A running ingest says how far it is each second, or each batch if that takes longer."""


@dataclass(frozen=True)
class Job:
    """A run that is not committed."""

    run: str
    """Run id."""
    state: Literal["running", "stalled", "interrupted"]
    """stalled: its process is there, or on another machine, but has been silent for long."""
    what: str
    """What it does, or did last."""
    done: int
    """How much of that is done."""
    total: int
    """How much there is."""
    unit: str
    """Of what."""
    seconds: float
    """Time since its last word; NaN if it said nothing yet."""
    process: str
    """Process, machine and command; empty if it ended in an orderly way."""


def jobs(root: Path) -> list[Job]:
    """Return the uncommitted runs of a warehouse, sorted by id."""
    states = sorted((root / "staging").glob("state=*"))
    return [_job(folder) for folder in states if (folder / "lock").exists()]


def _job(folder: Path) -> Job:
    owner, said = read_owner(folder / "lock"), _heartbeat(folder)
    silent = _silence(owner, said)
    state: Literal["running", "stalled", "interrupted"] = "running"
    if owner is None or owner.gone:
        state = "interrupted"
    elif silent > STALLED_SECONDS:
        state = "stalled"
    return Job(
        run=decode(folder.name.removeprefix("state=")),
        state=state,
        what=said.get("what", ""),
        done=said.get("done", 0),
        total=said.get("total", 0),
        unit=said.get("unit", ""),
        seconds=round(silent, 1),
        process=str(owner or ""),
    )


def _silence(owner: Owner | None, said: dict[str, Any]) -> float:
    """Return the seconds since a job's last word; NaN if it said nothing yet.

    While its process lives on this machine, both have the clock that no one can set.
    """
    alive = owner is not None and owner.here and not owner.gone
    try:
        now, then = (time.monotonic(), "monotonic") if alive else (time.time(), "time")
        return max(now - float(said.get(then, "nan")), 0.0)  # NaN, being first, stays
    except (TypeError, ValueError):
        return float("nan")


def _heartbeat(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "heartbeat.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def log_lines(root: Path, run: str = "", errors: bool = False) -> list[str]:
    """Return lines of the ingests' logs in the order of time, those of a stack with their first.

    Args:
        root: the warehouse.
        run: only of this run, or of runs whose id begins so.
        errors: only warnings and errors.
    """
    entries: list[str] = []
    for path in sorted((root / "logs").glob(f"{run}*.log")):
        fresh = False
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line[:4].isdigit():
                level = line.split(" ")[2] if line.count(" ") > 2 else ""
                fresh = not errors or level in {"WARNING", "ERROR", "CRITICAL"}
                if fresh:
                    entries.append(f"{line[:23]} {path.stem} {line[24:]}")
            elif fresh:
                entries[-1] += f"\n    {line}"
    return sorted(entries)
