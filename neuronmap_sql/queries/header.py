"""Read the header of a query file: its comment is its docstring.

    -- Title, one sentence.
    --
    -- Description, any number of paragraphs.
    --
    -- $model VARCHAR: a parameter without a default is required.
    -- $site VARCHAR = 'mlp': one with a default;
    --   indented lines go on.
    --
    -- Example: $model = 'demo-a', $layer = 2

    SELECT ...

After aiosql and bigquery-etl. Whatever does not fit is refused with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neuronmap_sql.errors import QueryError, nearest
from neuronmap_sql.queries.values import REQUIRED, TYPES, Value, literal

__all__ = ["Header", "Parameter", "read_header", "used_parameters"]

_LITERAL = r"'(?:[^']|'')*'|\[[^\]]*\]|[^\s:,'\[\]]+"
_PARAMETER = re.compile(rf"\$(\w+) (\w+(?:\[\])?)(?: = ({_LITERAL}))?: (.+)")
_EXAMPLE = re.compile(rf"\$(\w+) = ({_LITERAL})(?:, |$)")
_SQL = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(\w+)", re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """A declared parameter of a query."""

    name: str
    """Name, without the `$`."""
    type: str
    """SQL type: one of INTEGER, DOUBLE, VARCHAR, BOOLEAN, or a list of them (`VARCHAR[]`)."""
    default: Value
    """Value when none is given; `REQUIRED` if one must be given."""
    doc: str
    """What it means."""

    @property
    def required(self) -> bool:
        """Whether a value must be given."""
        return self.default is REQUIRED


@dataclass(frozen=True)
class Header:
    """What the comment at the top of a query file says."""

    title: str
    """First line: the question in one sentence."""
    description: str
    """Paragraphs after it, parted by empty lines."""
    parameters: tuple[Parameter, ...]
    """In the order of their declaration."""
    example: dict[str, Value]
    """Values by parameter name that make sense on the demo warehouse."""


def read_header(path: Path, sql: str) -> Header:
    """Read the header of the query file `path` with the content `sql`.

    Raises:
        QueryError: file and line of what is missing or malformed.
    """
    lines = list(_comment_lines(sql))
    if not lines or not lines[0][1]:
        raise QueryError(f"{path}:1: a query starts with a comment that says what it answers")
    parameters: dict[str, Parameter] = {}
    example: dict[str, Value] | None = None
    paragraphs: list[str] = []
    for number, line in lines[1:]:
        where = f"{path}:{number}"
        if line.startswith("$"):
            parameter = _parameter(where, line)
            if parameter.name in parameters:
                raise QueryError(f"{where}: ${parameter.name} is declared twice")
            parameters[parameter.name] = parameter
        elif line.startswith("Example:"):
            example = _example(where, line.removeprefix("Example:").strip(), parameters)
        else:
            paragraphs.append(line)
    if example is None:
        raise QueryError(f"{path}:1: no example; add `-- Example: $name = value` or `-- Example:`")
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(paragraphs)).strip()
    return Header(lines[0][1], text, tuple(parameters.values()), example)


def used_parameters(sql: str) -> dict[str, int]:
    """Return the parameters that a statement uses, each with the line of its first use."""
    found: dict[str, int] = {}
    for match in _SQL.finditer(sql):
        if match[1]:
            found.setdefault(match[1], sql.count("\n", 0, match.start()) + 1)
    return found


def _comment_lines(sql: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the header's lines, continued lines joined to the one before."""
    held: tuple[int, str] | None = None
    for number, line in enumerate(sql.splitlines(), start=1):
        if not line.startswith("--"):
            break
        text = line[2:].removeprefix(" ").rstrip()
        if text.startswith("  ") and held:
            held = (held[0], f"{held[1]} {text.strip()}")
            continue
        if held:
            yield held
        held = (number, text)
    if held:
        yield held


def _parameter(where: str, line: str) -> Parameter:
    match = _PARAMETER.fullmatch(line)
    if not match:
        raise QueryError(f"{where}: expected `$name TYPE = default: meaning`, found {line!r}")
    name, kind, default, doc = match.groups()
    if kind not in TYPES:
        raise QueryError(f"{where}: ${name} has the type {kind}{nearest(kind, TYPES)}")
    return Parameter(name, kind, literal(where, kind, default) if default else REQUIRED, doc)


def _example(where: str, text: str, parameters: dict[str, Parameter]) -> dict[str, Value]:
    found = {match[1]: match[2] for match in _EXAMPLE.finditer(text)}
    if _EXAMPLE.sub("", text).strip():
        raise QueryError(f"{where}: expected `Example: $name = value, ...`, found {text!r}")
    unknown = [name for name in found if name not in parameters]
    if unknown:
        raise QueryError(
            f"{where}: the example gives ${unknown[0]}, which is not declared above it"
            f"{nearest(unknown[0], parameters)}"
        )
    missing = [p.name for p in parameters.values() if p.required and p.name not in found]
    if missing:
        raise QueryError(f"{where}: the example lacks ${missing[0]}, which has no default")
    return {name: literal(where, parameters[name].type, text) for name, text in found.items()}
