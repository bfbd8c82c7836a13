"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.api import Warehouse
from neuronmap_sql.api import open as open_warehouse

__all__ = ["WarehouseOption", "opened"]

WarehouseOption = Annotated[
    Path,
    typer.Option(
        "--warehouse", "-w", envvar="NEURONMAP_WAREHOUSE", help="Folder of the warehouse."
    ),
]


def opened(path: Path) -> Warehouse:
    """Open the warehouse that a command asks."""
    return open_warehouse(path)
