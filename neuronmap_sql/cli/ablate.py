"""`neuronmap ablate`: what becomes of a model's predictions without some neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from neuronmap_sql.cli.common import QuietOption, ReplaceOption, WithChildrenOption, opened
from neuronmap_sql.cli.ingest import assignments
from neuronmap_sql.errors import UsageError

__all__ = ["ablate"]


def ablate(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe (TOML) with neurons and [data]; none: the flags.")
    ] = None,
    neurons: Annotated[
        str | None,
        typer.Option("--neurons", "-n", help="SQL that returns model, layer, neuron; perhaps grp."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A file, a glob, or the name of a dataset in the warehouse.")
    ] = None,
    to: Annotated[
        Path,
        typer.Option("--to", "-t", envvar="NEURONMAP_WAREHOUSE", help="Folder of the warehouse."),
    ] = Path(),
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="NAME=SOURCE, where it is not where it was. Repeatable."
        ),
    ] = None,
    mode: Annotated[str | None, typer.Option(help="Replace with zero, mean or value.")] = None,
    value: Annotated[float | None, typer.Option(help="What mode value replaces with.")] = None,
    site: Annotated[str | None, typer.Option(help="Place of the neurons: mlp by default.")] = None,
    together: Annotated[
        bool, typer.Option("--together", help="Replace all neurons of a model at once.")
    ] = False,
    controls: Annotated[
        int | None, typer.Option(help="Random neurons beside each: 3 by default.")
    ] = None,
    keep_tokens: Annotated[
        int | None, typer.Option(help="Tokens kept of either sign: 10 by default.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Read only so many documents.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the experiment: the mode.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random neurons.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any key of the recipe: --set batch_tokens=512. Repeatable."),
    ] = None,
    replace: ReplaceOption = False,
    with_children: WithChildrenOption = False,
    quiet: QuietOption = False,
) -> None:
    """Replace neurons' activations, and store what that changes in the predictions.

    Loss, entropy, rank and divergence of each neuron, beside random ones of its layer, become rows
    of `effects`; the tokens that change most, of `token_effects`.
    """
    with opened(to) as wh:
        # Here, so that --help and the SQL commands do not wait for torch.
        from neuronmap_sql.ingest.ablation.recipe import data_keys, parse_ablation, read_ablation
        from neuronmap_sql.ingest.ablation.sources import source_keys

        overrides: dict[str, Any] = {
            "neurons": neurons, "mode": mode, "value": value, "site": site, "name": name,
            "together": together or None, "controls": controls, "keep_tokens": keep_tokens,
            "limit": limit, "seed": seed, **source_keys(dict(map(_pair, model or []))),
            **({} if data is None else data_keys(wh.connection, data)), **assignments(set_ or []),
        }  # fmt: skip
        given = {key: value for key, value in overrides.items() if value is not None}
        if recipe is None:
            wanted = parse_ablation({}, "command line", Path(), given)
        else:
            wanted = read_ablation(recipe, given)
        done = wh.ablate(wanted, replace=replace, with_children=with_children, progress=not quiet)
        for run in done.runs.values():
            typer.echo(f"{run}\t{'made' if run in done.made else 'was there'}")


def _pair(text: str) -> tuple[str, str]:
    name, sign, source = text.partition("=")
    if not sign:
        raise UsageError(f"--model {text}: write NAME=SOURCE, the name as the SQL returns it")
    return name, source
