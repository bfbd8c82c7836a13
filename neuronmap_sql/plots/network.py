"""Neurons of models as a network: a column a model, lines between mutual best partners."""

from __future__ import annotations

from collections import Counter
from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.network_pairs import ALL, ALONE, SOME, network_pairs
from neuronmap_sql.plots.network_places import Neuron, places
from neuronmap_sql.plots.picture import Picture, missing
from neuronmap_sql.plots.theme import data

__all__ = ["network_picture"]

_EDGES = 300
_WIDTH = 720
_COLUMN = 120
"""Pixels of a model at least: the figure grows with their number."""
_LAYER = 120
"""Pixels of a layer's band, where there are few layers."""
_HEIGHT = 720
"""Pixels of all bands together at most."""
_GROUPS = {
    ALL: ("#d1495b", 0.9, 1.6),
    SOME: ("#2f6db5", 0.55, 0.9),
    ALONE: ("#9aa0a8", 0.55, 0.8),
}
"""Colour, opacity and width of the lines, by how many models agree on the pair."""


def network_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2
) -> Picture:
    """Draw the neurons of models that are each other's best partners, and lines between them.

    A column is a model, a band a layer; within a band neurons stand near the height of their
    partners. A pair is drawn where its correlation is in excess of both neurons' baselines; it is
    blue where a third model has a neuron that is paired with both, and red where every model has
    one and all of them are partners of each other (macro `matched_in_all`). At most 300 pairs are
    drawn, those that most models agree on, and of them those with the largest correlations.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation of a pair to exceed.
    """
    title = "Universal neurons and their mutual best partners"
    rows = network_pairs(con, among, threshold, _EDGES)
    if not rows:
        return missing(title, f"no pair of mutual partners has an excess above {threshold:g}")
    heights = places([(row["from"], row["to"]) for row in rows], among.models)
    return Picture(title, _notes(rows, threshold), _chart(rows, heights, among))


def _notes(rows: list[dict[str, Any]], threshold: float) -> tuple[str, ...]:
    total = rows[0]["total"]
    drawn = f"{len(rows):,} of {total:,}" if len(rows) < total else f"all {total:,}"
    neurons = {row[end] for row in rows for end in ("from", "to")}
    every = {row[end] for row in rows if row["group"] == ALL for end in ("from", "to")}
    return (
        f"{drawn} pairs of neurons that are each other's best partner, with a correlation more than"
        f" {threshold:g} above both baselines"
        + ("; those that most models agree on" if len(rows) < total else ""),
        f"{len(neurons):,} neurons, {len(every) or 'none'} of them in a set that all models share",
        "dotted lines pass over models between; in the band of a layer, neurons stand near their"
        " partners",
    )


def _chart(
    rows: list[dict[str, Any]], heights: dict[Neuron, float], among: Compared
) -> alt.LayerChart:
    columns = {model: at for at, model in enumerate(among.models)}
    layers = 1 + max(layer for _, layer, _ in heights)
    lines = _lines(rows, heights, columns, layers)
    dots = _dots(rows, heights, columns, layers)
    return alt.layer(lines, dots).properties(
        width=max(_WIDTH, _COLUMN * len(columns)), height=min(_HEIGHT, _LAYER * layers)
    )


def _lines(
    rows: list[dict[str, Any]],
    heights: dict[Neuron, float],
    columns: dict[str, int],
    layers: int,
) -> alt.Chart:
    ends = [
        {
            "x": columns[row["from"][0]], "y": heights[row["from"]],
            "x2": columns[row["to"][0]], "y2": heights[row["to"]],
            "pair": f"{_named(row['from'])} and {_named(row['to'])}",
            "r": row["r"], "excess": row["excess"], "group": row["group"],
            "over": abs(columns[row["from"][0]] - columns[row["to"][0]]) > 1,
        }
        for row in sorted(rows, key=lambda row: list(_GROUPS).index(row["group"]), reverse=True)
    ]  # fmt: skip
    groups, looks = list(_GROUPS), list(zip(*_GROUPS.values(), strict=True))
    colours, opacities, widths = map(list, looks)
    shown = [name for name in groups if any(row["group"] == name for row in rows)]
    legend = alt.Legend(
        title="models that agree on the pair", orient="top", titleLimit=300, values=shown,
        direction="horizontal", symbolSize=300, symbolOpacity=1,
    )  # fmt: skip
    return (
        alt.Chart(data(pl.DataFrame(ends)))
        .mark_rule()
        .encode(
            **_axes(columns, layers),
            x2="x2:Q",
            y2="y2:Q",
            color=alt.Color("group:N", legend=legend).scale(domain=groups, range=colours),
            opacity=alt.Opacity("group:N", legend=None).scale(domain=groups, range=opacities),
            strokeWidth=alt.StrokeWidth("group:N", legend=None).scale(domain=groups, range=widths),
            strokeDash=alt.StrokeDash("over:N", legend=None).scale(
                domain=[False, True], range=[[1, 0], [3, 3]]
            ),
            tooltip=["pair:N", *_numbers(), "group:N"],
        )
    )


def _dots(
    rows: list[dict[str, Any]],
    heights: dict[Neuron, float],
    columns: dict[str, int],
    layers: int,
) -> alt.Chart:
    ends = Counter(end for row in rows for end in (row["from"], row["to"]))
    dots = [
        {"model": key[0], "neuron": _named(key), "pairs": ends[key], "x": columns[key[0]], "y": at}
        for key, at in heights.items()
    ]
    models = list(columns)
    size = 40 if len(dots) < 300 else 22
    return (
        alt.Chart(data(pl.DataFrame(dots)))
        .mark_circle(size=size, opacity=1, stroke="white", strokeWidth=0.4)
        .encode(
            **_axes(columns, layers),
            fill=alt.Fill("model:N", legend=None).scale(scheme="tableau10", domain=models),
            tooltip=["neuron:N", "pairs:Q"],
        )
    )


def _numbers() -> list[alt.Tooltip]:
    return [alt.Tooltip(f"{name}:Q", format=".3f") for name in ("r", "excess")]


def _named(key: Neuron) -> str:
    return f"{key[0]} {key[1]}.{key[2]}"


def _axes(columns: dict[str, int], layers: int) -> dict[str, alt.X | alt.Y]:
    names = "[" + ", ".join(_quoted(name) for name in columns) + "][datum.value]"
    last = len(columns) - 1
    across = alt.Axis(
        values=list(columns.values()), labelExpr=names, orient="top", grid=False, domain=False,
        ticks=False, labelFontSize=12, labelOverlap=False, labelLimit=_COLUMN - 8, labelPadding=8,
        labelBaseline="bottom",
    )  # fmt: skip
    # Labels stand in the middle of bands, grid lines between them: the axis has both, every half.
    step = max(1, -(-layers // 16))
    middles = [layer + 0.5 for layer in range(0, layers, step)]
    up = alt.Axis(values=middles, labelExpr="format(datum.value - 0.5, 'd')", ticks=False)
    up.grid, up.domain, up.minExtent = False, False, 36
    return {
        "x": alt.X("x:Q", title=None, axis=across).scale(
            domain=[-0.12 * max(1, last), last * 1.12 or 0.12], nice=False
        ),
        "y": alt.Y("y:Q", title="layer", axis=up).scale(domain=[0, layers], nice=False),
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
