"""Label columns: their names and types in `docs`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neuronmap_sql.errors import DataError

__all__ = ["Parts", "finite", "label_column", "label_names"]

Parts = list[list[Any] | pa.Array]
"""The values of one label, batch by batch."""

_OWN = frozenset({"run", "dataset", "doc", "doc_id", "text"})
"""Columns of `docs`."""

_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
# A leading zero makes a code, such as a zip code, that a number would spoil.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?(?<=[\d.])([eE][+-]?\d+)?", re.ASCII)


def label_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name in `docs` of each label: `label_` before one that is taken there.

    SQL does not tell capitals from small letters, so neither does this.
    """
    taken, given = set(_OWN), {}
    for name in names:
        new = re.sub("[\ud800-\udfff]", "\ufffd", name) or "column"
        while new.lower() in taken:
            new = f"label_{new}"
        taken.add(new.lower())
        given[name] = new
    return given


def label_column(name: str, parts: Parts, parse: bool) -> pa.ChunkedArray:
    """Return a label as one column.

    Args:
        name: the label, for messages.
        parts: its values, batch by batch: Python values, or Arrow arrays that keep their type.
        parse: whether Python values are the strings of a CSV file, of which an empty one is NULL:
            they become integers, numbers, booleans, dates or times if all of them read so.

    Raises:
        DataError: files disagree about its type.
    """
    if not any(isinstance(part, pa.Array) for part in parts):
        values = [value for part in parts for value in part]
        return pa.chunked_array([_parsed(values) if parse else _typed(values)])
    arrays = [pa.array(part, pa.string()) if isinstance(part, list) else part for part in parts]
    tables = [pa.table({name: part}) for part in arrays]
    try:
        return pa.concat_tables(tables, promote_options="permissive")[name]
    except pa.ArrowException as error:
        raise DataError(f"label {name!r} has another type in another file: {error}") from error


def finite(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, int]:
    """Return a column with NULL for NaN and infinities, and how many there were.

    NaN in Parquet gives wrong answers: engines prune files by bounds that leave it out.
    """
    if not pa.types.is_floating(column.type):
        return column, 0
    held = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
    return held, held.null_count - column.null_count


def _typed(values: list[Any]) -> pa.Array:
    """Return JSON values as one type: booleans, integers, numbers or, where they differ, text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float} and float in kinds:
        return pa.array([None if v is None else _float(v) for v in values], pa.float64())
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], "string"
    )


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond the doubles
        return math.inf if value > 0 else -math.inf


def _parsed(strings: list[str]) -> pa.Array:
    """Return the strings of a CSV column as the first type that all of them read as."""
    values = [string or None for string in strings]
    filled = [value for value in values if value is not None]
    column = pa.array(values, pa.string())
    if not filled:
        return column
    if all(_INTEGER.fullmatch(value) for value in filled):
        return _cast(column, pa.int64())
    if all(_NUMBER.fullmatch(value) for value in filled):
        return _cast(column, pa.float64())
    if {value.lower() for value in filled} <= {"true", "false"}:
        return pc.equal(pc.utf8_lower(column), "true")
    dates = _cast(column, pa.date32())
    return dates if dates is not column else _cast(column, pa.timestamp("us"))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return the column as another type, or as it is if a value does not fit."""
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:
        return column
