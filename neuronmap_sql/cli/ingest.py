"""`neuronmap ingest`: run a recipe, or the one that the flags amount to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuronmap_sql.api import create
from neuronmap_sql.cli.common import QuietOption, ReplaceOption, ToOption, WithChildrenOption
from neuronmap_sql.errors import UsageError

__all__ = ["assignments", "ingest"]


def ingest(
    recipes: Annotated[
        list[Path] | None, typer.Argument(help="Recipes (TOML); none: the flags say it all.")
    ] = None,
    to: ToOption = None,
    model: Annotated[
        str | None, typer.Option(help="model.source: folder, GGUF file or hub id.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="model.name in the warehouse.")] = None,
    revision: Annotated[str | None, typer.Option(help="model.revision.")] = None,
    data: Annotated[
        str | None, typer.Option(help="data.path: a file, a glob, or a saved dataset.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="data.text: column that holds the text.")] = None,
    labels: Annotated[str | None, typer.Option(help="data.labels: columns, by commas.")] = None,
    site: Annotated[str | None, typer.Option(help="sites.use, by commas: mlp,resid_post.")] = None,
    layers: Annotated[str | None, typer.Option(help="sites.layers: all, 0-5, -1.")] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="keep.tables, by commas: stats,top,samples,weights,activations,int8,firings,"
            "matrices,vectors."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="model.device: auto, cpu, cuda, cuda:1.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="model.dtype: auto, float32, bfloat16, float16.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of a recipe: --set keep.top_k=50. Repeatable."),
    ] = None,
    replace: ReplaceOption = False,
    with_children: WithChildrenOption = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what to expect: tokens, bytes, time, memory."),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Run models over text and write what is kept as runs of a warehouse.

    An interrupted ingest goes on where it stopped when the same command is given again.
    """
    if to is None and not dry_run:
        raise UsageError("say which warehouse: --to FOLDER, or set NEURONMAP_WAREHOUSE")
    overrides = {
        "model.source": model, "model.name": name, "model.revision": revision,
        "model.device": device, "model.dtype": dtype, "data.path": data, "data.text": text,
        "data.labels": _split(labels), "sites.use": _split(site), "sites.layers": layers,
        "keep.tables": _split(keep), **assignments(set_ or []),
    }  # fmt: skip
    given = {key: value for key, value in overrides.items() if value is not None}
    # Here, so that --help and the SQL commands do not wait for torch.
    from neuronmap_sql.ingest.estimate import estimate
    from neuronmap_sql.ingest.progress import Reporter
    from neuronmap_sql.ingest.recipe import read_recipe, recipe_from_flags, to_toml

    if recipes:
        wanted = [read_recipe(path, given) for path in recipes]
    else:
        wanted = [recipe_from_flags(given)]
        typer.echo(f"# the recipe that these flags amount to\n{to_toml(wanted[0])}", err=True)
    reporter = Reporter(show=not quiet)
    if to is None or dry_run:
        for recipe in wanted:
            typer.echo(estimate(recipe, reporter).text())
        return
    with create(to) as wh:
        for recipe in wanted:
            try:
                done = wh.ingest(
                    recipe, replace=replace, with_children=with_children, progress=not quiet
                )
            except KeyboardInterrupt:
                typer.echo("interrupted: give the same command again to go on", err=True)
                raise
            for run in done.runs.values():
                typer.echo(f"{run}\t{'made' if run in done.made else 'was there'}")


def _split(value: str | None) -> list[str] | None:
    return None if value is None else [part.strip() for part in value.split(",") if part.strip()]


def assignments(pairs: list[str]) -> dict[str, Any]:
    """Read `key=value`, the value as TOML where it is TOML, else as text."""
    import tomllib

    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign:
            raise UsageError(f"--set {pair}: write key=value, such as keep.top_k=50")
        try:
            found[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[key.strip()] = value
    return found
