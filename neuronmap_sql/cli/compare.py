"""`neuronmap compare`: how the neurons of several models correspond."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuronmap_sql.api import create
from neuronmap_sql.cli.common import QuietOption, ReplaceOption, ToOption, WithChildrenOption
from neuronmap_sql.cli.ingest import assignments
from neuronmap_sql.errors import UsageError

__all__ = ["compare"]


def compare(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe (TOML) with [[models]]; none: the flags say it.")
    ] = None,
    to: ToOption = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model's folder, GGUF file or hub id. Repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="data.path: a file, a glob, or a saved dataset.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="sites.use: one site, such as mlp.")] = None,
    layers: Annotated[str | None, typer.Option(help="sites.layers: all, 0-5, -1.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="work.memory: most for sums and values, such as 8GB.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of the recipe: --set keep.top_k=10. Repeatable."),
    ] = None,
    replace: ReplaceOption = False,
    with_children: WithChildrenOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is compared and what it takes.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Correlate every neuron of each model with every neuron of each other model.

    Each model reads the text once. Partners, baselines, layers and matchings become tables.
    """
    if to is None and not dry_run:
        raise UsageError("say which warehouse: --to FOLDER, or set NEURONMAP_WAREHOUSE")
    overrides = {
        "models": [{"source": source} for source in model] if model else None,
        "data.path": data, "sites.use": None if site is None else [site], "sites.layers": layers,
        "work.memory": memory, **assignments(set_ or []),
    }  # fmt: skip
    given = {key: value for key, value in overrides.items() if value is not None}
    # Here, so that --help and the SQL commands do not wait for torch.
    from neuronmap_sql.ingest.comparison.recipe import parse_comparison, read_comparison
    from neuronmap_sql.ingest.recipe import to_toml

    wanted: Any
    if recipe is not None:
        wanted = read_comparison(recipe, given)
    else:
        wanted = parse_comparison({}, "command line", Path(), given)
        typer.echo(f"# the recipe that these flags amount to\n{to_toml(wanted)}", err=True)
    if to is None or dry_run:
        from neuronmap_sql.ingest.comparison.work import outline
        from neuronmap_sql.ingest.progress import Reporter

        typer.echo(outline(wanted, Reporter(show=not quiet)))
        return
    with create(to) as wh:
        done = wh.compare(wanted, replace=replace, with_children=with_children, progress=not quiet)
        for run in dict.fromkeys(done.runs.values()):
            typer.echo(f"{run}\t{'made' if run in done.made else 'was there'}")
