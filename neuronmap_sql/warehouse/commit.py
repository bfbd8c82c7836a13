"""Runs enter and leave the store: planned in a journal, then done by renames.

    1. everything that will be the run lies in `staging/`, on the disk, with its manifest
    2. under the lock, `journal.json` says which runs enter and which ones leave
    3. the runs that leave are renamed into `trash/`, those that enter into `runs/`
    4. the catalogue is made anew, where label columns come or go
    5. the journal goes

Killed before 2, the old state stands; after 2, whoever opens the warehouse next does the rest. Each
step is on the disk before the next begins; within one, order does not matter, as it can be done
again. The renames of 3 follow each other at once, since readers see them one by one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.catalog import refuse_full_disk, write_catalog
from neuronmap_sql.warehouse.files import (
    SUFFIX,
    disk_errors,
    flush,
    flush_tree,
    sha256,
    stamped,
    write_text,
)
from neuronmap_sql.warehouse.left_labels import keep_labels
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

__all__ = [
    "FOLDERS",
    "distinct",
    "exchange",
    "finish_exchange",
    "is_half_done",
    "keys_of",
    "reseal",
    "seal",
]

FOLDERS = ("runs", "staging", "trash")
"""Folders of a warehouse that runs are moved between."""


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
    found = merge_keys(keys_of(folder, files)) if keys is None else tuple(keys)
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
    if catalog:
        refuse_full_disk(root)
    with disk_errors(root / "journal.json"):
        write_text(root / "journal.json", json.dumps(plan))
        flush(root)
    finish_exchange(root)


def finish_exchange(root: Path) -> None:
    """Do what the journal still asks for, if there is one; the caller holds the lock.

    Raises:
        StoreError: the journal is damaged.
    """
    for name in FOLDERS:
        (root / name).mkdir(exist_ok=True)
    plan = _plan(root)
    if plan is None:
        return
    enter, leave = _left_to_do(root, plan)
    if plan["catalog"]:
        keep_labels(root, enter, leave)
    for path in leave:
        path.rename(stamped(root / "trash", path.name))
    for path in enter:
        path.rename(root / "runs" / path.name)
    for name in FOLDERS:
        flush(root / name)
    if plan["catalog"]:
        write_catalog(root)
    flush(root)
    (root / "journal.json").unlink()
    flush(root)


def is_half_done(root: Path) -> bool:
    """Whether some of the runs that a journal names were moved and others not.

    Raises:
        StoreError: the journal is damaged.
    """
    plan = _plan(root)
    if plan is None:
        return False
    left = sum(map(len, _left_to_do(root, plan)))
    return 0 < left < len(plan["enter"]) + len(plan["leave"])


def _plan(root: Path) -> dict[str, Any] | None:
    journal = root / "journal.json"
    try:
        plan = json.loads(journal.read_text(encoding="utf-8"))
        return {key: plan[key] for key in ("enter", "leave", "catalog")}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{journal} is damaged ({error}): `neuronmap verify --repair`") from error


def _left_to_do(root: Path, plan: Mapping[str, Any]) -> tuple[list[Path], list[Path]]:
    """Return the folders that are to enter, and those that are to leave."""
    staged = {run: root / "staging" / f"run={encode(run)}" for run in plan["enter"]}
    inside = {run: root / "runs" / f"run={encode(run)}" for run in plan["leave"]}
    enter = [path for path in staged.values() if path.exists()]
    # A run that takes its own place has done so once it is no longer staged.
    leave = [p for run, p in inside.items() if p.exists() and staged.get(run, p).exists()]
    return enter, leave


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


def keys_of(folder: Path, files: Sequence[FileEntry]) -> Iterator[Key]:
    """Read which names the rows take."""
    for entry in files:
        names = key_columns(entry.table)
        for row in distinct(pq.ParquetFile(folder / entry.path), list(names)):
            layers = () if (layer := row.pop("layer", None)) is None else (layer,)
            yield Key(entry.table, **row, layers=layers)


def distinct(source: pq.ParquetFile, names: list[str]) -> Iterator[dict[str, Any]]:
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
