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
_PEAKED = 8
_WIDTH, _HEIGHT = 760, 300
_MARGIN = 8
"""Pixels between the outermost points and the edges of the panel."""
_LETTER, _LINE = 6, 11
"""Pixels that a letter of a label is wide, and a label high."""
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

    At most 4,000 neurons are scattered, evenly chosen. The eight most peaked are ringed, listed in
    the subtitle, and labelled `layer.neuron` where no label of a more peaked one stands. The heat
    maps below show all: a column is a layer, its colours sum to 1. Measures of the weights are
    left out where they were not kept.

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
    peaked = run(con, "most_peaked_neurons", **place, k=_PEAKED).pl()
    bars = run(con, "neuron_distributions", **place).pl()
    maps = [_heat_map(bars, name) for name in _MEASURES if (bars["measure"] == name).any()]
    lines = [
        alt.hconcat(*maps[at : at + 2], spacing=24).resolve_scale(color="independent")
        for at in range(0, len(maps), 2)
    ]
    total = int(neurons["total"][0])
    drawn = f"{neurons.height:,} of {total:,}" if neurons.height < total else f"all {total:,}"
    subtitle = [
        f"{drawn} neurons of {site} on {chosen}",
        f"most peaked, ringed, as layer.neuron (kurtosis): {_listed(peaked)}",
        "heat maps: share of a layer's neurons",
    ]
    chart = alt.vconcat(_scatter(neurons, peaked), *lines, spacing=30)
    chart = chart.resolve_scale(color="independent")
    return styled(chart, f"Neurons of {model}", subtitle)


def _listed(peaked: pl.DataFrame) -> str:
    rows = peaked.select("layer", "neuron", "kurtosis").iter_rows()
    said = [f"{layer}.{neuron} ({kurtosis:.3g})" for layer, neuron, kurtosis in rows]
    return ", ".join(said) or "none has a kurtosis"


def _scatter(neurons: pl.DataFrame, peaked: pl.DataFrame) -> alt.LayerChart:
    columns = ["layer", "neuron", "fraction_active", "kurtosis"]
    rows, peaked = (frame.select(columns).drop_nulls() for frame in (neurons, peaked))
    every = pl.concat([rows, peaked])
    across = alt.Scale(domain=[0, _widest(every)], nice=False, padding=_MARGIN)
    along = alt.Scale(type="log", nice=False, padding=_MARGIN)
    axes = {
        "x": alt.X("fraction_active:Q", title="fraction active, P(x > 0)", scale=across).axis(
            format="~%", tickCount=10
        ),
        "y": alt.Y("kurtosis:Q", title="kurtosis (log)", scale=along).axis(
            tickCount=6, format="~r"
        ),
    }
    points = (
        alt.Chart(data(rows))
        .mark_circle(size=18, opacity=0.55)
        .encode(**axes, color=_layer_colour(rows), tooltip=[f"{name}:Q" for name in columns])
    )
    rings = alt.Chart(data(peaked)).mark_point(size=50, color="black", strokeWidth=1).encode(**axes)
    named = alt.Chart(data(_labels(peaked, every))).encode(**axes, text="name:N")
    text = {"align": "left", "dx": 7, "fontSize": 10}
    halo = named.mark_text(**text, stroke="white", strokeWidth=3, strokeOpacity=0.8)
    return alt.layer(points, rings, halo, named.mark_text(**text)).properties(
        width=_WIDTH, height=_HEIGHT
    )


def _layer_colour(rows: pl.DataFrame) -> alt.Color:
    """Return the colours of layers, an entry of the legend each, or each second, third, ..."""
    layers = rows["layer"].unique().sort().to_list()
    shown = layers[:: max(1, -(-len(layers) // 16))]
    return alt.Color("layer:Q", title="layer", scale=_DEPTH_COLOURS).legend(
        type="symbol", values=shown, format="d", symbolOpacity=1, symbolSize=60
    )


def _widest(every: pl.DataFrame) -> float:
    """Return the end of the x axis; where no neuron is ever active it still has a width."""
    return float(max([*every["fraction_active"], 0.01]))


def _labels(peaked: pl.DataFrame, every: pl.DataFrame) -> pl.DataFrame:
    """Return the most peaked neurons with names, none of which covers that of a more peaked one.

    Args:
        peaked: them, in descending order.
        every: all points of the panel, which set its scales.
    """
    heights = [math.log(value) for value in every["kurtosis"]] or [0.0]
    wide = (_WIDTH - 2 * _MARGIN) / _widest(every)
    tall = (_HEIGHT - 2 * _MARGIN) / ((max(heights) - min(heights)) or 1)
    kept: list[dict[str, Any]] = []
    for row in peaked.to_dicts():
        name = f"{row['layer']}.{row['neuron']}"
        reach = _LETTER * len(name)
        apart = [
            abs(row["fraction_active"] - other["fraction_active"]) * wide > reach
            or abs(math.log(row["kurtosis"] / other["kurtosis"])) * tall > _LINE
            for other in kept
        ]
        if all(apart):
            kept.append({**row, "name": name})
    return pl.DataFrame(kept)


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
