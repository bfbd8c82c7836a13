"""A page of the reference in the making, and the Markdown that it is made of."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Page", "code", "plain"]

_NOTE = "<!-- Written by docs/generate.py; change the sources, then run `make docs`. -->"


@dataclass
class Page:
    """A page in the making, and what it could not say."""

    lines: list[str] = field(default_factory=list)
    """Markdown, a block an element."""
    gaps: list[str] = field(default_factory=list)
    """Names of undocumented things."""

    def add(self, *blocks: str) -> None:
        """Append blocks of Markdown."""
        self.lines.extend(blocks)

    def said(self, name: str, text: str | None) -> str:
        """Return a thing's documentation, noting the thing when it has none."""
        if not (text or "").strip():
            self.gaps.append(name)
        return inspect.cleandoc(text or "")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Append a table."""
        cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
        ruled = [["---"] * len(head), *cells]
        self.add("\n".join("| " + " | ".join(row) + " |" for row in [list(head), *ruled]))

    def text(self) -> str:
        """Return the page."""
        return "\n\n".join([_NOTE, *self.lines]) + "\n"


def code(text: str) -> str:
    """Return text as a code span."""
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """Return prose in which nothing is taken for HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;") for p in parts)
