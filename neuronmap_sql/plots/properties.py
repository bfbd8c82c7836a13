"""Universal neurons beside the others: how each statistic is distributed in both."""

from __future__ import annotations

from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.picture import Picture, missing
from neuronmap_sql.plots.theme import BLUE, GREY, data
from neuronmap_sql.queries.run import run

__all__ = ["properties_picture"]

_A_ROW = 3
_WIDTH = 190
_GROUPS = {True: "universal", False: "others"}


def properties_picture(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2
) -> Picture:
    """Draw each statistic of universal neurons and of the others, with effect size and p-value.

    A line reaches from the 5th to the 95th percentile, a bar over the quartiles, a dot marks the
    median. d is Cohen's; P is the chance that a universal neuron has the larger value; p is of the
    two-sided Mann-Whitney test, corrected for the number of statistics (query
    `universal_properties`).

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison; its `model` is described.
        threshold: excess correlation that universal neurons exceed.
    """
    title = f"Universal neurons of {among.model} beside the others"
    place = {**among.given, "site": among.site, "model": among.model, "threshold": threshold}
    try:
        quantiles = run(con, "property_quantiles", **place).pl()
    except UnknownNameError:
        quantiles = pl.DataFrame()
    if quantiles.is_empty():
        why = f"no statistics of {among.model} on {among.dataset} are stored: `neuronmap ingest`"
        return missing(title, f"{why} with --keep stats,weights writes them")
    tests = run(con, "universal_properties", **place).pl()
    if tests.is_empty():
        return missing(title, f"no neuron has an excess above {threshold:g}, or all have")
    return Picture(title, _notes(tests, threshold), _grid(quantiles, tests))


def _notes(tests: pl.DataFrame, threshold: float) -> tuple[str, ...]:
    first = tests.row(0, named=True)
    return (
        f"{first['universal']:,} neurons with an excess above {threshold:g} (blue) and"
        f" {first['others']:,} others (grey): median, quartiles, 5 % to 95 %",
        "d: Cohen's; P: chance that a universal neuron has the larger value; p: Mann-Whitney,"
        f" corrected for {tests.height} statistics (Benjamini-Hochberg)",
    )


def _grid(quantiles: pl.DataFrame, tests: pl.DataFrame) -> alt.VConcatChart:
    """Return the panels, the largest differences first."""
    distance = (pl.col("chance_larger") - 0.5).abs()
    order = tests.sort(distance, "measure", descending=[True, False]).to_dicts()
    panels = [_panel(quantiles, facts, at % _A_ROW == 0) for at, facts in enumerate(order)]
    lines = [
        alt.hconcat(*panels[at : at + _A_ROW], spacing=24) for at in range(0, len(panels), _A_ROW)
    ]
    return alt.vconcat(*lines, spacing=14)


def _panel(quantiles: pl.DataFrame, facts: dict[str, Any], first: bool) -> alt.LayerChart:
    rows = quantiles.filter(pl.col("measure") == facts["measure"]).with_columns(
        pl.col("universal").replace_strict(_GROUPS).alias("group")
    )
    axis = alt.Axis(title=None, labels=first, ticks=False, domain=False, minExtent=55 * first)
    colour = alt.Scale(domain=list(_GROUPS.values()), range=[BLUE, GREY])
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("group:N", sort=list(_GROUPS.values()), axis=axis),
        color=alt.Color("group:N", scale=colour, legend=None),
        tooltip=["group:N", *(_shown(name) for name in ("median", "q05", "q25", "q75", "q95"))],
    )
    span = alt.X("q05:Q", title=None, scale=alt.Scale(zero=False)).axis(
        tickCount=4, labelOverlap=True
    )
    return alt.layer(
        base.mark_rule().encode(x=span, x2="q95:Q"),
        base.mark_bar(height=9, opacity=0.75).encode(x="q25:Q", x2="q75:Q"),
        base.mark_point(filled=True, fill="white", size=34, opacity=1).encode(x="median:Q"),
    ).properties(width=_WIDTH, height=44, title=_heading(facts))


def _heading(facts: dict[str, Any]) -> alt.TitleParams:
    effect = "no variance" if facts["cohens_d"] is None else f"d {facts['cohens_d']:+.2f}"
    test = f"P {facts['chance_larger']:.2f}, p {_p(facts['p_corrected'])}"
    return alt.TitleParams(
        facts["measure"].replace("_", " "), subtitle=f"{effect}, {test}", anchor="start",
        fontSize=12, subtitleFontSize=11, offset=4,
    )  # fmt: skip


def _p(value: float | None) -> str:
    if value is None:
        return "unknown"
    # Beyond the range of doubles the tail of the normal distribution is 0.
    return f"{value:.2g}" if value > 1e-300 else "< 1e-300"


def _shown(name: str) -> alt.Tooltip:
    return alt.Tooltip(f"{name}:Q", format=".4g")
