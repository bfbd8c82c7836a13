"""Check that a warehouse is what was written into it, and move aside what is not.

Each run's manifest names its files with sizes, rows and checksums, and is sealed by a checksum of
its own; `catalog.json` does the same for the files beside the runs. Nothing is ever deleted here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from neuronmap_sql.errors import NeuronMapError, StoreError
from neuronmap_sql.warehouse.catalog import CATALOG_FILES, damaged, renew_empty_file
from neuronmap_sql.warehouse.check_run import Problem, check_run
from neuronmap_sql.warehouse.commit import finish_exchange
from neuronmap_sql.warehouse.files import disk_errors, keep_copy, move, stamped
from neuronmap_sql.warehouse.left_labels import LEFT_LABELS
from neuronmap_sql.warehouse.manifest import Manifest, overlap, read_manifest
from neuronmap_sql.warehouse.mend import warehouse_lock
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.trash import is_trash, sweep
from neuronmap_sql.warehouse.views import EMPTY_RUN

__all__ = ["Problem", "repair", "verify"]

_FOLDERS = ("runs", "staging", "trash", "damaged", "logs", "plots")
_REST = frozenset({*CATALOG_FILES, *_FOLDERS, "lock", "journal.json"})
_NO_RUNS = frozenset({EMPTY_RUN, LEFT_LABELS.parts[0]})


def verify(store: Store, progress: Callable[[int], None] = lambda _: None) -> list[Problem]:
    """Check the catalogue, and every run: manifest, files, checksums, rows, schemas, keys, parents.

    Readers and ingests may go on meanwhile: a run that goes away is not looked at further. What
    cannot be written can be verified too.

    Args:
        store: the warehouse.
        progress: told the bytes of each file that was read.

    Returns:
        What is wrong, sorted by path; empty if all is well.
    """
    root = store.root
    found = [*_beside(root), *_staging(root)]
    sound: dict[str, Manifest] = {}
    damaged_runs = set()
    for folder in sorted((root / "runs").iterdir()):
        if folder.name in _NO_RUNS:
            continue
        wrong = list(check_run(root, folder, progress))
        found += wrong
        if any(problem.cure == "move" for problem in wrong):
            damaged_runs |= {folder.name} if folder.exists() else set()
        else:
            with suppress(NeuronMapError):  # it left meanwhile
                manifest = read_manifest(folder)
                sound[manifest.run] = manifest
    found += [*_parents(root, sound, damaged_runs), *_names(sound)]
    still = (problem for problem in found if _applies(root, problem))
    return sorted(still, key=lambda problem: (problem.path, problem.what))


def repair(store: Store, problems: Iterable[Problem]) -> list[Path]:
    """Move what is damaged into `damaged/`, and make the catalogue anew; copies of it are kept.

    Returns:
        What is in `damaged/` that was not there.

    Raises:
        StoreError: the warehouse is busy or cannot be written.
    """
    found, aside = list(problems), store.root / "damaged"
    with warehouse_lock(store.root), disk_errors(aside):
        aside.mkdir(exist_ok=True)
        before = set(aside.iterdir())
        for path in _outermost(problem.path for problem in found if problem.cure == "move"):
            with suppress(FileNotFoundError):  # it left meanwhile
                move(store.root / path, stamped(aside, Path(path).name))
        rebuilt = {problem.path for problem in found if problem.cure == "rebuild"}
        if "catalog.json" in rebuilt:  # the checksums of the others are in it
            rebuilt |= set(CATALOG_FILES)
        for made in (store.root / path for path in sorted(rebuilt)):
            if made.name in CATALOG_FILES and made.exists():
                keep_copy(made, aside)
            elif made.is_file() and made.is_relative_to(store.root / "runs"):
                renew_empty_file(store.root, made)
    store.refresh()
    return sorted(set(aside.iterdir()) - before)


def _outermost(paths: Iterable[str]) -> list[str]:
    chosen: list[str] = []
    for path in sorted(set(paths)):
        if not any(Path(path).is_relative_to(other) for other in chosen):
            chosen.append(path)
    return chosen


@contextmanager
def _locked(root: Path) -> Iterator[bool]:
    """Hold the lock under which the files beside the runs change; false where nobody can write."""
    lock = warehouse_lock(root)
    try:
        lock.acquire()
    except StoreError as error:
        if not isinstance(error.__cause__, OSError):
            raise
    try:
        yield lock.held
    finally:
        lock.release()


def _beside(root: Path) -> Iterator[Problem]:
    """Check what lies beside the runs, under the lock: the catalogue changes with them."""
    with _locked(root) as writable:
        if writable:
            yield from _journal(root)
        for path in damaged(root):
            yield Problem(_name(root, path), "is damaged or missing", "rebuild")
        for path in sorted(root.iterdir()):
            if path.name not in _REST:
                yield Problem(path.name, "does not belong here", "move")
        for path in sorted((root / "trash").glob("*")):
            if not is_trash(path):
                yield Problem(f"trash/{path.name}", "does not belong here", "move")


def _journal(root: Path) -> Iterator[Problem]:
    try:
        with disk_errors(root):
            finish_exchange(root)
            sweep(root)
    except StoreError as error:
        if isinstance(error.__cause__, ValueError | TypeError | KeyError):
            yield Problem("journal.json", "is damaged", "move")
        else:
            yield Problem("journal.json", f"cannot be finished: {error}", "rebuild")


def _staging(root: Path) -> Iterator[Problem]:
    """Check that each unfinished run has its state: a resume needs both."""
    names = {path.name for path in (root / "staging").glob("*")}
    for name in sorted(names):
        kind, _, run = name.partition("=")
        if kind not in {"run", "state"} or not run:
            yield Problem(f"staging/{name}", "does not belong here", "move")
        elif kind == "run" and f"state={run}" not in names:
            yield Problem(f"staging/{name}", "lacks the state that a resume needs", "move")


def _parents(root: Path, runs: dict[str, Manifest], damaged_runs: set[str]) -> Iterator[Problem]:
    for run, manifest in runs.items():
        for parent in sorted(set(manifest.parents) - set(runs)):
            name = f"run={encode(parent)}"
            if name in damaged_runs or not (root / "runs" / name).exists():  # it may have come
                what = f"was computed from {parent}, which is not here"
                yield Problem(_place(run), what, "ingest")


def _names(runs: dict[str, Manifest]) -> Iterator[Problem]:
    """Check that no two runs hold rows of the same names."""
    for run, manifest in runs.items():
        for other, its in runs.items():
            if run < other and (key := overlap(manifest.keys, its.keys)):
                yield Problem(_place(run), f"holds {key}, as run {other} does", "drop")


def _applies(root: Path, problem: Problem) -> bool:
    """Whether the run of a problem is still there."""
    return problem.cure == "rebuild" or os.path.lexists(root / problem.path)


def _place(run: str) -> str:
    return f"runs/run={encode(run)}"


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
