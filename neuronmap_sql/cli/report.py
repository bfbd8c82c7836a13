"""`neuronmap report`: numbers and pictures of one subject, as a page, as JSON or as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.compared import (
    ComparedModelArgument,
    ComparedSiteOption,
    KindOption,
    PartnerOption,
    ThresholdOption,
)

__all__ = ["app"]

app = typer.Typer(help="Report on models beside each other.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `universality` a word of its own while it is the only report."""


@app.command()
def universality(
    model: ComparedModelArgument = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", help="File: .html, .json or .txt; none: text is printed. Repeatable."
        ),
    ] = None,
    warehouse: WarehouseOption = Path(),
    partner: PartnerOption = None,
    kind: KindOption = None,
    threshold: ThresholdOption = 0.2,
    k: Annotated[int, typer.Option(help="Universal neurons listed of each model.")] = 10,
    site: ComparedSiteOption = None,
    dataset: Annotated[str | None, typer.Option(help="Needed if there are several.")] = None,
) -> None:
    """Report how universal neurons are: models, layers, partners, matchings, properties.

    Wants a comparison (`neuronmap compare`) with baselines. A page holds pictures and the dashboard
    too, and needs no network.
    """
    # Late: altair takes a second.
    from neuronmap_sql.plots.compared import compared
    from neuronmap_sql.reports.save import save_universality, universality_text
    from neuronmap_sql.reports.universality import universality_report

    with opened(warehouse) as wh:
        con = wh.connection
        among = compared(con, model, partner or (), kind=kind, site=site, dataset=dataset)
        report = universality_report(con, among, threshold=threshold, k=k)
        if not output:
            typer.echo(universality_text(report), nl=False)
        for path in output or []:
            typer.echo(save_universality(report, con, among, path))
