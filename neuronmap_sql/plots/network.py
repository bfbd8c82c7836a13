"""Universal neurons as a network: a column a model, lines between mutual best partners."""

from __future__ import annotations

from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.network_places import Neuron, places
from neuronmap_sql.plots.picture import Picture, missing
from neuronmap_sql.plots.theme import data
from neuronmap_sql.queries.run import run

__all__ = ["network_picture"]

_EDGES = 600
_WIDTH = 720
_LAYER = 120
"""Pixels of a layer's band, where there are few layers."""
_HEIGHT = 720
"""Pixels of all bands together at most."""
_GROUPS = {
    "all models": ("#d1495b", 0.9, 1.6),
    "three or more": ("#2f6db5", 0.65, 1.1),
    "this pair only": ("#9aa0a8", 0.55, 0.8),
}
"""Colour, opacity and width of the lines, by how many models agree on the pair."""


def network_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2
) -> Picture:
    """Draw universal neurons of all models, and lines between those that are mutual partners.

    A column is a model, a band a layer; within a band neurons stand near the height of their
    partners. A pair is blue where a third model has a neuron that is the mutual partner of both,
    and red where every model has one and all of them are partners of each other (macro
    `matched_in_all`). At most 600 pairs are drawn, those with the largest correlations.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation that both neurons of a pair exceed.
    """
    title = "Universal neurons and their mutual best partners"
    place = {"models": list(among.models), "dataset": among.dataset}
    edges = run(
        con, "universal_network", **place, kind=among.kind, threshold=threshold, k=_EDGES
    ).pl()
    if edges.is_empty():
        return missing(title, f"no mutual partners have both an excess above {threshold:g}")
    cliques = _members(run(con, "neurons_in_all_models", **place, site=among.site).pl(), among)
    rows = [_marked(row, cliques, len(among.models)) for row in edges.to_dicts()]
    heights = places([(row["from"], row["to"]) for row in rows], among.models)
    return Picture(title, _notes(rows, threshold), _chart(rows, heights, among))


def _members(found: pl.DataFrame, among: Compared) -> dict[Neuron, int]:
    """Return the neurons of each clique, with the clique's number."""
    members: dict[Neuron, int] = {}
    for number, row in enumerate(found.to_dicts()):
        members[among.models[0], row["layer"], row["neuron"]] = number
        for partner in row["partner_neurons"]:
            members[partner["model"], partner["layer"], partner["neuron"]] = number
    return members


def _marked(row: dict[str, Any], cliques: dict[Neuron, int], models: int) -> dict[str, Any]:
    """Return a pair with its two neurons as keys, and how many models agree on it."""
    start = (row["model"], row["layer"], row["neuron"])
    end = (row["partner_model"], row["partner_layer"], row["partner_neuron"])
    group = "three or more" if row["agreeing"] else "this pair only"
    if models > 2 and start in cliques and cliques[start] == cliques.get(end):
        group = "all models"
    return {**row, "from": start, "to": end, "group": group}


def _notes(rows: list[dict[str, Any]], threshold: float) -> tuple[str, ...]:
    total = rows[0]["total"]
    drawn = f"the {len(rows):,} strongest of {total:,}" if len(rows) < total else f"all {total:,}"
    every = {row["from"] for row in rows if row["group"] == "all models"}
    every |= {row["to"] for row in rows if row["group"] == "all models"}
    neurons = {row["from"] for row in rows} | {row["to"] for row in rows}
    return (
        f"{drawn} pairs of neurons that are each other's best partner, both with an excess above"
        f" {threshold:g}: {len(neurons):,} neurons, {len(every):,} of them in a set that all"
        " models share",
        "within a layer's band, neurons stand near the height of their partners; dotted lines pass"
        " over models between",
    )


def _chart(
    rows: list[dict[str, Any]], heights: dict[Neuron, float], among: Compared
) -> alt.LayerChart:
    columns = {model: at for at, model in enumerate(among.models)}
    layers = 1 + max(layer for _, layer, _ in heights)
    lines = _lines(rows, heights, columns, layers)
    dots = _dots(rows, heights, columns, layers)
    return alt.layer(lines, dots).properties(width=_WIDTH, height=min(_HEIGHT, _LAYER * layers))


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
            "r": row["r"], "group": row["group"],
            "over": abs(columns[row["from"][0]] - columns[row["to"][0]]) > 1,
        }
        for row in sorted(rows, key=lambda row: list(_GROUPS).index(row["group"]), reverse=True)
    ]  # fmt: skip
    groups = [name for name in _GROUPS if any(row["group"] == name for row in rows)]
    colours, opacities, widths = map(list, zip(*map(_GROUPS.get, groups), strict=True))
    legend = alt.Legend(title="models that agree on the pair", orient="top", titleLimit=300)
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
            tooltip=["pair:N", alt.Tooltip("r:Q", format=".3f"), "group:N"],
        )
    )


def _dots(
    rows: list[dict[str, Any]],
    heights: dict[Neuron, float],
    columns: dict[str, int],
    layers: int,
) -> alt.Chart:
    excess = {row["from"]: row["excess"] for row in rows}
    excess |= {row["to"]: row["partner_excess"] for row in rows}
    dots = [
        {"model": key[0], "neuron": _named(key), "excess": excess[key],
         "x": columns[key[0]], "y": height}
        for key, height in heights.items()
    ]  # fmt: skip
    models = list(columns)
    size = 40 if len(dots) < 300 else 22
    return (
        alt.Chart(data(pl.DataFrame(dots)))
        .mark_circle(size=size, opacity=1, stroke="white", strokeWidth=0.4)
        .encode(
            **_axes(columns, layers),
            fill=alt.Fill("model:N", legend=None).scale(scheme="tableau10", domain=models),
            tooltip=["neuron:N", alt.Tooltip("excess:Q", format=".3f")],
        )
    )


def _named(key: Neuron) -> str:
    return f"{key[0]} {key[1]}.{key[2]}"


def _axes(columns: dict[str, int], layers: int) -> dict[str, alt.X | alt.Y]:
    names = "[" + ", ".join(_quoted(name) for name in columns) + "][datum.value]"
    last = len(columns) - 1
    across = alt.Axis(
        values=list(columns.values()), labelExpr=names, orient="top", grid=False, domain=False,
        ticks=False, labelFontSize=12, labelLimit=_WIDTH // max(1, last), labelPadding=8,
        labelBaseline="bottom",
    )  # fmt: skip
    # Labels stand in the middle of bands, grid lines between them: the axis has both, every half.
    step = max(1, -(-layers // 16))
    middles = [layer + 0.5 for layer in range(0, layers, step)]
    up = alt.Axis(values=middles, labelExpr="format(datum.value - 0.5, 'd')", ticks=False)
    up.grid, up.domain = False, False
    return {
        "x": alt.X("x:Q", title=None, axis=across).scale(
            domain=[-0.12 * max(1, last), last * 1.12 or 0.12], nice=False
        ),
        "y": alt.Y("y:Q", title="layer", axis=up).scale(domain=[0, layers], nice=False),
    }


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
