"""How well neurons are matched in other models, beside what the basis gives by chance."""

from __future__ import annotations

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.picture import Picture
from neuronmap_sql.plots.theme import BLUE, GREY, RED, data
from neuronmap_sql.queries.run import run

__all__ = ["excess_picture"]

_BIN = 0.02
_HEIGHT = 62
_NAMES = {"max_r": "largest correlation", "baseline": "rotated baseline"}


def excess_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2
) -> Picture:
    """Draw, a row a model, the largest correlations beside their baseline, and the excess.

    Bars are shares of the model's live neurons in bins of 0.02; each neuron's values are means over
    the other models. The red part of the excess is above the threshold; its share is of all
    neurons, dead ones too, as in the query `universality_by_model`.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation to exceed.
    """
    bins = run(con, "excess_distribution", **among.given, width=_BIN).pl()
    shares = run(con, "universality_by_model", **among.given, thresholds=[threshold]).pl()
    rows = [
        alt.hconcat(
            _correlations(bins, model, first=at == 0, last=at == len(among.models) - 1),
            _excess(bins, shares, model, threshold, last=at == len(among.models) - 1),
            spacing=16,
        )
        for at, model in enumerate(among.models)
    ]
    notes = (
        f"share of a model's live neurons, in bins of {_BIN}; means over"
        f" other models ({len(among.partners)}); excess: the largest correlation less the baseline",
        f"baseline: largest correlation with the other model's layers rotated ({among.kind})",
    )
    return Picture("Largest correlations and their excess", notes, alt.vconcat(*rows, spacing=4))


def _correlations(bins: pl.DataFrame, model: str, *, first: bool, last: bool) -> alt.Chart:
    rows = _of(bins, model, list(_NAMES)).with_columns(pl.col("measure").replace(_NAMES))
    legend = alt.Legend(title=None, orient="top", symbolOpacity=0.6) if first else None
    colour = alt.Scale(domain=list(_NAMES.values()), range=[BLUE, GREY])
    return (
        alt.Chart(data(rows))
        .mark_rect(opacity=0.55)
        .encode(
            **_bars(bins, list(_NAMES), last=last, title="correlation"),
            color=alt.Color("measure:N", scale=colour, legend=legend),
            tooltip=_tooltip("measure:N"),
        )
        .properties(width=380, height=_HEIGHT, title=_name(model))
    )


def _excess(
    bins: pl.DataFrame, shares: pl.DataFrame, model: str, threshold: float, *, last: bool
) -> alt.LayerChart:
    rows = _of(bins, model, ["excess"])
    # A bin that the threshold cuts through is cut, too.
    above = rows.filter(pl.col("high") > threshold + 1e-9).with_columns(
        pl.max_horizontal("low", pl.lit(threshold)).alias("low")
    )
    encoding = _bars(bins, ["excess"], last=last, title="excess")
    bars = [
        alt.Chart(data(part)).mark_rect(color=colour).encode(**encoding, tooltip=_tooltip())
        for part, colour in ((rows, BLUE), (above, RED))
    ]
    facts = shares.row(by_predicate=pl.col("model") == model, named=True)
    text = [f"{facts['shares'][0]:.2%} above {threshold:g}", f"mean {facts['mean_excess']:.3f}"]
    words = (
        alt.Chart(data(pl.DataFrame({"at": [0]})))
        .mark_text(align="right", baseline="top", fontSize=11, lineHeight=14, text=text)
        .encode(x=alt.value(296), y=alt.value(3))
    )
    return alt.layer(*bars, words).properties(width=300, height=_HEIGHT, title=" ")


def _name(model: str) -> alt.TitleParams:
    return alt.TitleParams(model, anchor="start", fontSize=12, offset=2, limit=370)


def _of(bins: pl.DataFrame, model: str, measures: list[str]) -> pl.DataFrame:
    wanted = (pl.col("model") == model) & pl.col("measure").is_in(measures)
    return bins.filter(wanted).select("measure", "low", "high", "neurons", "share")


def _bars(
    bins: pl.DataFrame, measures: list[str], *, last: bool, title: str
) -> dict[str, alt.X | alt.X2 | alt.Y | alt.Y2 | alt.YDatum]:
    """Return the encodings of bars, with the same axes for all models."""
    drawn = bins.filter(pl.col("measure").is_in(measures))
    across = alt.Scale(domain=[min([0.0, *drawn["low"]]), max(drawn["high"])], nice=False)
    up = alt.Scale(domain=[0, max(drawn["share"])])
    axis = alt.Axis(title=title if last else None, labels=last, ticks=last, tickCount=6)
    return {
        "x": alt.X("low:Q", scale=across, axis=axis),
        "x2": alt.X2("high:Q"),
        "y": alt.Y("share:Q", scale=up, title=None).axis(format="~%", tickCount=2, minExtent=55),
        "y2": alt.Y2(datum=0),
    }


def _tooltip(*more: str) -> list[str | alt.Tooltip]:
    return [
        *more,
        alt.Tooltip("low:Q", format=".2f", title="above"),
        alt.Tooltip("high:Q", format=".2f", title="up to"),
        alt.Tooltip("neurons:Q", format=",d"),
        alt.Tooltip("share:Q", format=".2%"),
    ]
