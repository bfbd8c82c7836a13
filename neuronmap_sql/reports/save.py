"""Write a report; the ending of the file says how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

from neuronmap_sql.errors import StoreError, UsageError
from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.dashboard import dashboard_picture
from neuronmap_sql.plots.universality import universality_pictures
from neuronmap_sql.reports.page import as_page
from neuronmap_sql.reports.sections import headline, universality_sections
from neuronmap_sql.reports.text import as_text

__all__ = ["FORMATS", "save_universality", "universality_text"]

FORMATS = (".html", ".json", ".txt")
"""Endings that reports may have."""


def universality_text(report: dict[str, Any]) -> str:
    """Return a report on universality as text.

    Args:
        report: of `universality_report`.
    """
    return as_text(*headline(report), universality_sections(report))


def save_universality(
    report: dict[str, Any], con: duckdb.DuckDBPyConnection, among: Compared, path: str | Path
) -> Path:
    """Write a report on universality.

    Args:
        report: of `universality_report`.
        con: a connection with the warehouse's tables, for the pictures of a page.
        among: the comparison of the report.
        path: file ending in .html (tables, pictures and the dashboard on one page that needs no
            network), .json or .txt; folders are made.

    Returns:
        The path.

    Raises:
        UsageError: another ending.
        StoreError: the file cannot be written.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise UsageError(f"cannot save a report as {target.name!r}: end it in {', '.join(FORMATS)}")
    text = _rendered(report, con, among, ending)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror}") from error
    return target


def _rendered(
    report: dict[str, Any], con: duckdb.DuckDBPyConnection, among: Compared, ending: str
) -> str:
    if ending == ".json":
        return json.dumps(report, ensure_ascii=False, indent=1) + "\n"
    if ending == ".txt":
        return universality_text(report)
    threshold = report["threshold"]
    return as_page(
        *headline(report),
        universality_sections(report),
        list(universality_pictures(con, among, threshold=threshold).values()),
        dashboard_picture(con, among, threshold=threshold),
    )
