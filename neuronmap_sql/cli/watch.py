"""`neuronmap doctor`, `monitor` and `log`: the machine, the jobs under way, what went wrong."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.output import Format, FormatOption, emit
from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.warehouse.jobs import Job, jobs, log_lines

__all__ = ["doctor", "log", "monitor"]


def doctor(
    place: Annotated[Path, typer.Argument(help="Where a warehouse is, or will be.")] = Path(),
    form: FormatOption = Format.table,
) -> None:
    """Say what this machine has for an ingest, and what will be slow or fail on it."""
    from neuronmap_sql.ingest.doctor import Finding, examine  # late: torch takes seconds

    _print(list(examine(place)), Finding, form)


def monitor(
    warehouse: WarehouseOption = Path(),
    every: Annotated[
        float, typer.Option(min=0, help="Again after so many seconds, until Ctrl-C; 0: once.")
    ] = 0.0,
    form: FormatOption = Format.table,
) -> None:
    """Show the ingests that are running, silent for long, or interrupted."""
    with opened(warehouse) as wh:
        while True:
            found = jobs(wh.path)
            if found or form is not Format.table:
                _print(found, Job, form)
            else:
                typer.echo("no ingest is running or interrupted", err=True)
            if not every:
                return
            time.sleep(every)


def log(
    run: Annotated[str, typer.Argument(help="Run id, or how it begins; all, if left out.")] = "",
    warehouse: WarehouseOption = Path(),
    errors: Annotated[bool, typer.Option("--errors", help="Only warnings and errors.")] = False,
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="So many entries.")] = 40,
) -> None:
    """Print the last entries of the ingests' logs, oldest first."""
    with opened(warehouse) as wh:
        known = sorted(path.stem for path in (wh.path / "logs").glob("*.log"))
        if run and not any(name.startswith(run) for name in known):
            raise UnknownNameError.of("log", run, known)
        for entry in log_lines(wh.path, run, errors)[-last:]:
            typer.echo(entry)


def _print(found: Sequence[Any], kind: type[Any], form: Format) -> None:
    names = [field.name for field in fields(kind)]
    emit(pa.table({name: [getattr(row, name) for row in found] for name in names}), form)
