"""A report as plain text, for terminals and mails."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from neuronmap_sql.reports.sections import Section

__all__ = ["as_text"]

_LINE = 100


def as_text(title: str, line: str, sections: Sequence[Section]) -> str:
    """Return a report as text: tables in columns, numbers on the right.

    Args:
        title: of the report.
        line: what it is about.
        sections: its tables.
    """
    head = [title, "=" * len(title), fill(line, _LINE)]
    return "\n\n".join(["\n".join(head), *map(_section, sections)]) + "\n"


def _section(section: Section) -> str:
    lines = [section.title, "-" * len(section.title), fill(section.note, _LINE)]
    return "\n".join([*lines, "", *_table(section)] if section.rows else lines)


def _table(section: Section) -> list[str]:
    cells = [section.columns, *section.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(row, widths, section.words) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int], words: frozenset[int]) -> str:
    placed = [
        cell.ljust(width) if at in words else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(placed).rstrip()
