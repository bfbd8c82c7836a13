"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.api import Warehouse
from neuronmap_sql.api import open as open_warehouse
from neuronmap_sql.errors import StoreError

__all__ = [
    "QuietOption",
    "ReplaceOption",
    "ToOption",
    "WarehouseOption",
    "WithChildrenOption",
    "opened",
]

WarehouseOption = Annotated[
    Path,
    typer.Option(
        "--warehouse", "-w", envvar="NEURONMAP_WAREHOUSE", help="Folder of the warehouse."
    ),
]

ToOption = Annotated[
    Path | None,
    typer.Option("--to", "-t", envvar="NEURONMAP_WAREHOUSE", help="Warehouse; made if missing."),
]

ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Put the run in the place of one of the same names.")
]

WithChildrenOption = Annotated[
    bool,
    typer.Option("--with-children", help="With --replace: other runs made from those go too."),
]

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def opened(path: Path) -> Warehouse:
    """Open the warehouse that a command asks.

    Raises:
        StoreError: it is none; says how to name one, where none was named.
    """
    if path == Path() and not (path / "init.sql").is_file():
        raise StoreError(
            "the current folder is not a warehouse: name one with -w FOLDER, or set"
            " NEURONMAP_WAREHOUSE; `neuronmap init FOLDER` makes one"
        )
    return open_warehouse(path)
