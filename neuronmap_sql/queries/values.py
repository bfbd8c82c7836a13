"""Values of query parameters: SQL literals in headers, text from the command line, objects."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, TypeAlias

from neuronmap_sql.errors import QueryError, UsageError

__all__ = ["REQUIRED", "TYPES", "Scalar", "Value", "literal", "typed", "written"]


class _Required(Enum):
    """The default of a parameter that has none."""

    REQUIRED = "REQUIRED"


REQUIRED: Final = _Required.REQUIRED
Scalar: TypeAlias = bool | int | float | str
Value: TypeAlias = Scalar | list[Scalar] | Literal[_Required.REQUIRED] | None

_TRUTHS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def _boolean(text: str) -> bool:
    return _TRUTHS[text.lower()]


_READERS: dict[str, Callable[[str], Scalar]] = {
    "BOOLEAN": _boolean,
    "DOUBLE": float,
    "INTEGER": int,
    "VARCHAR": str,
}
_CLASSES: dict[str, tuple[type, ...]] = {
    "BOOLEAN": (bool,),
    "DOUBLE": (float, int),
    "INTEGER": (int,),
    "VARCHAR": (str,),
}
TYPES: Final = tuple(sorted([*_READERS, *(f"{name}[]" for name in _READERS)]))


def literal(where: str, kind: str, text: str) -> Value:
    """Read the SQL literal `text` of the type `kind`: NULL, 0.5, 'mlp', TRUE, ['a', 'b'].

    Raises:
        QueryError: it is not one; `where` (file:line) starts the message.
    """
    if text == "NULL":
        return None
    if kind.endswith("[]") != text.startswith("["):
        raise QueryError(f"{where}: {text} is not a literal of the type {kind}")
    if kind.endswith("[]"):
        items = re.findall(r"'(?:[^']|'')*'|[^\s,]+", text[1:-1])
        return [_scalar_literal(where, kind[:-2], item) for item in items]
    return _scalar_literal(where, kind, text)


def _scalar_literal(where: str, kind: str, text: str) -> Scalar:
    quoted = text.startswith("'")
    if quoted != (kind == "VARCHAR"):
        raise QueryError(f"{where}: {text} is not a literal of the type {kind}")
    try:
        return _READERS[kind](text[1:-1].replace("''", "'") if quoted else text)
    except (KeyError, ValueError):
        raise QueryError(f"{where}: {text} is not a literal of the type {kind}") from None


def typed(label: str, kind: str, value: object) -> Value:
    """Return `value` as the type `kind`; text is read, a list of a `[]` type is parted by commas.

    Raises:
        UsageError: it is not of that type; `label` names the parameter.
    """
    if value is None or (value == "NULL" and kind != "VARCHAR"):
        return None
    if not kind.endswith("[]"):
        return _scalar(label, kind, value)
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise UsageError(f"{label} wants a list ({kind}), got {value!r}")
    return [_scalar(label, kind[:-2], item) for item in items]


def _scalar(label: str, kind: str, value: object) -> Scalar:
    wrong = UsageError(f"{label} wants a value of the type {kind}, got {value!r}")
    if isinstance(value, str):
        try:
            return _READERS[kind](value)
        except (KeyError, ValueError):
            raise wrong from None
    # True is an int to Python, never to SQL.
    if isinstance(value, _CLASSES[kind]) and isinstance(value, bool) == (kind == "BOOLEAN"):
        assert isinstance(value, bool | int | float)
        return value
    raise wrong


def written(value: Value) -> str:
    """Write a value as the SQL literal that `literal` reads."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)
