"""The dashboard's table: the neurons under the brush, with their partners."""

from __future__ import annotations

import altair as alt
import polars as pl

from neuronmap_sql.plots.dashboard_rows import text_data
from neuronmap_sql.plots.theme import GREY, data

__all__ = ["partner_table"]

_ROWS = 22
_ROW = 18
_WIDTH = 640
_COLUMNS = {
    "name": ("neuron", 52, "right", None),
    "max_r": ("max r", 102, "right", ".3f"),
    "baseline": ("baseline", 162, "right", ".3f"),
    "excess": ("excess", 214, "right", ".3f"),
    "partners": ("best partners (r)", 228, "left", None),
}
"""Heading, place in pixels, side, and number format of the columns."""


def partner_table(points: pl.DataFrame, brush: alt.Parameter) -> alt.LayerChart:
    """Return a table of the chosen model's selected neurons, the most universal first.

    Args:
        points: model, layer, neuron, max_r, baseline, excess and partners of neurons.
        brush: the selection; all are listed while it is empty.
    """
    base = (
        alt.Chart(text_data(points))
        .transform_filter("datum.model == chosen")
        .transform_filter(brush)
        .transform_window(
            place="row_number()",
            sort=[alt.SortField("excess", order="descending")],
            frame=[None, None],
            selected="count()",
        )
        .transform_filter(f"datum.place <= {_ROWS}")
        .transform_calculate(name="datum.layer + '.' + datum.neuron")
    )
    cells = [_column(base, name) for name in _COLUMNS]
    heads = [_heading(title, at, side) for title, at, side, _ in _COLUMNS.values()]
    count = (
        base.transform_filter("datum.place == 1")
        .transform_calculate(
            said=f"'the ' + min({_ROWS}, datum.selected) + ' most universal of '"
            " + format(datum.selected, ',') + ' selected neurons, as layer.neuron'"
        )
        .mark_text(align="left", fontSize=11, color=GREY)
        .encode(text="said:N", x=alt.value(0), y=alt.value(_ROW * (_ROWS + 1.5)))
    )
    title = alt.TitleParams("Selected neurons", anchor="start", fontSize=13, offset=6)
    return alt.layer(*heads, *cells, count).properties(width=_WIDTH, height=420, title=title)


def _column(base: alt.Chart, name: str) -> alt.Chart:
    _, at, side, form = _COLUMNS[name]
    text = alt.Text(f"{name}:N") if form is None else alt.Text(f"{name}:Q", format=form)
    rows = alt.Scale(domain=[0, _ROWS + 1], range=[0, _ROW * (_ROWS + 1)])
    limit = _WIDTH - at if side == "left" else 0
    return base.mark_text(align=side, fontSize=11, baseline="top", limit=limit).encode(
        x=alt.value(at),
        y=alt.Y("place:Q", scale=rows, axis=None),
        text=text,
        tooltip=alt.Tooltip("partners:N"),
    )


def _heading(title: str, at: int, side: str) -> alt.Chart:
    return (
        alt.Chart(data(pl.DataFrame({"title": [title]})))
        .mark_text(align=side, fontSize=11, fontWeight="bold", baseline="top")
        .encode(text="title:N", x=alt.value(at), y=alt.value(0))
    )
