"""The command `neuronmap`: each subcommand parses, makes one library call, and prints.

Standard output is data, standard error is talk. Exit codes: 0 done, 1 the work failed, 2 wrong
usage; they are mapped from errors here and nowhere else.
"""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from neuronmap_sql.cli import (
    ablate,
    analyze,
    ask,
    compare,
    demo,
    imports,
    ingest,
    models,
    plot,
    report,
    runs,
    search,
    verify,
    watch,
)
from neuronmap_sql.errors import NeuronMapError

__all__ = ["app", "main"]

app = typer.Typer(
    name="neuronmap",
    help="Run a neural network once, then ask everything in SQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(runs.init)
app.command("ingest")(ingest.ingest)
app.command("compare")(compare.compare)
app.command("ablate")(ablate.ablate)
app.add_typer(analyze.app, name="analyze")
app.add_typer(imports.imports, name="import")
app.add_typer(imports.exports, name="export")
app.add_typer(models.app, name="models")
app.command("layers")(models.layers)
app.add_typer(runs.app, name="runs")
app.command("migrate")(runs.migrate)
app.command("verify")(verify.command)
app.command("doctor")(watch.doctor)
app.command("monitor")(watch.monitor)
app.command("log")(watch.log)
app.command("sql")(ask.sql)
app.command("shell")(ask.shell)
app.command("queries")(ask.queries)
app.command("query")(ask.query)
app.command("top")(search.top)
app.command("nearest")(search.nearest)
app.add_typer(plot.app, name="plot")
app.add_typer(report.app, name="report")
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line and exit."""
    try:
        app(prog_name="neuronmap")
    except NeuronMapError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"error: {error}", style="red", markup=False, highlight=False
        )
        sys.exit(error.exit_code)
    except SystemExit as end:
        # Typer ends with 1 when the reader of our output has gone (`| head`); that is no failure.
        if isinstance(end.__context__, BrokenPipeError):
            sys.exit(0)
        raise
