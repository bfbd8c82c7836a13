"""Label columns: their names and types in `docs`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.json_values import json_column
from neuronmap_sql.ingest.data.nested import on_leaves

__all__ = ["Parts", "label_column", "label_names"]

Parts = list[list[Any] | pa.Array]
"""The values of one label, batch by batch."""

_OWN = frozenset({"run", "dataset", "doc", "doc_id", "text"})
"""Columns of `docs`."""

_MIXED = "values of several types became text, lists and objects as JSON"
_DURATION = "durations became seconds: Parquet has none"
_DECIMAL = "decimals of more than 38 digits became DOUBLE"
_INFINITE = "NaN and infinities that became NULL: {}"

_FIELD = re.compile(r"[^\0]+").fullmatch
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d*)", re.ASCII)
# A leading zero makes a code, such as a zip code, that a number would spoil.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)?(\.\d*)?(?<=[\d.])([eE][+-]?\d+)?", re.ASCII)


def label_names(names: Iterable[str]) -> dict[str, str]:
    """Return the name in `docs` of each label: `label_` before one that is taken there.

    SQL does not tell capitals from small letters, so neither does this; and it has no NUL.
    """
    taken, given = set(_OWN), {}
    for name in names:
        new = re.sub("[\0\ud800-\udfff]", "\ufffd", name) or "column"
        while new.lower() in taken:
            new = f"label_{new}"
        taken.add(new.lower())
        given[name] = new
    return given


def label_column(name: str, parts: Parts, parse: bool) -> tuple[pa.ChunkedArray, list[str]]:
    """Return a label as one column that the store keeps, and what had to be changed, in words.

    Args:
        name: the label, for messages.
        parts: its values, batch by batch: Python values, or Arrow arrays that keep their type.
        parse: whether Python values are the strings of a CSV file, of which an empty one is NULL:
            they become integers, numbers, booleans, dates or times if all of them read so.
            Otherwise they are JSON.

    Raises:
        DataError: files disagree about its type, or a field in it has a name that SQL has not.
    """
    if any(isinstance(part, pa.Array) for part in parts):
        joined = _joined(name, parts)
        _refuse_fields(name, joined.type)
        return _storable(joined, Counter())
    values = [value for part in parts for value in part]
    array, uniform = (_parsed(values), True) if parse else json_column(values)
    return _storable(pa.chunked_array([array]), Counter() if uniform else Counter([_MIXED]))


def _joined(name: str, parts: Parts) -> pa.ChunkedArray:
    """Return Arrow's arrays, and Python's strings among them, as one column."""
    try:
        tables = [pa.table({name: pa.array(p) if isinstance(p, list) else p}) for p in parts]
        return pa.concat_tables(tables, promote_options="permissive")[name]
    except pa.ArrowException as error:
        raise DataError(f"label {name!r} has another type in another file: {error}") from error


def _refuse_fields(name: str, kind: pa.DataType) -> None:
    fields = [kind.field(number) for number in range(kind.num_fields)]
    names = [field.name for field in fields]
    if pa.types.is_struct(kind) and (len(set(names)) < len(names) or not all(map(_FIELD, names))):
        raise DataError(
            f"label {name!r}: in {kind} a field has no name, the name of another, or a NUL in its"
            " name: rename it in the data, or leave the label out of data.labels"
        )
    for field in fields:
        _refuse_fields(name, field.type)


def _storable(column: pa.ChunkedArray, said: Counter[str]) -> tuple[pa.ChunkedArray, list[str]]:
    """Return a column without what Parquet or the engine would spoil, and notes about it."""

    def change(leaf: pa.Array) -> pa.Array:
        if pa.types.is_duration(leaf.type):
            said[_DURATION] += 1
            return _seconds(leaf)
        if pa.types.is_decimal256(leaf.type):
            said[_DECIMAL] += 1
            return leaf.cast(pa.float64())
        if not pa.types.is_floating(leaf.type):
            return leaf
        # NaN in Parquet gives wrong answers: engines prune files by bounds that leave it out.
        bad = pc.invert(pc.is_finite(leaf))
        said[_INFINITE] += pc.sum(bad).as_py() or 0
        return pc.if_else(bad, pa.scalar(None, leaf.type), leaf) if pc.any(bad).as_py() else leaf

    chunks = [on_leaves(chunk, change) for chunk in column.iterchunks()]
    kept = pa.chunked_array(chunks, chunks[0].type) if chunks else column
    return kept, [note.format(count) for note, count in said.items() if count]


def _seconds(durations: pa.Array) -> pa.Array:
    ticks = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[durations.type.unit]
    return pc.divide(durations.cast(pa.int64()).cast(pa.float64(), safe=False), ticks)


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
