"""The files that tell shells what is in the store; they hold no data and can always be made anew.

warehouse.duckdb   views and macros
init.sql           tells a stock shell where the warehouse is
runs/run=none/     files without rows, for the columns of every table
runs/labels/       the same, for the labels of documents that left lately
catalog.json       the format, what the others were made from, and their checksums
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.content import folder
from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.files import SUFFIX, keep_copy, sha256, whole, write_text
from neuronmap_sql.warehouse.left_labels import LEFT_LABELS
from neuronmap_sql.warehouse.manifest import refuse_newer
from neuronmap_sql.warehouse.parquet import write_parquet
from neuronmap_sql.warehouse.schema import FORMAT, arrow_schema, table_names
from neuronmap_sql.warehouse.views import (
    EMPTY_RUN,
    create_movable_catalog,
    quote_literal,
    write_empty_run,
)

__all__ = [
    "CATALOG_FILES",
    "damaged",
    "is_current",
    "read_catalog",
    "refuse_full_disk",
    "renew_empty_file",
    "write_catalog",
]

CATALOG_FILES = ("warehouse.duckdb", "init.sql", "catalog.json")
"""What lies beside the folders of a warehouse."""

_LEAST_BYTES = 2**18

_INIT = """\
-- duckdb -init WAREHOUSE/init.sql WAREHOUSE/warehouse.duckdb
SET VARIABLE wh_root = (
    SELECT coalesce(nullif(rtrim(replace(replace(replace(
        parse_dirpath(path), '[', '[[]'), '*', '[*]'), '?', '[?]'), '/'), ''), '.')
    FROM duckdb_databases() WHERE database_name = current_database()
);
SET parquet_metadata_cache = true;
"""


def write_catalog(root: Path) -> None:
    """Make the files anew; the caller holds the lock.

    Raises:
        StoreError: the engine cannot write them, or cannot read the runs.
    """
    for path in _empty_files(root):
        if not _without_rows(path):  # else the new checksums would declare it sound
            renew_empty_file(root, path)
    write_empty_run(root)
    try:
        _write_database(root)
    except duckdb.Error as error:
        what = str(error).partition("\n")[0]
        raise StoreError(
            f"{root / 'warehouse.duckdb'} cannot be made ({what}): if the disk is full, free some"
            " space; else `neuronmap verify` says what is wrong"
        ) from error
    write_text(root / "init.sql", _INIT)
    sums = {path.relative_to(root).as_posix(): sha256(path) for path in _made(root)}
    found = {"format": FORMAT, "made_from": _sources(), "files": sums}
    write_text(root / "catalog.json", _render(found))


def refuse_full_disk(root: Path) -> None:
    """Raise OSError unless there is room to make the files anew: asked before runs are moved."""
    before = root / "warehouse.duckdb"
    part = before.with_name(f"{before.name}.{os.getpid()}{SUFFIX}")
    usual = before.stat().st_size if before.exists() else 0
    size = 2 * max(usual, _LEAST_BYTES)  # with the log
    try:
        with part.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    finally:
        part.unlink(missing_ok=True)


def _write_database(root: Path) -> None:
    with whole(root / "warehouse.duckdb") as part, duckdb.connect() as con:
        try:
            # Version v1.0.0: every current shell opens it.
            con.execute(f"ATTACH {quote_literal(str(part))} AS wh (STORAGE_VERSION 'v1.0.0')")
            con.execute("USE wh")
            con.execute("BEGIN")  # else each of several hundred comments is flushed to the disk
            create_movable_catalog(con, root)
            con.execute("COMMIT")
            con.execute("USE memory")
            con.execute("DETACH wh")
        finally:
            Path(f"{part}.wal").unlink(missing_ok=True)  # left behind where the disk is full


def renew_empty_file(root: Path, path: Path) -> None:
    """Make a damaged file without rows anew, a stranger among them go; `damaged/` keeps a copy."""
    keep_copy(path, root / "damaged")
    table = path.relative_to(root / "runs").parts[1]
    ours = path.stem.isdecimal() and path.is_relative_to(root / "runs" / EMPTY_RUN)
    if ours and table in table_names():
        # In one step, for readers; in its place, since two files say that columns have changed.
        write_parquet(path, arrow_schema(table).empty_table())
    else:
        path.unlink()


def _without_rows(path: Path) -> bool:
    try:
        return bool(pq.read_metadata(path).num_rows == 0)
    except (pa.ArrowException, OSError):
        return False


def read_catalog(root: Path) -> dict[str, Any]:
    """Return what `catalog.json` says: format, made_from, files; empty if there is none.

    Raises:
        StoreError: it is damaged, or of a format that came after this version.
    """
    path = root / "catalog.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(path, found["format"])
        dict(found["files"])
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"{path} is damaged ({error}): `neuronmap verify --repair`") from error
    return found


def is_current(root: Path) -> bool:
    """Whether the files were made by this version from what it declares."""
    found = read_catalog(root)
    return found.get("made_from") == _sources() and not _missing(root, found)


def damaged(root: Path) -> list[Path]:
    """Return the files that are not what was written, or not there."""
    path = root / "catalog.json"
    try:
        found = read_catalog(root)
        written = path.read_bytes() == _render(found).encode()
        sound = written and found["format"] == FORMAT and found["made_from"] == _sources()
    except (StoreError, OSError, KeyError):
        return [path]
    wrong = _missing(root, found)
    wrong += [p for n, s in found["files"].items() if (p := root / n).is_file() and sha256(p) != s]
    wrong += [p for p in _made(root) if p.relative_to(root).as_posix() not in found["files"]]
    return wrong if sound else [path, *wrong]


def _made(root: Path) -> list[Path]:
    return [root / "warehouse.duckdb", root / "init.sql", *_empty_files(root)]


def _empty_files(root: Path) -> list[Path]:
    places = (root / "runs" / EMPTY_RUN, root / "runs" / LEFT_LABELS.parts[0])
    files = (path for place in places for path in place.rglob("*") if not path.is_dir())
    return sorted(path for path in files if path.suffix != SUFFIX)


def _missing(root: Path, found: dict[str, Any]) -> list[Path]:
    return [root / name for name in found.get("files", {}) if not (root / name).is_file()]


@cache
def _sources() -> str:
    """Return a hash of the declarations, the macros and the format."""
    paths = sorted((folder("warehouse")).rglob("*.sql"))
    parts = [str(FORMAT), _INIT, *(f"{path.name}\n{path.read_text('utf-8')}" for path in paths)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _render(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
