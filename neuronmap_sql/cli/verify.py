"""`neuronmap verify`: is the warehouse what was written into it?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.output import Format, FormatOption, emit
from neuronmap_sql.errors import StoreError
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import Problem, repair, verify

__all__ = ["command"]


def command(
    warehouse: WarehouseOption = Path(),
    mend: Annotated[
        bool, typer.Option("--repair", help="Move what is damaged into damaged/; delete nothing.")
    ] = False,
    form: FormatOption = Format.table,
) -> None:
    """Check every file of the warehouse: checksums, rows, schemas, keys, parents, strangers."""
    with opened(warehouse) as wh:
        found = _check(wh.store)
        if found and mend:
            for path in repair(wh.store, found):
                typer.echo(f"moved to {path}", err=True)
            found = _check(wh.store)
        runs = len(wh.store.run_ids())
    if found or form is not Format.table:
        names = [*Problem.__dataclass_fields__]
        schema = pa.schema([(name, pa.string()) for name in names])
        emit(pa.Table.from_pylist([asdict(problem) for problem in found], schema), form)
    if not found:
        typer.echo(f"{runs} runs, all as they were written", err=True)
        return
    cures = {problem.cure for problem in found}
    hint = ": --repair moves it aside" if cures & {"move", "rebuild"} and not mend else ""
    raise StoreError(f"{len(found)} things are not as they should be{hint}")


def _check(store: Store) -> list[Problem]:
    total = sum(path.stat().st_size for path in (store.root / "runs").rglob("*.parquet"))
    with Reporter().meter("verify", total, "bytes") as meter:
        return verify(store, meter.advance)
