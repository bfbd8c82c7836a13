"""A report as one HTML page with its pictures and scripts in it: no network, no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import vl_convert
from jinja2 import Environment, PackageLoader

from neuronmap_sql.plots.picture import Picture, drawn
from neuronmap_sql.plots.save import CONTROLS, embedded, script
from neuronmap_sql.reports.sections import Section

__all__ = ["as_page"]


@dataclass(frozen=True)
class _Figure:
    """A picture as the page has it."""

    title: str
    notes: tuple[str, ...]
    source: str
    """The drawing as a data URL: an SVG in the page itself would share its ids with others."""


def as_page(
    title: str,
    line: str,
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    dashboard: Picture | None = None,
) -> str:
    """Return a report as HTML.

    Args:
        title: of the report.
        line: what it is about.
        sections: its tables.
        pictures: drawn as they stand; those without rows say why.
        dashboard: an interactive picture for the end of the page.
    """
    spec = None if dashboard is None else drawn(dashboard).to_dict()
    template = Environment(
        loader=PackageLoader("neuronmap_sql.reports", "."), autoescape=True, trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")  # fmt: skip
    return template.render(
        title=title, line=line, sections=sections, figures=[_figure(one) for one in pictures],
        controls=CONTROLS, script=None if spec is None else script(),
        call=None if spec is None else embedded(spec, "#dashboard"),
    )  # fmt: skip


def _figure(picture: Picture) -> _Figure:
    if picture.body is None:
        return _Figure(picture.title, picture.notes, "")
    svg = str(vl_convert.vegalite_to_svg(_bare(picture).to_dict()))
    encoded = base64.b64encode(svg.encode()).decode()
    return _Figure(picture.title, picture.notes, f"data:image/svg+xml;base64,{encoded}")


def _bare(picture: Picture) -> alt.VConcatChart:
    """Return the chart without its title and notes, which the page writes itself."""
    return drawn(Picture("", (), picture.body))
