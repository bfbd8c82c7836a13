"""`neuronmap init` and `neuronmap runs`: the warehouse and what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.api import create
from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.output import Format, FormatOption, emit
from neuronmap_sql.errors import UsageError

__all__ = ["app", "init", "migrate"]

app = typer.Typer(help="List, show and drop runs.", invoke_without_command=True)

_LIST = """
SELECT run, kind, model, dataset, created, round(seconds, 1) AS seconds, token_count,
    round(tokens_per_second) AS tokens_per_second, rows, format_bytes(bytes) AS size
FROM runs ORDER BY created
"""


def init(path: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Make an empty warehouse."""
    made = create(path)
    typer.echo(f"{made.path} is ready: neuronmap ingest RECIPE --to {path}", err=True)


@app.callback()
def list_(
    context: typer.Context,
    warehouse: WarehouseOption = Path(),
    form: FormatOption = Format.table,
) -> None:
    """List the runs of a warehouse; `runs show` and `runs drop` take one."""
    if context.invoked_subcommand is not None:
        source = context.get_parameter_source("warehouse")
        if source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"write -w after `runs {context.invoked_subcommand}`")
    else:
        with opened(warehouse) as wh:
            emit(wh.sql(_LIST), form)
            if unfinished := wh.store.unfinished():
                typer.echo(f"unfinished: {', '.join(unfinished)}", err=True)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Run id, as `neuronmap runs` lists it.")],
    warehouse: WarehouseOption = Path(),
    form: FormatOption = Format.table,
) -> None:
    """Show where a run came from: recipe, versions, hashes, tolerance, values not finite."""
    with opened(warehouse) as wh:
        wh.store.manifest(run)
        found = wh.sql("SELECT * FROM runs WHERE run = $run", {"run": run})
        if form is not Format.table:
            emit(found, form)
            return
        for name, value in found.pl().row(0, named=True).items():
            if value not in (None, []):
                text = str(value)
                typer.echo(f"{name:18} {text}" if "\n" not in text else f"{name}\n{_indent(text)}")


@app.command()
def drop(
    run: Annotated[str, typer.Argument(help="Run id, as `neuronmap runs` lists it.")],
    warehouse: WarehouseOption = Path(),
    with_children: Annotated[
        bool, typer.Option("--with-children", help="Drop the runs made from it too.")
    ] = False,
) -> None:
    """Move a run to the warehouse's trash, where it stays for a day."""
    with opened(warehouse) as wh:
        for dropped in wh.store.drop(run, with_children):
            typer.echo(f"dropped {dropped}", err=True)


def migrate(warehouse: WarehouseOption = Path()) -> None:
    """Bring runs that an older version wrote to the present format."""
    with opened(warehouse) as wh:
        for run in (done := wh.store.migrate()):
            typer.echo(f"migrated {run}", err=True)
        typer.echo(f"{len(done)} runs migrated", err=True)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
