"""Check one run against its manifest: files, checksums, rows, schemas, keys, provenance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import NeuronMapError
from neuronmap_sql.warehouse.commit import distinct, keys_of
from neuronmap_sql.warehouse.files import sha256
from neuronmap_sql.warehouse.manifest import (
    NAME,
    FileEntry,
    Key,
    Manifest,
    check_seal,
    read_manifest,
)
from neuronmap_sql.warehouse.names import encode, glob_escape
from neuronmap_sql.warehouse.parquet import conform
from neuronmap_sql.warehouse.schema import FORMAT, arrow_schema, row_key, table_names
from neuronmap_sql.warehouse.views import quote_literal

__all__ = ["Problem", "check_run"]

_UNNAMED = frozenset({"runs", "sites"})
"""Tables in which runs may share names: the model determines its sites."""


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


def check_run(root: Path, folder: Path, progress: Callable[[int], None]) -> Iterator[Problem]:
    """Yield what is wrong with one run's folder by itself.

    Args:
        root: the warehouse.
        folder: the run's folder, or what lies in its place.
        progress: told the bytes of each file that was read.
    """
    where = folder.relative_to(root).as_posix()
    if not folder.name.startswith("run=") or not folder.is_dir() or folder.is_symlink():
        yield Problem(where, "does not belong here", "move")
        return
    try:
        manifest = read_manifest(folder)
        if manifest.format == FORMAT:
            check_seal(folder)
        else:
            yield Problem(where, f"has the older format {manifest.format}", "migrate")
        if f"run={encode(manifest.run)}" != folder.name:
            yield Problem(where, f"has the manifest of run {manifest.run}", "move")
        yield from _strangers(where, folder, manifest)
        for what in _wrong(folder, manifest, progress):
            yield Problem(where, what, "move")
    except NeuronMapError as error:
        yield Problem(where, str(error).removeprefix(f"{folder}/"), "move")
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        yield Problem(where, f"cannot be read ({_line(error)})", "move")
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        yield Problem(where, f"has a {NAME} that makes no sense ({_line(error)})", "move")


def _strangers(where: str, folder: Path, manifest: Manifest) -> Iterator[Problem]:
    known = {entry.path for entry in manifest.files} | {NAME}
    # A link to a folder counts as a file: the engine would follow it.
    paths = sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir())
    for path in paths:
        if (name := path.relative_to(folder).as_posix()) not in known:
            yield Problem(f"{where}/{name}", "does not belong to the run", "move")


def _wrong(folder: Path, manifest: Manifest, progress: Callable[[int], None]) -> Iterator[str]:
    """Say what is wrong with the files; if they are sound, what the manifest tells of them."""
    sound = True
    for entry in manifest.files:
        what = _place(entry) or _file(folder / entry.path, entry, manifest.format)
        if what:
            sound = False
            yield f"{entry.path} {what}"
        progress(entry.bytes)
    if sound:
        yield from _doubles(folder, manifest)
        if manifest.format == FORMAT:
            yield from _row(folder, manifest)
            yield from _keys(folder, manifest)


def _place(entry: FileEntry) -> str:
    parts = PurePosixPath(entry.path).parts
    if len(parts) < 2 or parts[0] != entry.table or ".." in parts:
        return f"is no place for rows of {entry.table}"
    return ""


def _file(path: Path, entry: FileEntry, format_: int) -> str:
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
        return _columns(source.schema_arrow, entry.table, format_)


def _columns(schema: pa.Schema, table: str, format_: int) -> str:
    if table not in table_names():
        return f"belongs to no table of this version: {table}"
    wanted = arrow_schema(table)
    for field in wanted:
        place = schema.get_field_index(field.name)
        if place < 0 and field.nullable and format_ < FORMAT:
            continue  # declared since
        if place < 0:
            return f"lacks the column {field.name}"
        if schema.field(place).type != field.type:
            return f"has {schema.field(place).type} in the column {field.name}, not {field.type}"
    extra = [name for name in schema.names if name not in wanted.names]
    if extra and table != "docs":  # which has labels
        return f"has the column {extra[0]}, which {table} has not"
    return ""


def _row(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Compare the manifest with the row of `runs`, which was written with it."""
    schema, row = arrow_schema("runs"), dict(manifest.row)
    row["created"] = datetime.fromisoformat(row["created"])
    for field in schema:
        if pa.types.is_map(field.type) and isinstance(row.get(field.name), list):
            row[field.name] = [tuple(pair) for pair in row[field.name]]  # JSON has no tuples
    told = conform("runs", pa.Table.from_pylist([row], schema), manifest.run)
    stored = pq.read_table(folder / "runs" / "0.parquet")
    for name in told.column_names:
        if not told[name].equals(stored[name]):
            yield f"{NAME} tells another {name} than table runs"
    data = [entry for entry in manifest.files if entry.table != "runs"]
    facts = {
        "run": manifest.run, "kind": manifest.kind, "format": manifest.format,
        "created": datetime.fromisoformat(manifest.created), "parents": list(manifest.parents),
        "rows": sum(entry.rows for entry in data), "bytes": sum(entry.bytes for entry in data),
    }  # fmt: skip
    for name, value in facts.items():
        if row[name] != value:
            yield f"{NAME} tells {name} in two ways: {value} and {row[name]}"


def _keys(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Check that rows are of this run, and have no names but those that it takes."""
    for entry in manifest.files:
        for row in distinct(pq.ParquetFile(folder / entry.path), ["run"]):
            if row["run"] != manifest.run:
                yield f"{entry.path} holds rows of run {row['run']}"
                return
    files = [entry for entry in manifest.files if entry.table not in _UNNAMED]
    for key in set(keys_of(folder, files)):
        if not any(_covers(taken, key) for taken in manifest.keys):
            yield f"holds {key}, a name that its {NAME} does not take"
            return


def _covers(taken: Key, key: Key) -> bool:
    return taken.overlaps(key) and set(key.layers) <= set(taken.layers)


def _doubles(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Check that no two rows have one key."""
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        for table in sorted({entry.table for entry in manifest.files}):
            keys = ", ".join(row_key(table))
            paths = [folder / entry.path for entry in manifest.files if entry.table == table]
            files = ", ".join(quote_literal(glob_escape(path.as_posix())) for path in paths)
            rows = con.sql(
                f"SELECT {keys} FROM read_parquet([{files}], hive_partitioning = false) "
                "GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
            ).fetchall()
            for row in rows:
                said = ", ".join(f"{k} {v}" for k, v in zip(row_key(table), row, strict=True))
                yield f"{table} has two rows with {said}"


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
