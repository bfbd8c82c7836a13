"""Universality in pictures: those that a warehouse has rows for, alone or on one page."""

from __future__ import annotations

from enum import StrEnum

import altair as alt
import duckdb

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.dashboard import dashboard_picture
from neuronmap_sql.plots.excess import excess_picture
from neuronmap_sql.plots.layer_pairs import layer_pairs_picture
from neuronmap_sql.plots.network import network_picture
from neuronmap_sql.plots.picture import Picture, drawn, stacked
from neuronmap_sql.plots.properties import properties_picture

__all__ = ["Part", "part_named", "universality_chart", "universality_pictures"]


class Part(StrEnum):
    """What to draw."""

    all = "all"
    excess = "excess"
    layers = "layers"
    properties = "properties"
    network = "network"
    dashboard = "dashboard"


def part_named(name: str) -> Part:
    """Return the part of that name.

    Raises:
        UnknownNameError: there is none; names the nearest.
    """
    if name not in list(Part):
        raise UnknownNameError.of("part", name, Part)
    return Part(name)


def universality_chart(
    con: duckdb.DuckDBPyConnection,
    among: Compared,
    part: Part = Part.all,
    *,
    threshold: float = 0.2,
    measure: str = "mean_max_r",
) -> alt.VConcatChart:
    """Draw one picture of a comparison, or all but the dashboard one below the other.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        part: which; `dashboard` is made for a browser.
        threshold: excess correlation from which neurons count as universal.
        measure: what heat maps of layers show: mean_max_r, matched_share, mutual_share or cka.

    Raises:
        UnknownNameError: no such measure.
    """
    if part is Part.dashboard:
        return drawn(dashboard_picture(con, among, threshold=threshold))
    pictures = universality_pictures(con, among, threshold=threshold, measure=measure)
    if part is not Part.all:
        return drawn(pictures[part])
    title = f"{among.model} beside {' and '.join(among.partners)}"
    if len(among.partners) > 3:
        title = f"{among.model} beside {len(among.partners)} other models"
    return stacked(list(pictures.values()), title, [among.said])


def universality_pictures(
    con: duckdb.DuckDBPyConnection,
    among: Compared,
    *,
    threshold: float = 0.2,
    measure: str = "mean_max_r",
) -> dict[Part, Picture]:
    """Return all pictures that stand still, in the order of a page.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation from which neurons count as universal.
        measure: what heat maps of layers show.

    Raises:
        UnknownNameError: no such measure.
    """
    return {
        Part.excess: excess_picture(con, among, threshold=threshold),
        Part.layers: layer_pairs_picture(con, among, measure=measure),
        Part.properties: properties_picture(con, among, threshold=threshold),
        Part.network: network_picture(con, among, threshold=threshold),
    }
