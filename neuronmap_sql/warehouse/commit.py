"""Runs enter and leave the store: planned in a journal, then done by renames.

    1. everything that will be the run lies in `staging/`, on the disk, with its manifest
    2. under the lock, `journal.json` says which run enters and which ones leave
    3. the runs that leave are renamed into `trash/`, the one that enters into `runs/`
    4. the journal goes

Killed before 2, the old state stands; after 2, whoever opens the warehouse next does the rest.
"""

from __future__ import annotations

import json
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
from neuronmap_sql.warehouse.files import SUFFIX, flush_tree, move, sha256, write_text
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.manifest import (
    FileEntry,
    Key,
    Manifest,
    merge_keys,
    write_manifest,
)
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.parquet import conform, write_parquet
from neuronmap_sql.warehouse.schema import FORMAT, arrow_schema, key_columns

__all__ = ["GRACE_SECONDS", "exchange", "finish_exchange", "seal", "sweep"]

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
    created = datetime.now(UTC).replace(tzinfo=None)
    full = _row(run, row, files, created)
    rows = pa.Table.from_pylist([full], schema=arrow_schema("runs"))
    write_parquet(folder / "runs" / "0.parquet", conform("runs", rows, run))
    manifest = Manifest(
        run=run,
        kind=full["kind"],
        format=full["format"],
        created=created.isoformat(),
        parents=tuple(full["parents"]),
        keys=merge_keys(_keys(folder, files)) if keys is None else tuple(keys),
        files=(*files, *_entries(folder / "runs", folder)),
        row=full,
    )
    write_manifest(folder, manifest)
    flush_tree(folder)
    return manifest


def exchange(root: Path, enter: str | None, leave: Collection[str]) -> None:
    """Move runs out and a run in; the caller holds the lock."""
    plan = {"enter": enter, "leave": sorted(leave)}
    write_text(root / "journal.json", json.dumps(plan))
    finish_exchange(root)


def finish_exchange(root: Path) -> None:
    """Do what the journal still asks for, if there is one; the caller holds the lock."""
    journal = root / "journal.json"
    if not journal.exists():
        return
    plan = json.loads(journal.read_text(encoding="utf-8"))
    for run in plan["leave"]:
        inside = root / "runs" / f"run={encode(run)}"
        if inside.exists():
            move(inside, root / "trash" / f"{time.time_ns()}-{inside.name}")
    if plan["enter"]:
        staged = root / "staging" / f"run={encode(plan['enter'])}"
        if staged.exists():
            move(staged, root / "runs" / staged.name)
    journal.unlink()


def sweep(root: Path, grace_seconds: float = GRACE_SECONDS) -> None:
    """Delete old trash, and what a process killed right after its commit left in staging."""
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
