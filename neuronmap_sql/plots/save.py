"""Write a chart as a picture or as a page that needs no network."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from neuronmap_sql.errors import StoreError, UsageError

__all__ = ["CONTROLS", "FORMATS", "embedded", "save", "script"]

FORMATS = (".html", ".json", ".pdf", ".png", ".svg")
"""Endings that `save` knows."""

_SCALE = 2
"""Pixels of a PNG per unit of the chart, for sharp text on today's screens."""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 16px; background: white; }}
{controls}
</style>
<script>{script}</script>
</head>
<body>
<div id="chart"></div>
<script>
{call}
</script>
</body>
</html>
"""

CONTROLS = """\
.chart-wrapper { display: flex; flex-direction: column; }
.vega-bindings { order: -1; position: sticky; top: 0; padding: 8px 14px; z-index: 1;
  font: 14px Helvetica, Arial, sans-serif; background: #f2f4f7; }
.vega-bind { display: inline-block; margin-right: 28px; }
.vega-bind input[type=range] { width: 320px; vertical-align: middle; }
"""
"""Style of a chart's sliders and choices: above the chart, in sight while one scrolls."""


def save(chart: alt.TopLevelMixin, path: str | Path) -> Path:
    """Write a chart; the ending of `path` says how.

    Args:
        chart: any Altair chart.
        path: file ending in .png, .svg, .pdf, .html (one page with all its scripts, no network) or
            .json (Vega-Lite); folders are made.

    Returns:
        The path.

    Raises:
        UsageError: another ending.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"cannot save a plot as {target.name!r}: end it in {', '.join(FORMATS)}")
    data = _render(chart.to_dict(), ending)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    return target


def _render(spec: dict[str, Any], ending: str) -> bytes:
    if ending == ".png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
    if ending == ".pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec))
    if ending == ".svg":
        return str(vl_convert.vegalite_to_svg(spec)).encode()
    if ending == ".json":
        return json.dumps(spec, ensure_ascii=False, indent=1).encode()
    return _page(spec).encode()


def _page(spec: dict[str, Any]) -> str:
    title = spec.get("title", "")
    title = title.get("text", "") if isinstance(title, dict) else title
    return _PAGE.format(
        title=html.escape(str(title)), controls=CONTROLS, script=script(),
        call=embedded(spec, "#chart"),
    )  # fmt: skip


def script() -> str:
    """Return the JavaScript of Vega, for a page that needs no network."""
    # The stub forgets that the snippet has a default.
    return vl_convert.javascript_bundle()  # type: ignore[call-arg]


def embedded(spec: dict[str, Any], place: str) -> str:
    """Return the JavaScript that draws a chart, after `script()`.

    Altair's own page puts the data into a script element as it is, so that a document which
    contains `</script>` ends it; here every `<` of the data is written as an escape.

    Args:
        spec: a chart as Vega-Lite.
        place: CSS selector of the element to draw it in.
    """
    text = json.dumps(spec).replace("<", "\\u003c")
    options = '{renderer: "svg", actions: {editor: false}}'
    return f'vegaEmbed("{place}", {text}, {options}).catch(console.error);'
