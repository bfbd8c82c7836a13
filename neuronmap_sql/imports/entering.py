"""How what was read from a file becomes a run: staged, and entered with all others in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w

from neuronmap_sql.errors import DataError
from neuronmap_sql.warehouse.files import disk_errors, sha256
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.names import check
from neuronmap_sql.warehouse.provenance import made_with
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store

__all__ = ["Imported", "Plan", "check_names", "enter", "file_hash", "row_of_runs"]


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    runs: tuple[str, ...]
    """Ids of the runs that hold the file's rows, parents first."""
    made: tuple[str, ...]
    """Those of them that were not there before."""
    rows: int
    """Rows in these runs."""
    notes: tuple[str, ...]
    """What else is to say, in words: what was left out, what was taken for granted."""


@dataclass(frozen=True)
class Plan:
    """A run to make, unless it is there."""

    run: str
    """Run id."""
    keys: tuple[Key, ...]
    """Names that it takes."""
    row: Mapping[str, Any]
    """Its row of `runs`."""
    write: Callable[[Staging], None]
    """Writes its tables."""


def enter(
    store: Store,
    plans: Sequence[Plan],
    notes: Iterable[str],
    *,
    replace: bool = False,
    with_children: bool = False,
) -> Imported:
    """Make the runs that the warehouse lacks, all in one step; a failure leaves nothing behind.

    Raises:
        UsageError: names are taken, and `replace` is false: see `Store.leaving`.
        StoreError: the warehouse cannot be written.
        DataError: what `write` finds in the file.
    """
    fresh = [plan for plan in plans if not store.has(plan.run)]
    store.leaving(
        {plan.run: plan.keys for plan in fresh}, replace=replace, with_children=with_children
    )
    with ExitStack() as stack:
        staged = [_staged(store, plan, stack) for plan in fresh]
        store.enter(staged, replace=replace, with_children=with_children)
    runs = tuple(plan.run for plan in plans)
    rows = sum(store.manifest(run).row["rows"] for run in runs)
    return Imported(runs, tuple(plan.run for plan in fresh), rows, tuple(notes))


def _staged(
    store: Store, plan: Plan, stack: ExitStack
) -> tuple[Staging, dict[str, Any], tuple[Key, ...]]:
    began = time.monotonic()
    staging = stack.enter_context(store.stage(plan.run))
    stack.push(partial(_discard_failed, staging))
    staging.reset()  # what a killed import left is not gone on with
    with disk_errors(store.root):
        plan.write(staging)
    return staging, dict(plan.row) | {"seconds": time.monotonic() - began}, plan.keys


def _discard_failed(staging: Staging, kind: type[BaseException] | None, *_: object) -> None:
    if kind is not None:
        staging.discard()


def row_of_runs(
    path: Path, settings: Mapping[str, Any], source: str, **columns: Any
) -> dict[str, Any]:
    """Return a row of `runs`: from which file, read how.

    Args:
        path: the file; its folder is a matter of this machine, and not told.
        settings: what was asked for, as TOML can hold it; None: not told.
        source: where the file is from, in the user's words.
        columns: further columns.
    """
    told = {"file": path.name, "source": source or None, **settings}
    recipe = {"import": {name: value for name, value in told.items() if value is not None}}
    return {
        "kind": "import",
        "title": source or None,
        "recipe": tomli_w.dumps(recipe),
        **made_with(),
        **columns,
    }


def check_names(**names: str) -> None:
    """Make sure that names can be keys of the warehouse.

    Raises:
        UsageError: one cannot; see `warehouse.names.check`.
    """
    for what, name in names.items():
        check(name, what)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: it is not there, is no regular file, or cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: {'is no regular file' if path.exists() else 'no such file'}")
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
