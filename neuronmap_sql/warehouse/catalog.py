"""The files that tell shells what is in the store; they hold no data and can always be made anew.

warehouse.duckdb   views and macros
init.sql           tells a stock shell where the warehouse is
runs/run=none/     files without rows, for the columns of every table
catalog.json       the format, what the others were made from, and their checksums
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from neuronmap_sql.content import folder
from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.files import sha256, whole, write_text
from neuronmap_sql.warehouse.manifest import refuse_newer
from neuronmap_sql.warehouse.schema import FORMAT
from neuronmap_sql.warehouse.views import (
    EMPTY_RUN,
    create_movable_catalog,
    quote_literal,
    write_empty_run,
)

__all__ = ["CATALOG_FILES", "damaged", "is_current", "read_catalog", "write_catalog"]

CATALOG_FILES = ("warehouse.duckdb", "init.sql", "catalog.json")
"""What lies beside the folders of a warehouse."""

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
    """Make the files anew; the caller holds the lock."""
    write_empty_run(root)
    with whole(root / "warehouse.duckdb") as part, duckdb.connect() as con:
        # Version v1.0.0: every current shell opens it.
        con.execute(f"ATTACH {quote_literal(str(part))} AS wh (STORAGE_VERSION 'v1.0.0')")
        con.execute("USE wh")
        con.execute("BEGIN")  # else each of several hundred comments is flushed to the disk
        create_movable_catalog(con, root)
        con.execute("COMMIT")
        con.execute("USE memory")
        con.execute("DETACH wh")
    write_text(root / "init.sql", _INIT)
    sums = {path.relative_to(root).as_posix(): sha256(path) for path in _made(root)}
    found = {"format": FORMAT, "made_from": _sources(), "files": sums}
    write_text(root / "catalog.json", _render(found))


def read_catalog(root: Path) -> dict[str, Any]:
    """Return what `catalog.json` says: format, made_from, files; empty if there is none.

    Raises:
        StoreError: it is damaged, or of a format that came after this version.
    """
    path = root / "catalog.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(path, found["format"])
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
    empty = sorted(path for path in (root / "runs" / EMPTY_RUN).rglob("*") if path.is_file())
    return [root / "warehouse.duckdb", root / "init.sql", *empty]


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
