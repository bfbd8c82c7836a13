"""A chart with its title and notes: drawn alone, as part of a page, or in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import altair as alt

from neuronmap_sql.plots.theme import styled

__all__ = ["Body", "Picture", "drawn", "missing", "stacked"]

Body: TypeAlias = alt.VConcatChart | alt.HConcatChart | alt.LayerChart


@dataclass(frozen=True)
class Picture:
    """One chart, still without fonts and colours of axes, so that it can stand beside others."""

    title: str
    """What it shows."""
    notes: tuple[str, ...]
    """Lines under the title: what is counted, what is left out, and why nothing is drawn."""
    body: Body | None
    """The chart; None where the warehouse has no rows for it."""


def drawn(picture: Picture) -> alt.VConcatChart:
    """Return a picture as a chart of its own."""
    return styled(alt.vconcat(_body(picture)), picture.title, list(picture.notes))


def stacked(pictures: Sequence[Picture], title: str, notes: Sequence[str]) -> alt.VConcatChart:
    """Return pictures one below the other, under a title that also says what is missing."""
    parts = [_titled(picture) for picture in pictures if picture.body is not None]
    absent = [f"{one.title}: {', '.join(one.notes)}" for one in pictures if one.body is None]
    chart = alt.vconcat(*parts, spacing=44).resolve_scale(color="independent")
    return styled(chart, title, [*notes, *absent])


def missing(title: str, why: str) -> Picture:
    """Return the picture of something that is not stored: it says so."""
    return Picture(title, (why,), None)


def _titled(picture: Picture) -> alt.TopLevelMixin:
    heading = alt.TitleParams(
        picture.title,
        subtitle=list(picture.notes),
        anchor="start",
        fontSize=15,
        offset=12,
    )
    chart: alt.TopLevelMixin = alt.vconcat(_body(picture)).properties(title=heading)
    return chart


def _body(picture: Picture) -> Body | alt.Chart:
    if picture.body is not None:
        return picture.body
    return alt.Chart(alt.InlineData(values=[])).mark_point().properties(width=600, height=1)
