"""Runs enter and leave the store: planned in a journal, then done by renames.

    1. everything that will be the run lies in `staging/`, on the disk, with its manifest
    2. under the lock, `journal.json` says which runs enter and which ones leave
    3. the runs that leave are renamed into `trash/`, those that enter into `runs/`
    4. the catalogue is made anew, where label columns come or go
    5. the journal goes

Killed before 2, the old state stands; after 2, whoever opens the warehouse next does the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.catalog import write_catalog
from neuronmap_sql.warehouse.files import SUFFIX, flush_tree, move, sha256, write_text
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.manifest import (
    NAME,
    FileEntry,
    Key,
    Manifest,
    merge_keys,
    read_manifest,
    write_manifest,
)
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.parquet import conform, write_parquet
from neuronmap_sql.warehouse.schema import FORMAT, arrow_schema, key_columns
from neuronmap_sql.warehouse.views import EMPTY_RUN

__all__ = ["GRACE_SECONDS", "exchange", "finish_exchange", "reseal", "seal", "sweep"]

GRACE_SECONDS = 24 * 3600
"""How long dropped runs stay in the trash: longer than any reader holds their files open."""


def seal(folder: Path, run: str, row: Mapping[str, Any], keys: Sequence[Key] | None) -> Manifest:
    """Complete a staged run: its row of `runs`, its manifest, all of it on the disk.

    Raises:
        StoreError: there is nothing to commit, or a file is damaged.
    """
    for part in folder.rglob(f"*{SUFFIX}"):
        part.unlink()
    shutil.rmtree(folder / "runs", ignore_errors=True)
    files = tuple(_entries(folder))
    if not files:
        raise StoreError(f"run {run} has no files: write a table before the commit")
    full = _row(run, row, files, datetime.now(UTC).replace(tzinfo=None))
    found = merge_keys(_keys(folder, files)) if keys is None else tuple(keys)
    return _finish(folder, full, found, files)


def reseal(root: Path, run: str) -> None:
    """Stage a committed run of an older format as one of this: data files are linked, not copied.

    Raises:
        StoreError: its manifest or a file is damaged.
    """
    inside, staged = (root / name / f"run={encode(run)}" for name in ("runs", "staging"))
    old = read_manifest(inside)
    for entry in old.files:
        path = inside / entry.path
        if not path.is_file() or sha256(path) != entry.sha256:
            raise StoreError(f"{path} is damaged: `neuronmap verify --repair` moves the run aside")
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(inside, staged, copy_function=os.link)
    for path in (staged / "runs", staged / NAME):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    row = pq.read_table(inside / "runs").to_pylist()[0] | {"format": FORMAT}
    data = tuple(entry for entry in old.files if entry.table != "runs")
    _finish(staged, row, old.keys, data)


def _finish(
    folder: Path, row: dict[str, Any], keys: tuple[Key, ...], files: tuple[FileEntry, ...]
) -> Manifest:
    """Write the row of `runs` and the manifest, and put all of it on the disk."""
    rows = pa.Table.from_pylist([row], schema=arrow_schema("runs"))
    write_parquet(folder / "runs" / "0.parquet", conform("runs", rows, row["run"]))
    manifest = Manifest(
        run=row["run"],
        kind=row["kind"],
        format=row["format"],
        created=row["created"].isoformat(),
        parents=tuple(row["parents"]),
        keys=keys,
        files=(*files, *_entries(folder / "runs", folder)),
        row=row,
    )
    write_manifest(folder, manifest)
    flush_tree(folder)
    return manifest


def exchange(
    root: Path, enter: Sequence[str], leave: Collection[str], *, catalog: bool = False
) -> None:
    """Move runs out and runs in, and make the catalogue anew; the caller holds the lock."""
    plan = {"enter": list(enter), "leave": sorted(leave), "catalog": catalog}
    write_text(root / "journal.json", json.dumps(plan))
    finish_exchange(root)


def finish_exchange(root: Path) -> None:
    """Do what the journal still asks for, if there is one; the caller holds the lock.

    Raises:
        StoreError: the journal is damaged.
    """
    journal = root / "journal.json"
    if not journal.exists():
        return
    try:
        plan = json.loads(journal.read_text(encoding="utf-8"))
        plan = {key: plan[key] for key in ("enter", "leave", "catalog")}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{journal} is damaged ({error}): `neuronmap verify --repair`") from error
    staged = {run: root / "staging" / f"run={encode(run)}" for run in plan["enter"]}
    for run in plan["leave"]:
        inside = root / "runs" / f"run={encode(run)}"
        # A run that takes its own place has done so once it is no longer staged.
        if inside.exists() and (run not in staged or staged[run].exists()):
            move(inside, root / "trash" / f"{time.time_ns()}-{inside.name}")
    for path in staged.values():
        if path.exists():
            move(path, root / "runs" / path.name)
    if plan["catalog"]:
        write_catalog(root)
    journal.unlink()


def sweep(root: Path, grace_seconds: float = GRACE_SECONDS) -> None:
    """Delete old trash, and what killed processes left: cut files, the state of committed runs.

    The caller holds the lock, under which alone files beside the runs are written.
    """
    for folder in (root, root / "runs" / EMPTY_RUN):
        for part in folder.glob(f"*{SUFFIX}" if folder == root else f"**/*{SUFFIX}"):
            part.unlink()
    for path in (root / "trash").iterdir():
        if time.time_ns() - int(path.name.split("-")[0]) >= grace_seconds * 1e9:
            shutil.rmtree(path)
    for state in (root / "staging").glob("state=*"):
        name = state.name.replace("state=", "run=", 1)
        if (root / "runs" / name).exists() and not (root / "staging" / name).exists():
            with suppress(StoreError), Lock(state / "lock", name):
                shutil.rmtree(state)


def _row(
    run: str, row: Mapping[str, Any], files: Sequence[FileEntry], created: datetime
) -> dict[str, Any]:
    filled = {
        "run": run,
        "created": created,
        "rows": sum(entry.rows for entry in files),
        "bytes": sum(entry.bytes for entry in files),
        "format": FORMAT,
    }
    unknown = set(row) - set(arrow_schema("runs").names)
    if unknown:
        raise StoreError(f"the row of runs has no column {min(unknown)!r}")
    return {"kind": run.rpartition("-")[0], "parents": []} | dict(row) | filled


def _entries(folder: Path, base: Path | None = None) -> Iterator[FileEntry]:
    for path in sorted(folder.rglob("*.parquet")):
        name = path.relative_to(base or folder).as_posix()
        try:
            rows = pq.read_metadata(path).num_rows
        except pa.ArrowInvalid as error:
            raise StoreError(f"{path} is not whole ({error}): write the shard again") from error
        yield FileEntry(name, name.split("/")[0], rows, path.stat().st_size, sha256(path))


def _keys(folder: Path, files: Sequence[FileEntry]) -> Iterator[Key]:
    """Read which names the rows take."""
    for entry in files:
        names = key_columns(entry.table)
        for row in _distinct(pq.ParquetFile(folder / entry.path), list(names)):
            layers = () if (layer := row.pop("layer", None)) is None else (layer,)
            yield Key(entry.table, **row, layers=layers)


def _distinct(source: pq.ParquetFile, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the combinations of values of columns; often the footer alone tells them."""
    places = {source.schema.column(i).path: i for i in range(len(source.schema))}
    for number in range(source.num_row_groups):
        group = source.metadata.row_group(number)
        found = {name: group.column(places[name]).statistics for name in names}
        if all(one and one.has_min_max and one.min == one.max for one in found.values()):
            yield {name: one.min for name, one in found.items()}
        else:
            rows = source.read_row_group(number, columns=names)
            yield from rows.group_by(names).aggregate([]).to_pylist()
