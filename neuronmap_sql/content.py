"""Find the declared folders: inside an installed wheel, or at the root of a checkout."""

from __future__ import annotations

from pathlib import Path

from neuronmap_sql.errors import StoreError

__all__ = ["folder"]


def folder(name: str) -> Path:
    """Return the declared folder `ingest`, `warehouse`, `queries` or `demo`.

    Raises:
        StoreError: the installation lacks it.
    """
    package = Path(__file__).parent
    for root in (package / "_content", package.parent):
        if (root / name).is_dir():
            return root / name
    raise StoreError(f"this installation of neuronmap-sql lacks its folder {name!r}: reinstall it")
