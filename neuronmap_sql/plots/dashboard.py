"""The dashboard: universality by threshold, model and neuron, as one page to play with."""

from __future__ import annotations

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.dashboard_rows import STEP, neuron_counts, neuron_points, text_data
from neuronmap_sql.plots.dashboard_table import partner_table
from neuronmap_sql.plots.picture import Picture
from neuronmap_sql.plots.theme import BLUE, GREY, RED, data

__all__ = ["dashboard_picture"]

_WIDTH = 420
_SIDE = 560


def dashboard_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2
) -> Picture:
    """Return an interactive page: slider, choice of a model, four charts that follow them.

    The slider sets the excess that counts as universal: shares of models and layers follow, from
    counts of all neurons in steps of 0.01. Below, the chosen model's neurons: a rectangle drawn
    over them selects those that the table lists with their partners. At most 8,000 neurons of all
    models together are drawn, of each model half of them the most universal ones, the rest evenly
    chosen by excess.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison; its `model` is chosen first.
        threshold: where the slider stands first.
    """
    counts = neuron_counts(con, among)
    points = neuron_points(con, among)
    slider = alt.param(
        name="threshold", value=round(threshold, 2),
        bind=alt.binding_range(min=0, max=1, step=STEP, name="excess above "),
    )  # fmt: skip
    choice = alt.param(
        name="chosen", value=among.model,
        bind=alt.binding_select(options=list(among.models), name="model "),
    )  # fmt: skip
    brush = alt.selection_interval(name="brush")
    top = alt.hconcat(_models(counts, among), _layers(counts, among), spacing=40)
    bottom = alt.hconcat(_scatter(points, brush), partner_table(points, brush), spacing=40)
    body = alt.vconcat(top, bottom, spacing=30).resolve_scale(color="independent")
    return Picture(
        f"Universal neurons of {len(among.models)} models", _notes(points, among),
        body.add_params(slider, choice),
    )  # fmt: skip


def _notes(points: pl.DataFrame, among: Compared) -> tuple[str, ...]:
    total = sum(points.group_by("model").agg(pl.col("total").first())["total"])
    drawn = (
        f"all {total:,} live neurons are drawn"
        if points.height == total
        else f"{points.height:,} of {total:,} live neurons are drawn: of each model the most"
        " universal, and others evenly by excess; the shares are of all"
    )
    return (
        f"{among.said}; baseline: {among.kind}",
        f"{drawn}. Drag a rectangle over the dots to list neurons, click beside it to list all.",
    )


def _shares(counts: pl.DataFrame, *keys: str) -> alt.Chart:
    """Return a chart of the share above the threshold, by some columns."""
    # The slider's value is no multiple of 0.01 in binary: 0.29 * 100 is less than 29.
    above = f"datum.step > round(threshold / {STEP}) ? datum.neurons : 0"
    return (
        alt.Chart(text_data(counts))
        .transform_calculate(universal=above)
        .transform_aggregate(universal="sum(universal)", neurons="sum(neurons)", groupby=list(keys))
        .transform_calculate(share="datum.universal / datum.neurons")
    )


def _shown(*more: str) -> list[str | alt.Tooltip]:
    return [
        *more,
        alt.Tooltip("universal:Q", format=",d"),
        alt.Tooltip("neurons:Q", format=",d"),
        alt.Tooltip("share:Q", format=".2%"),
    ]


def _models(counts: pl.DataFrame, among: Compared) -> alt.LayerChart:
    base = _shares(counts, "model").encode(
        x=alt.X("share:Q", title="share of neurons").axis(format="~%"),
        y=alt.Y("model:N", title=None, sort=list(among.models)).axis(labelLimit=140),
        tooltip=_shown("model:N"),
    )
    bars = base.mark_bar(height=alt.RelativeBandSize(0.7)).encode(
        color=alt.condition("datum.model == chosen", alt.value(RED), alt.value(BLUE))
    )
    words = base.transform_calculate(
        said="format(datum.universal, ',') + ' of ' + format(datum.neurons, ',')"
    ).mark_text(align="left", dx=5, fontSize=11)
    return alt.layer(bars, words.encode(text="said:N")).properties(
        width=_WIDTH,
        height=max(110, 22 * len(among.models)),
        title=_heading("Models: neurons above the threshold"),
    )


def _layers(counts: pl.DataFrame, among: Compared) -> alt.LayerChart:
    base = _shares(counts, "model", "layer").encode(
        x=alt.X("layer:O", title="layer").axis(labelAngle=0, labelOverlap=True),
        y=alt.Y("share:Q", title="share").axis(format="~%", tickCount=5),
        detail="model:N",
        tooltip=_shown("model:N", "layer:O"),
    )
    others = base.mark_line(color=GREY, opacity=0.5, strokeWidth=1.2)
    mine = base.transform_filter("datum.model == chosen").mark_line(
        color=RED, strokeWidth=2.4, point=alt.OverlayMarkDef(color=RED, size=40)
    )
    return alt.layer(others, mine).properties(
        width=_SIDE,
        height=max(110, 22 * len(among.models)),
        title=_heading("Layers: share above the threshold; red: the chosen model"),
    )


def _scatter(points: pl.DataFrame, brush: alt.Parameter) -> alt.LayerChart:
    ends = [min(points["baseline"]), max(points["baseline"])]
    axes = {
        "x": alt.X("baseline:Q", title="rotated baseline").scale(zero=False, nice=False, padding=8),
        "y": alt.Y("max_r:Q", title="largest correlation").scale(zero=False, nice=False, padding=8),
    }
    dots = (
        alt.Chart(text_data(points))
        .transform_filter("datum.model == chosen")
        .mark_circle(size=22, opacity=0.6)
        .encode(
            **axes,
            color=alt.condition("datum.excess > threshold", alt.value(BLUE), alt.value(GREY)),
            tooltip=["layer:Q", "neuron:Q", "max_r:Q", "baseline:Q", "excess:Q", "partners:N"],
        )
        .add_params(brush)
    )
    line = (
        alt.Chart(data(pl.DataFrame({"baseline": ends})))
        .transform_calculate(max_r="datum.baseline + threshold")
        .mark_line(color=RED, strokeDash=[4, 3], clip=True)
        .encode(**axes)
    )
    return alt.layer(dots, line).properties(
        width=_WIDTH,
        height=420,
        title=_heading("Neurons of the chosen model; blue: above the threshold"),
    )


def _heading(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, anchor="start", fontSize=13, offset=6)
