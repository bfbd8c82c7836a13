"""Write docs/reference/*.md from the sources: they are the only place that says anything.

    python docs/generate.py            write the pages
    python docs/generate.py --check    change nothing; fail with a diff when a page is stale

Either way it fails when a command, option, table, column, macro, function, query, error, setting or
public name is undocumented.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reference_code import command_line, error_tree, python
from reference_declared import macros, named_queries, tables
from reference_page import Page
from reference_recipe import recipe

REFERENCE = Path(__file__).parent / "reference"

PAGES: dict[str, Callable[[Page], None]] = {
    "cli": command_line,
    "errors": error_tree,
    "macros": macros,
    "python": python,
    "queries": named_queries,
    "recipe": recipe,
    "tables": tables,
}
"""Pages by file name."""


def generate() -> tuple[dict[str, str], list[str]]:
    """Return the text of every page by name, and what is undocumented."""
    texts, gaps = {}, []
    for name, write in PAGES.items():
        page = Page()
        write(page)
        texts[name] = page.text()
        gaps += page.gaps
    return texts, gaps


def stale(texts: dict[str, str], place: Path) -> str:
    """Return the difference of the pages in a folder from what they should be; empty if none."""
    parts: list[str] = []
    for path in sorted({*place.glob("*.md"), *(place / f"{name}.md" for name in texts)}):
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = texts.get(path.stem, "")
        lines = difflib.unified_diff(
            old.splitlines(True),
            new.splitlines(True),
            f"{path.name} (there)",
            f"{path.name} (sources)",
        )
        parts += lines
    return "".join(parts)


def main(arguments: Sequence[str]) -> int:
    """Write or check; return the exit code."""
    texts, gaps = generate()
    for gap in gaps:
        sys.stderr.write(f"undocumented: {gap}\n")
    if "--check" in arguments:
        if difference := stale(texts, REFERENCE):
            sys.stderr.write(f"{difference}\ndocs/reference is stale: run `make docs`\n")
            return 1
        return 1 if gaps else 0
    REFERENCE.mkdir(exist_ok=True)
    for path in REFERENCE.glob("*.md"):
        path.unlink()
    for name, text in texts.items():
        (REFERENCE / f"{name}.md").write_text(text, encoding="utf-8")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
