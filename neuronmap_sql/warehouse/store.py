"""The warehouse as a folder: runs that appear by one rename and never change.

WAREHOUSE/
  warehouse.duckdb   views and macros, no data; rebuilt aside and swapped in
  init.sql           tells a stock shell where the warehouse is
  runs/run=<id>/     committed runs; `run=none` has no rows
  staging/           runs in progress or interrupted
  trash/             dropped runs, for a day
  lock               held while runs enter or leave
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from neuronmap_sql.errors import StoreError, UnknownNameError, UsageError
from neuronmap_sql.warehouse.catalog import CATALOG_FILES, is_current
from neuronmap_sql.warehouse.commit import FOLDERS, exchange, reseal, seal
from neuronmap_sql.warehouse.files import SUFFIX, disk_errors
from neuronmap_sql.warehouse.labels import refuse_clashes
from neuronmap_sql.warehouse.left_labels import labels_change
from neuronmap_sql.warehouse.lineage import descendants, leaving, refuse_orphan
from neuronmap_sql.warehouse.manifest import Key, Manifest, read_manifest
from neuronmap_sql.warehouse.mend import locked, mend
from neuronmap_sql.warehouse.names import decode, encode
from neuronmap_sql.warehouse.schema import FORMAT
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.views import EMPTY_RUN

__all__ = ["Store"]


class Store:
    """One warehouse folder. Make it with `Store.create` or `Store.open`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: str | Path) -> Store:
        """Make a warehouse, or complete and open the one that is there.

        Raises:
            UsageError: the folder holds other things, or its path has a question mark.
            StoreError: it cannot be written.
        """
        place = Path(root).absolute()
        if "?" in str(place):  # DuckDB takes what follows as parameters of the database
            raise UsageError(f"{place}: the path of a warehouse cannot have a '?'")
        ours = {*FOLDERS, *CATALOG_FILES, "lock", "journal.json", "logs", "damaged"}
        if not _is_warehouse(place) and place.exists():
            names = {path.name for path in place.iterdir() if SUFFIX not in path.suffixes}
            if names - ours:
                raise UsageError(f"{place} is not a warehouse and not empty: choose a new folder")
        with disk_errors(place):
            for name in FOLDERS:
                (place / name).mkdir(parents=True, exist_ok=True)
        store = cls(place)
        if not is_current(place):
            store.refresh()
        return store

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """Open a warehouse.

        What a killed process left half done is finished first. Where a living one is at it, or
        the disk does not let us, what is there can still be read.

        Raises:
            StoreError: the folder is not a warehouse, or one that a later version wrote; or runs
                are half moved and it cannot be written.
        """
        place = Path(root).absolute()
        if not _is_warehouse(place):
            raise StoreError(f"{place} is not a warehouse: make one with `neuronmap init {root}`")
        mend(place)
        return cls(place)

    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of the committed runs, sorted."""
        return _ids(self.root / "runs")

    def unfinished(self) -> tuple[str, ...]:
        """Return the ids of the runs in progress or interrupted, sorted."""
        begun = _ids(self.root / "staging", "state=")  # what is left where its rows were deleted
        return tuple(sorted({*_ids(self.root / "staging"), *(r for r in begun if not self.has(r))}))

    def has(self, run: str) -> bool:
        """Whether a run is committed."""
        return (self.root / "runs" / f"run={encode(run)}").is_dir()

    def manifest(self, run: str) -> Manifest:
        """Return what a committed run consists of.

        Raises:
            UnknownNameError: no such run.
            StoreError: its manifest is damaged.
        """
        folder = self.root / "runs" / f"run={encode(run)}"
        try:
            return read_manifest(folder)
        except StoreError:
            if self.has(run):
                return read_manifest(folder)  # it may have left, and come back
        raise UnknownNameError.of("run", run, self.run_ids(), "`neuronmap runs` lists them")

    def manifests(self) -> dict[str, Manifest]:
        """Return the manifests of all committed runs by id."""
        found = {}
        for run in self.run_ids():
            with suppress(UnknownNameError):  # it left meanwhile
                found[run] = self.manifest(run)
        return found

    def children(self, run: str) -> tuple[str, ...]:
        """Return the runs computed from a run, from those, and so on, sorted."""
        return descendants(self.manifests(), {run})

    def leaving(
        self,
        entering: Mapping[str, Iterable[Key]],
        *,
        replace: bool = False,
        with_children: bool = False,
    ) -> tuple[str, ...]:
        """Return the runs that make way for new ones; ask before long work, `enter` asks again.

        Args:
            entering: the names that each new run takes.
            replace: runs that hold some of these names may leave.
            with_children: so may other runs that were computed from those.

        Raises:
            UsageError: a run would have to leave that may not.
        """
        return leaving(self.manifests(), entering, replace=replace, with_children=with_children)

    def stage(self, run: str) -> Staging:
        """Start a run, or go on with the interrupted one of that id.

        Raises:
            StoreError: another process works on the same run.
        """
        return Staging(self.root, run, self.enter)

    def enter(
        self,
        staged: Sequence[tuple[Staging, Mapping[str, Any], Sequence[Key] | None]],
        *,
        replace: bool = False,
        with_children: bool = False,
    ) -> tuple[str, ...]:
        """Make staged runs committed ones, all in one step.

        Args:
            staged: each with its row of `runs` and the names it takes (None: read from the files).
            replace: see `leaving`.
            with_children: see `leaving`.

        Returns:
            The runs that left for the trash.

        Raises:
            UsageError: a run would have to leave that may not.
            StoreError: a file is damaged or gone, a parent is missing, the warehouse is busy, or
                the disk is full or read-only.
        """
        sealed = [_sealed(*each) for each in staged if not self.has(each[0].run)]
        folders = {staging.run: staging.folder for staging, _, _ in staged}
        with locked(self.root):
            present = self.manifests()
            fresh = {found.run: found for found in sealed if found.run not in present}
            keys = {run: found.keys for run, found in fresh.items()}
            leave = leaving(present, keys, replace=replace, with_children=with_children)
            stay = {run: found for run, found in present.items() if run not in leave}
            for run, found in fresh.items():
                refuse_orphan(found, {*stay, *fresh})
                refuse_clashes((folders[run], found), self.root, list(stay.values()))
            if fresh:
                changed = labels_change([*fresh.values(), *(present[run] for run in leave)])
                exchange(self.root, tuple(fresh), leave, catalog=changed)
        for staging, _, _ in staged:
            staging.discard()
        return leave

    def drop(self, run: str, with_children: bool = False) -> tuple[str, ...]:
        """Move a run to the trash; an unfinished one is deleted.

        Args:
            run: run id.
            with_children: drop the runs computed from it too.

        Returns:
            The ids of all runs dropped.

        Raises:
            UnknownNameError: no such run.
            UsageError: other runs were computed from it.
        """
        if not self.has(run) and run in self.unfinished():
            with self.stage(run) as staging:
                staging.discard()
            return (run,)
        self.manifest(run)
        with locked(self.root):
            children = self.children(run)
            if children and not with_children:
                names = ", ".join(children)
                raise UsageError(
                    f"runs were computed from {run}: {names}; drop them too with --with-children"
                )
            leave = (run, *children)
            exchange(self.root, (), leave, catalog=labels_change(map(self.manifest, leave)))
        return (run, *children)

    def migrate(self) -> tuple[str, ...]:
        """Bring runs of older formats to this one: same ids, same data files, new manifests.

        The runs as they were go to the trash, where they stay for a day.

        Returns:
            The ids of the runs that were migrated.

        Raises:
            StoreError: a run is damaged.
        """
        old = tuple(run for run, found in self.manifests().items() if found.format < FORMAT)
        with locked(self.root):
            for run in old:
                reseal(self.root, run)
                exchange(self.root, (run,), (run,))
        return old

    def refresh(self) -> None:
        """Finish what a killed process left half done, and rebuild `warehouse.duckdb`."""
        with locked(self.root):
            exchange(self.root, (), (), catalog=True)


def _sealed(staging: Staging, row: Mapping[str, Any], keys: Sequence[Key] | None) -> Manifest:
    staging.refuse_if_gone(files=True)
    with disk_errors(staging.folder):
        return seal(staging.folder, staging.run, row, keys)


def _is_warehouse(root: Path) -> bool:
    return (root / "runs").is_dir() and (root / "init.sql").is_file()


def _ids(folder: Path, prefix: str = "run=") -> tuple[str, ...]:
    names = (path.name for path in folder.glob(f"{prefix}*") if path.name != EMPTY_RUN)
    found = []
    for name in names:
        with suppress(UnicodeDecodeError):  # `neuronmap verify` finds what has no such name
            found.append(decode(name.removeprefix(prefix)))
    return tuple(sorted(found))
