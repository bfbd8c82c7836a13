"""The overview of a model: its neurons scattered, and how each layer's are distributed."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.theme import data, measured_dataset, panel_title, styled
from neuronmap_sql.queries.run import run

__all__ = ["overview_chart"]

_POINTS = 4000
_LABELLED = 8
_WIDTH = 760
_DEPTH_COLOURS = alt.Scale(scheme=alt.SchemeParams(name="viridis", extent=[0, 0.9]))
_MEASURES = {
    "fraction_active": ("fraction active", ".0%"),
    "log10_kurtosis": ("kurtosis, log10 (Gaussian: 0.48)", "~r"),
    "in_out_cosine": ("cosine of input and output weights", "~r"),
    "vocab_kurtosis": ("kurtosis over the vocabulary", "~r"),
}


def overview_chart(
    con: duckdb.DuckDBPyConnection,
    model: str,
    *,
    site: str = "mlp",
    dataset: str | None = None,
) -> alt.VConcatChart:
    """Draw a model's neurons: kurtosis against fraction active, and distributions by layer.

    At most 4,000 neurons are scattered, evenly chosen; the most peaked are labelled `layer.neuron`.
    The heat maps below show all: a column is a layer, its colours sum to 1. Measures of the
    weights are left out where they were not kept.

    Args:
        con: a connection with the warehouse's tables.
        model: value of the column `model`.
        site: hooked place.
        dataset: needed if the model was measured on several.

    Raises:
        UnknownNameError: no statistics of the model at that site.
        UsageError: several datasets, and none named.
    """
    chosen = measured_dataset(con, model, site, dataset)
    place = {"model": model, "site": site, "dataset": chosen}
    neurons = run(con, "neurons_of_model", **place, k=_POINTS).pl()
    peaked = run(con, "most_peaked_neurons", **place, k=5 * _LABELLED).pl()
    bars = run(con, "neuron_distributions", **place).pl()
    maps = [_heat_map(bars, name) for name in _MEASURES if (bars["measure"] == name).any()]
    lines = [
        alt.hconcat(*maps[at : at + 2], spacing=24).resolve_scale(color="independent")
        for at in range(0, len(maps), 2)
    ]
    total = int(neurons["total"][0])
    drawn = f"{neurons.height:,} of {total:,}" if neurons.height < total else f"all {total:,}"
    subtitle = [
        f"{drawn} neurons of {site} on {chosen}; the most peaked are labelled layer.neuron",
        "heat maps: share of a layer's neurons",
    ]
    chart = alt.vconcat(_scatter(neurons, peaked), *lines, spacing=30)
    chart = chart.resolve_scale(color="independent")
    return styled(chart, f"Neurons of {model}", subtitle)


def _scatter(neurons: pl.DataFrame, peaked: pl.DataFrame) -> alt.LayerChart:
    axes = {
        "x": alt.X("fraction_active:Q", title="fraction active, P(x > 0)").axis(format=".0%"),
        "y": alt.Y(
            "kurtosis:Q", title="kurtosis (log)", scale=alt.Scale(type="log", nice=False, padding=8)
        ).axis(tickCount=6, format="~r"),
    }
    points = (
        alt.Chart(
            data(neurons.select("layer", "neuron", "fraction_active", "kurtosis").drop_nulls())
        )
        .mark_circle(size=18, opacity=0.55)
        .encode(
            **axes,
            color=alt.Color("layer:Q", title="layer", scale=_DEPTH_COLOURS).legend(
                format="d", tickMinStep=1, gradientLength=200
            ),
            tooltip=["layer:Q", "neuron:Q", "fraction_active:Q", "kurtosis:Q"],
        )
    )
    marked = alt.Chart(data(_labels(peaked))).encode(**axes)
    rings = marked.mark_point(size=50, color="black", strokeWidth=1)
    labels = marked.mark_text(align="left", dx=7, fontSize=10).encode(text="name:N")
    return alt.layer(points, rings, labels).properties(width=_WIDTH, height=300)


def _labels(peaked: pl.DataFrame) -> pl.DataFrame:
    """Return the most peaked neurons whose labels do not overlap those before them."""
    kept: list[dict[str, Any]] = []
    for row in peaked.select("layer", "neuron", "fraction_active", "kurtosis").to_dicts():
        apart = [
            abs(row["fraction_active"] - other["fraction_active"]) > 0.06
            or abs(math.log(row["kurtosis"] / other["kurtosis"])) > 0.2
            for other in kept
        ]
        if all(apart):
            kept.append({**row, "name": f"{row['layer']}.{row['neuron']}"})
    return pl.DataFrame(kept[:_LABELLED])


def _heat_map(bars: pl.DataFrame, name: str) -> alt.Chart:
    title, form = _MEASURES[name]
    rows = bars.filter(pl.col("measure") == name).select("layer", "bar_from", "bar_to", "share")
    depth = max(rows["layer"])
    axis = panel_title(title)
    axis.format, axis.grid = form, False
    step = max(1, -(-(depth + 1) // 16))
    return (
        alt.Chart(data(rows))
        .mark_rect()
        .encode(
            x=alt.X("layer:O", title="layer").axis(
                values=list(range(0, depth + 1, step)), labelAngle=0
            ),
            y=alt.Y("bar_from:Q", scale=alt.Scale(zero=False, nice=False), axis=axis),
            y2="bar_to:Q",
            color=alt.Color(
                "share:Q", scale=alt.Scale(scheme="blues", type="sqrt", domainMin=0), title=None
            ).legend(format=".0%", gradientLength=150),
            tooltip=["layer:O", "bar_from:Q", "bar_to:Q", alt.Tooltip("share:Q", format=".2%")],
        )
        .properties(width=280, height=180)
    )
