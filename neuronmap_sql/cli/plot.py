"""`neuronmap plot`: a neuron, layers, a model, a comparison, as PNG, SVG, PDF or HTML."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.compared import (
    ComparedModelArgument,
    ComparedSiteOption,
    KindOption,
    PartnerOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    import altair as alt

__all__ = ["app"]

app = typer.Typer(
    help="Draw a neuron, layers, a model, or models beside each other.", no_args_is_help=True
)

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


@app.command()
def universality(
    output: OutOption,
    model: ComparedModelArgument = None,
    warehouse: WarehouseOption = Path(),
    partner: PartnerOption = None,
    kind: KindOption = None,
    threshold: ThresholdOption = 0.2,
    part: Annotated[
        str,
        typer.Option(
            help="all, or one picture: excess, layers, properties, network; or dashboard, a page"
            " with a slider and a table, for .html."
        ),
    ] = "all",
    measure: Annotated[
        str,
        typer.Option(help="What is drawn of layers: mean_max_r, matched_share, mutual_share, cka."),
    ] = "mean_max_r",
    site: ComparedSiteOption = None,
    dataset: DatasetOption = None,
) -> None:
    """Draw how universal neurons are: excess, layers, properties, a network, or a dashboard.

    Wants a comparison (`neuronmap compare`) with baselines.
    """
    from neuronmap_sql.plots.compared import compared
    from neuronmap_sql.plots.universality import part_named, universality_chart

    with opened(warehouse) as wh:
        con = wh.connection
        among = compared(con, model, partner or (), kind=kind, site=site, dataset=dataset)
        chart = universality_chart(
            con, among, part_named(part), threshold=threshold, measure=measure
        )
        _save(chart, output)


def _save(chart: alt.TopLevelMixin, paths: list[Path]) -> None:
    from neuronmap_sql.plots.save import save

    for path in paths:
        typer.echo(save(chart, path))
