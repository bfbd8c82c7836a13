"""One look for all charts: sizes, colours, number formats."""

from __future__ import annotations

from typing import Any, TypeVar

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.queries.run import run

__all__ = [
    "BLUE",
    "FONT",
    "GREY",
    "MONO",
    "RED",
    "data",
    "measured_dataset",
    "panel_title",
    "styled",
]

BLUE = "#2f6db5"
GREY = "#8a8f98"
FONT = "Helvetica, Arial, sans-serif"
RED = "#d1495b"
MONO = "DejaVu Sans Mono, Menlo, Consolas, monospace"

Chart = TypeVar("Chart", alt.VConcatChart, alt.HConcatChart, alt.LayerChart, alt.FacetChart)


def styled(chart: Chart, title: str, subtitle: list[str]) -> Chart:
    """Return the chart with title, subtitle lines and the common look."""
    heading = alt.TitleParams(
        title, subtitle=subtitle, anchor="start", offset=14, fontSize=17, subtitlePadding=6
    )
    return (
        chart.properties(title=heading, padding=14, background="white")
        .configure(font=FONT)
        .configure_view(stroke=None)
        .configure_title(subtitleColor="#555555", subtitleFontSize=12, subtitleLineHeight=16)
        .configure_axis(
            labelFontSize=11, titleFontSize=12, titleFontWeight="normal", titlePadding=8,
            gridColor="#e8e8e8", domainColor="#b0b0b0", tickColor="#b0b0b0",
        )
        .configure_legend(labelFontSize=11, titleFontSize=12, titleFontWeight="normal")
        .configure_header(labelFontSize=12, titleFontSize=12)
    )  # fmt: skip


def data(rows: pl.DataFrame) -> alt.InlineData:
    """Return rows as data that the chart holds, however many there are.

    Altair refuses frames above 5,000 rows unless a global switch is set; ours are bounded by the
    queries that make them.
    """
    values: list[dict[str, Any]] = rows.to_dicts()
    return alt.InlineData(values=values)


def panel_title(title: str) -> alt.Axis:
    """Return a y axis whose title stands level above the panel.

    A chart's own title moves with the axis labels, so that neighbours do not line up.
    """
    return alt.Axis(
        title=title, titleAngle=0, titleAlign="left", titleAnchor="end", titleBaseline="bottom",
        titleX=0, titleY=-9, titleFontSize=13, minExtent=42,
    )  # fmt: skip


def measured_dataset(
    con: duckdb.DuckDBPyConnection, model: str, site: str, dataset: str | None
) -> str:
    """Return the dataset to draw: the one asked for, or the only one of the model and site.

    Raises:
        UnknownNameError: no statistics of that model, site or dataset; names the nearest.
        UsageError: it has several and none was named.
    """
    profile = run(con, "layer_profile", model=model, site=site).pl()
    found = profile["dataset"].unique().sort().to_list()
    if dataset is None and len(found) > 1:
        raise UsageError(f"{model} was measured on {', '.join(found)}: name the dataset to draw")
    if dataset is not None and dataset not in found:
        raise UnknownNameError.of("dataset", dataset, found, f"measured for {model} at {site}")
    return dataset or str(found[0])
