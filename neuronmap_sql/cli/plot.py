"""`neuronmap plot`: a neuron, the profile of layers, a model, as PNG, SVG, PDF or HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronmap_sql.cli.common import WarehouseOption, opened

if TYPE_CHECKING:
    import altair as alt

__all__ = ["app"]

app = typer.Typer(help="Draw a neuron, layers or a model.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="Value of the column `model`.")]
SiteOption = Annotated[str, typer.Option(help="Hooked place.")]
DatasetOption = Annotated[str | None, typer.Option(help="Needed if there are several.")]
OutOption = Annotated[
    list[Path],
    typer.Option("--output", "-o", help="File: .png, .svg, .pdf, .html or .json. Repeatable."),
]


@app.command()
def neuron(
    model: ModelArgument,
    layer: Annotated[int, typer.Argument(help="Layer index, from 0.")],
    neuron: Annotated[int, typer.Argument(help="Neuron, from 0.")],
    output: OutOption,
    warehouse: WarehouseOption = Path(),
    site: SiteOption = "mlp",
    dataset: DatasetOption = None,
    k: Annotated[int, typer.Option(help="Tokens shown.")] = 20,
) -> None:
    """Draw a neuron: histogram of its activations, top tokens in context."""
    from neuronmap_sql.plots.neuron import neuron_chart  # late: altair takes a second

    with opened(warehouse) as wh:
        chart = neuron_chart(wh.connection, model, layer, neuron, site=site, dataset=dataset, k=k)
        _save(chart, output)


@app.command()
def layers(
    models: Annotated[list[str], typer.Argument(help="Values of the column `model`.")],
    output: OutOption,
    warehouse: WarehouseOption = Path(),
    site: SiteOption = "mlp",
    dataset: DatasetOption = None,
) -> None:
    """Draw the statistics of layers over depth, one line a model."""
    from neuronmap_sql.plots.layers import layers_chart

    with opened(warehouse) as wh:
        _save(layers_chart(wh.connection, *models, site=site, dataset=dataset), output)


@app.command()
def model(
    model: ModelArgument,
    output: OutOption,
    warehouse: WarehouseOption = Path(),
    site: SiteOption = "mlp",
    dataset: DatasetOption = None,
) -> None:
    """Draw a model's neurons: how peaked, how often active, layer by layer."""
    from neuronmap_sql.plots.overview import overview_chart

    with opened(warehouse) as wh:
        _save(overview_chart(wh.connection, model, site=site, dataset=dataset), output)


def _save(chart: alt.TopLevelMixin, paths: list[Path]) -> None:
    from neuronmap_sql.plots.save import save

    for path in paths:
        typer.echo(save(chart, path))
