"""`neuronmap analyze`: what follows from stored values, as further rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.cli.common import QuietOption, ReplaceOption, WarehouseOption, opened
from neuronmap_sql.errors import UsageError

__all__ = ["app"]

app = typer.Typer(
    help="Compute further tables from stored values, without the model.", no_args_is_help=True
)


@app.callback()
def _of() -> None:
    """Keep `labels` a command of its own: typer would else run the only one without its name."""


@app.command()
def labels(
    model: Annotated[str, typer.Option("--model", "-m", help="Value of the column `model`.")],
    warehouse: WarehouseOption = Path(),
    dataset: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
    site: Annotated[str, typer.Option(help="Hooked place.")] = "mlp",
    layers: Annotated[str | None, typer.Option(help="Layers: 0,5,11; all by default.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels: token,digits,docs.source; those of token_labels by default."),
    ] = None,
    lag: Annotated[str, typer.Option(help="Tokens back: 0 itself, 1 the one before.")] = "0,1",
    least: Annotated[int, typer.Option(min=1, help="Tokens that a named class has at least.")] = 10,
    means: Annotated[int, typer.Option(min=0, help="Classes kept with means; 0: none.")] = 10,
    replace: ReplaceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score every neuron against every label of the tokens: label_scores, class_means."""
    with opened(warehouse) as wh:
        done = wh.analyze_labels(
            model, dataset=dataset, site=site, least=least, means=means,
            layers=None if layers is None else _numbers("--layers", layers),
            labels=None if labels is None else labels.split(","),
            lags=_numbers("--lag", lag), replace=replace, progress=not quiet,
        )  # fmt: skip
        what = f"{done.rows:,} rows in {done.seconds:.1f} s" if done.made else "was there already"
        typer.echo(f"{done.run}: {what}", err=True)
    typer.echo(done.run)


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text!r}: write numbers with commas, such as 0,1") from None
