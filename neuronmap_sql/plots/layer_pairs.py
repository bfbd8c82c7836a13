"""Layer against layer of two models: heat maps, one for each other model."""

from __future__ import annotations

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.picture import Picture, missing
from neuronmap_sql.plots.theme import data
from neuronmap_sql.queries.run import run

__all__ = ["MEASURES", "layer_pairs_picture"]

MEASURES = {
    "mean_max_r": "mean largest correlation within the partner's layer",
    "matched_share": "share of neurons whose best partner lies in the partner's layer",
    "mutual_share": "share of neurons that are the best partner of their best partner",
    "cka": "linear centred kernel alignment (CKA) of the two layers",
}
"""What a heat map may show, with its meaning."""

_PARTNERS = 8
_A_ROW = 4
_WIDTH = 160
_WRITTEN = 8
"""Layers up to which the cells hold their numbers."""


def layer_pairs_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, measure: str = "mean_max_r"
) -> Picture:
    """Draw the layers of a model against those of up to eight others, all in one scale of colours.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison; its `model` lies along the vertical axes.
        measure: mean_max_r, matched_share, mutual_share or cka.

    Raises:
        UnknownNameError: no such measure.
    """
    if measure not in MEASURES:
        raise UnknownNameError.of("measure of layers", measure, MEASURES)
    title = f"Layers of {among.model} and of other models"
    place = {"model": among.model, "site": among.site, "dataset": among.dataset}
    frames = {
        partner: run(con, "corresponding_layers", **place, partner=partner).pl()
        for partner in among.partners[:_PARTNERS]
    }
    frames = {partner: rows.drop_nulls(measure) for partner, rows in frames.items()}
    values = [value for rows in frames.values() for value in rows[measure]]
    if not values:
        return missing(title, "pairs of layers are not stored: `neuronmap compare` writes them")
    least = 0.0 if measure.endswith("share") else min(values)
    scale = alt.Scale(scheme="blues", domain=[least, max(values)])
    maps = [
        _heat_map(rows, among.model, partner, measure, scale) for partner, rows in frames.items()
    ]
    lines = [alt.hconcat(*maps[at : at + _A_ROW], spacing=22) for at in range(0, len(maps), _A_ROW)]
    notes = [MEASURES[measure]]
    if len(among.partners) > _PARTNERS:
        notes.append(f"{_PARTNERS} of {len(among.partners)} other models")
    return Picture(title, tuple(notes), alt.vconcat(*lines, spacing=20))


def _heat_map(
    rows: pl.DataFrame, model: str, partner: str, measure: str, scale: alt.Scale
) -> alt.LayerChart:
    rows = rows.select("layer", "partner_layer", *MEASURES)
    base = alt.Chart(data(rows)).encode(
        x=alt.X("partner_layer:O", title=f"layer of {partner}", axis=_axis(rows["partner_layer"])),
        y=alt.Y(
            "layer:O", title=f"layer of {model}", sort="descending", axis=_axis(rows["layer"], 36)
        ),
    )
    share = measure.endswith("share")
    legend = alt.Legend(
        title=None, gradientLength=110, tickCount=5, format=".0%" if share else "~r"
    )
    cells = base.mark_rect().encode(
        color=alt.Color(f"{measure}:Q", scale=scale, legend=legend),
        tooltip=["layer:O", "partner_layer:O", *(_shown(name) for name in MEASURES)],
    )
    if rows["partner_layer"].n_unique() > _WRITTEN:
        return alt.layer(cells).properties(width=_WIDTH, height=_WIDTH)
    [least, most] = scale.to_dict()["domain"]
    dark = f"datum.{measure} > {least + 0.6 * (most - least)}"
    numbers = base.mark_text(fontSize=10).encode(
        text=alt.Text(f"{measure}:Q", format=".0%" if share else ".2f"),
        color=alt.condition(dark, alt.value("white"), alt.value("black")),
    )
    return alt.layer(cells, numbers).properties(width=_WIDTH, height=_WIDTH)


def _axis(layers: pl.Series, extent: int = 0) -> alt.Axis:
    """Return an axis with each layer, or each second, third, ... where they are many."""
    found = layers.unique().sort().to_list()
    shown = found[:: max(1, -(-len(found) // 12))]
    return alt.Axis(
        values=shown, labelAngle=0, ticks=False, domain=False, titleLimit=_WIDTH, minExtent=extent
    )


def _shown(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".3f")
