"""What is left over: runs that left, cut files, and the state of runs that were committed."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.catalog import CATALOG_FILES, write_catalog
from neuronmap_sql.warehouse.files import SUFFIX, stamped
from neuronmap_sql.warehouse.left_labels import forget_labels
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.views import EMPTY_RUN

__all__ = ["GRACE_SECONDS", "is_trash", "sweep"]

GRACE_SECONDS = 24 * 3600
"""How long dropped runs stay in the trash: longer than any reader holds their files open."""

_OURS = (*CATALOG_FILES, "journal.json")


def sweep(root: Path, grace_seconds: float = GRACE_SECONDS) -> None:
    """Delete old trash, and what killed processes left; what cannot be deleted waits.

    The caller holds the lock, under which alone files beside the runs are written.
    """
    for name in _OURS:
        for part in root.glob(f"{name}.*{SUFFIX}*"):  # the engine's log may be beside it
            _delete(part)
    for folder in (root / "runs" / EMPTY_RUN, root / "runs" / "labels"):
        for part in folder.rglob(f"*{SUFFIX}"):
            _delete(part)
    for path in (root / "trash").iterdir():
        _expire(path, grace_seconds)
    for state in (root / "staging").glob("state=*"):
        name = state.name.replace("state=", "run=", 1)
        if (root / "runs" / name).exists() and not (root / "staging" / name).exists():
            with suppress(StoreError), Lock(state / "lock", name):
                _delete(state)
    for staged in (root / "staging").glob("run=*"):  # a migration that was killed
        state = staged.with_name(staged.name.replace("run=", "state=", 1))
        if (root / "runs" / staged.name).exists() and not state.exists():
            _delete(staged)
    if forget_labels(root, grace_seconds):
        write_catalog(root)


def is_trash(path: Path) -> bool:
    """Whether something in `trash/` is a run that left, named by the time and its folder."""
    stamp, _, name = path.name.partition("-")
    return stamp.isdecimal() and name.startswith("run=") and path.is_dir()


def _expire(path: Path, grace_seconds: float) -> None:
    if not is_trash(path):
        return
    age = time.time_ns() - int(path.name.partition("-")[0])
    if age < 0:  # the clock went back: count from now, not from a day to come
        with suppress(OSError):
            path.rename(stamped(path.parent, path.name.partition("-")[2]))
    elif age >= grace_seconds * 1e9:
        _delete(path)


def _delete(path: Path) -> None:
    with suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
