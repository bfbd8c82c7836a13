"""Labels out of JSON: the one type that all values of a column share, or else text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

__all__ = ["json_column", "mended", "strings_in"]

_SURROGATE = re.compile("[\ud800-\udfff]")

_DEEPEST = 16
"""Lists and objects inside each other that still become a type: engines have their limits."""


def json_column(values: list[Any]) -> tuple[pa.Array, bool]:
    """Return JSON values as one column, and whether they all are of its type.

    Booleans, integers, numbers and strings keep their type. Lists of one type become lists, objects
    of the same keys structs. Where values differ they become text, lists and objects as JSON.
    Dates are text, as JSON has none.
    """
    kind = _kind(values)
    if kind is None:
        return pa.array([_text(value) for value in values], pa.string()), False
    return pa.array([_fitted(value, kind) for value in values], kind), True


def strings_in(value: object) -> Iterator[str]:
    """Yield the strings in a JSON value, names of fields included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings_in(item)
    elif isinstance(value, dict):
        yield from strings_in([*value, *value.values()])


def mended(value: Any) -> Any:
    """Return a JSON value with U+FFFD for the lone surrogates in its strings."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {mended(name): mended(item) for name, item in value.items()}
    return value


def _kind(values: list[Any], depth: int = 0) -> pa.DataType | None:
    """Return the type that values share; None where they differ."""
    held = [value for value in values if value is not None]
    kinds = {type(value) for value in held}
    if kinds <= {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64() if all(-(2**63) <= value < 2**63 for value in held) else None
    if kinds == {int, float} or kinds == {float}:
        return pa.float64()
    if depth == _DEEPEST:
        return None
    if kinds == {list}:
        inner = _kind([item for value in held for item in value], depth + 1)
        return inner and pa.list_(inner)
    return _struct(held, depth + 1) if kinds == {dict} else None


def _struct(objects: list[dict[str, Any]], depth: int) -> pa.DataType | None:
    names = list(objects[0])
    # SQL does not tell capitals from small letters, and has no field without a name, nor NUL.
    if "" in names or not names or len({name.lower() for name in names}) < len(names):
        return None
    if any("\0" in name for name in names):
        return None
    if any(item.keys() != objects[0].keys() for item in objects):
        return None
    kinds = [_kind([item[name] for item in objects], depth) for name in names]
    if any(kind is None for kind in kinds):
        return None
    return pa.struct(list(zip(names, kinds, strict=True)))


def _fitted(value: Any, kind: pa.DataType) -> Any:
    """Return a value as Arrow takes it for a type: integers among numbers as floats."""
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [_fitted(item, kind.value_type) for item in value]
    if pa.types.is_struct(kind):
        return {field.name: _fitted(value[field.name], field.type) for field in kind}
    return _float(value) if pa.types.is_floating(kind) else value


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the doubles
        return math.inf if value > 0 else -math.inf


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
