"""The stock DuckDB shell on a warehouse: where it is, and how it is called."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from neuronmap_sql.warehouse.store import Store

__all__ = ["find_duckdb", "shell_command"]


def find_duckdb() -> Path | None:
    """Return the `duckdb` program: beside this Python, on the PATH, or None.

    The package `duckdb-cli` puts it beside Python, where the PATH need not lead.
    """
    found = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")
    if found:
        return Path(found)
    package = find_spec("duckdb_cli")
    for folder in (package and package.submodule_search_locations) or ():
        if (Path(folder) / "duckdb").exists():
            return Path(folder) / "duckdb"
    return None


def shell_command(root: str | Path, program: Path, arguments: Sequence[str] = ()) -> list[str]:
    """Return the command line that opens a warehouse in the stock shell, read-only.

    Raises:
        StoreError: `root` is not a warehouse.
    """
    place = Store.open(root).root
    database = str(place / "warehouse.duckdb")
    return [str(program), "-init", str(place / "init.sql"), "-readonly", *arguments, database]
