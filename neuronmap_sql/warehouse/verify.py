"""Check that a warehouse is what was written into it, and move aside what is not.

Each run's manifest names its files with sizes, rows and checksums, and is sealed by a checksum of
its own; `catalog.json` does the same for the files beside the runs. Nothing is ever deleted here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import NeuronMapError, StoreError
from neuronmap_sql.warehouse.catalog import CATALOG_FILES, damaged
from neuronmap_sql.warehouse.commit import finish_exchange, sweep
from neuronmap_sql.warehouse.files import move, sha256
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.manifest import (
    NAME,
    FileEntry,
    Manifest,
    check_seal,
    overlap,
    read_manifest,
)
from neuronmap_sql.warehouse.names import decode, encode, glob_escape
from neuronmap_sql.warehouse.schema import FORMAT, arrow_schema, row_key, table_names
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.views import EMPTY_RUN, quote_literal

__all__ = ["Problem", "repair", "verify"]

_FOLDERS = ("runs", "staging", "trash", "damaged", "logs", "plots")
_REST = frozenset({*CATALOG_FILES, *_FOLDERS, "lock"})


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be."""

    path: str
    """Where, within the warehouse."""
    what: str
    """What is wrong."""
    cure: Literal["move", "rebuild", "ingest", "migrate", "drop"]
    """How it goes away: `repair` moves the path aside (move) or makes it anew (rebuild); the
    others are for the user: ingest again, `neuronmap migrate`, drop one of two runs."""


def verify(store: Store, progress: Callable[[int], None] = lambda _: None) -> list[Problem]:
    """Check the catalogue, and every run: manifest, files, checksums, rows, schemas, keys, parents.

    Readers and ingests may go on meanwhile: a run that goes away is not looked at further.

    Args:
        store: the warehouse.
        progress: told the bytes of each file that was read.

    Returns:
        What is wrong, sorted by path; empty if all is well.
    """
    found = [*_beside(store.root), *_staging(store.root)]
    sound: dict[str, Manifest] = {}
    for folder in sorted((store.root / "runs").iterdir()):
        if folder.name != EMPTY_RUN:
            wrong = list(_run(store.root, folder, progress))
            if not folder.exists():
                continue
            found += wrong
            if not any(problem.cure == "move" for problem in wrong) and folder.is_dir():
                sound[decode(folder.name.removeprefix("run="))] = read_manifest(folder)
    found += [*_parents(sound), *_names(sound), *_doubles(store.root, sound)]
    return sorted(found, key=lambda problem: (problem.path, problem.what))


def repair(store: Store, problems: Iterable[Problem]) -> list[Path]:
    """Move what is damaged into `damaged/`, and make the catalogue anew.

    Returns:
        Where things are now.
    """
    aside, moved = store.root / "damaged", []
    with Lock(store.root / "lock", f"the warehouse {store.root}", 60.0):
        for path in _outermost(p.path for p in problems if p.cure == "move"):
            if (store.root / path).exists():
                aside.mkdir(exist_ok=True)
                target = aside / f"{time.time_ns()}-{Path(path).name}"
                move(store.root / path, target)
                moved.append(target)
    store.refresh()
    return moved


def _outermost(paths: Iterable[str]) -> list[str]:
    chosen: list[str] = []
    for path in sorted(set(paths)):
        if not any(Path(path).is_relative_to(other) for other in chosen):
            chosen.append(path)
    return chosen


def _beside(root: Path) -> Iterator[Problem]:
    """Check what lies beside the runs, under the lock: the catalogue changes with them."""
    with Lock(root / "lock", f"the warehouse {root}", 60.0):
        try:
            finish_exchange(root)
            sweep(root)
        except StoreError:
            yield Problem("journal.json", "is damaged", "move")
        for path in damaged(root):
            yield Problem(_name(root, path), "is damaged or missing", "rebuild")
        for path in sorted(root.iterdir()):
            if path.name not in _REST | {"journal.json"}:
                yield Problem(path.name, "does not belong here", "move")


def _staging(root: Path) -> Iterator[Problem]:
    """Check that each unfinished run has its state: a resume needs both."""
    names = {path.name for path in (root / "staging").iterdir()}
    for name in sorted(names):
        kind, _, run = name.partition("=")
        if kind not in {"run", "state"} or not run:
            yield Problem(f"staging/{name}", "does not belong here", "move")
        elif kind == "run" and f"state={run}" not in names:
            yield Problem(f"staging/{name}", "lacks the state that a resume needs", "move")


def _run(root: Path, folder: Path, progress: Callable[[int], None]) -> Iterator[Problem]:
    """Check one run's folder by itself."""
    where = _name(root, folder)
    if not folder.name.startswith("run=") or not folder.is_dir():
        yield Problem(where, "does not belong here", "move")
        return
    try:
        manifest = read_manifest(folder)
        if manifest.format == FORMAT:
            check_seal(folder)
        else:
            yield Problem(where, f"has the older format {manifest.format}", "migrate")
    except NeuronMapError as error:
        yield Problem(where, str(error).removeprefix(f"{folder}/"), "move")
        return
    if f"run={encode(manifest.run)}" != folder.name:
        yield Problem(where, f"has the manifest of run {manifest.run}", "move")
    known = {entry.path for entry in manifest.files}
    for path in sorted(p for p in folder.rglob("*") if not p.is_dir()):
        if (name := path.relative_to(folder).as_posix()) not in known | {NAME}:
            yield Problem(f"{where}/{name}", "does not belong to the run", "move")
    for entry in manifest.files:
        if what := _file(folder / entry.path, entry, manifest.run):
            yield Problem(where, f"{entry.path} {what}", "move")
        progress(entry.bytes)


def _file(path: Path, entry: FileEntry, run: str) -> str:
    """Return what is wrong with a file of a run; empty if nothing is."""
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != entry.bytes:
        return f"has {size:,} bytes instead of {entry.bytes:,}"
    if sha256(path) != entry.sha256:
        return "has another checksum than when it was written"
    try:
        source = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        return f"is no Parquet file: {error}"
    with source:
        if source.metadata.num_rows != entry.rows:
            return f"has {source.metadata.num_rows:,} rows instead of {entry.rows:,}"
        return _columns(source.schema_arrow, entry.table)


def _columns(schema: pa.Schema, table: str) -> str:
    if table not in table_names():
        return f"belongs to no table of this version: {table}"
    wanted = arrow_schema(table)
    for field in wanted:
        place = schema.get_field_index(field.name)
        if place < 0:
            return f"lacks the column {field.name}"
        if schema.field(place).type != field.type:
            return f"has {schema.field(place).type} in the column {field.name}, not {field.type}"
    return ""


def _parents(runs: dict[str, Manifest]) -> Iterator[Problem]:
    for run, manifest in runs.items():
        for parent in sorted(set(manifest.parents) - set(runs)):
            yield Problem(_place(run), f"was computed from {parent}, which is not here", "ingest")


def _names(runs: dict[str, Manifest]) -> Iterator[Problem]:
    """Check that no two runs hold rows of the same names."""
    for run, manifest in runs.items():
        for other, its in runs.items():
            if run < other and (key := overlap(manifest.keys, its.keys)):
                yield Problem(_place(run), f"holds {key}, as run {other} does", "drop")


def _doubles(root: Path, runs: dict[str, Manifest]) -> Iterator[Problem]:
    """Check that no two rows of a run have one key."""
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        for run, manifest in runs.items():
            for table in sorted({entry.table for entry in manifest.files}):
                keys = ", ".join(row_key(table))
                paths = [root / _place(run) / e.path for e in manifest.files if e.table == table]
                files = ", ".join(quote_literal(glob_escape(path.as_posix())) for path in paths)
                rows = con.sql(
                    f"SELECT {keys} FROM read_parquet([{files}], hive_partitioning = false) "
                    "GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
                ).fetchall()
                for row in rows:
                    said = ", ".join(f"{k} {v}" for k, v in zip(row_key(table), row, strict=True))
                    yield Problem(_place(run), f"{table} has two rows with {said}", "move")


def _place(run: str) -> str:
    return f"runs/run={encode(run)}"


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
