"""Read JSON Lines and plain text row by row, with each document's file and line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from neuronmap_sql.errors import DataError, nearest
from neuronmap_sql.ingest.data.sources import Source, text_lines, whole_file
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["Rows", "chosen", "read_files", "read_jsonl", "read_lines"]

_BATCH = 1024
"""Rows yielded at once."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a source, as they stand there; bad bytes of strings are lone surrogates."""

    places: list[str] = field(default_factory=list)
    """File and line (or row, from 1) of each."""
    ids: list[str | None] = field(default_factory=list)
    """Ids, where there are any."""
    texts: list[object] = field(default_factory=list)
    """Texts; None where missing."""
    labels: dict[str, list[Any] | pa.Array] = field(default_factory=dict)
    """Label columns by name, one value a row."""


def chosen(data: DataSettings, known: Iterable[str], name: str) -> tuple[str, list[str]]:
    """Return the id column (empty: there is none) and the label columns of a file.

    Raises:
        DataError: the file lacks a column that the recipe names.
    """
    known = list(known)
    id_column = data.id or ("id" if "id" in known else "")
    for key, column in _wanted(data):
        if column not in known:
            raise DataError(f"{name}: no column {column!r} (data.{key}){nearest(column, known)}")
    if "*" in data.labels:
        return id_column, [column for column in known if column not in (data.text, id_column)]
    return id_column, list(data.labels)


def read_jsonl(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield the objects of a JSON Lines file."""
    known: dict[str, None] = {}
    batch: list[tuple[str, dict[str, Any]]] = []
    for number, line in text_lines(source, data.encoding_errors):
        if line.strip():
            row = _json_object(line, f"{source.name}:{number}")
            known.update(dict.fromkeys(row))
            batch.append((f"{source.name}:{number}", row))
        if len(batch) == _BATCH:
            yield _json_rows(batch, data)
            batch = []
    if known:  # only the whole file shows which columns there are
        chosen(data, known, source.name)
    yield _json_rows(batch, data)


def read_lines(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield a document for each line of a text file."""
    _refuse_columns(source, data)
    rows = Rows()
    for number, line in text_lines(source, data.encoding_errors):
        rows.places.append(f"{source.name}:{number}")
        rows.ids.append(None)
        rows.texts.append(line.removesuffix("\n").removesuffix("\r"))
        if len(rows.texts) == _BATCH:
            yield rows
            rows = Rows()
    yield rows


def read_files(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield a file as one document, its line ends as they are; its id is the file's name."""
    _refuse_columns(source, data)
    yield Rows([source.name], [None], [whole_file(source, data.encoding_errors)])


def _wanted(data: DataSettings) -> list[tuple[str, str]]:
    """Return the columns that the recipe names, each with its key."""
    named = [("text", data.text), ("id", data.id)]
    return [(key, name) for key, name in named if name] + [
        ("labels", name) for name in data.labels if name != "*"
    ]


def _refuse_columns(source: Source, data: DataSettings) -> None:
    if data.id or set(data.labels) - {"*"}:
        raise DataError(
            f"{source.name}: plain text has no columns: leave out data.id and data.labels, or set "
            "data.format"
        )


def _json_object(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        hint = "; a whole JSON array must be one object a line" if line.lstrip()[:1] == "[" else ""
        raise DataError(f"{place}: not valid JSON: {error}{hint}") from None
    if not isinstance(row, dict):
        kind = type(row).__name__
        raise DataError(
            f"{place}: a JSON object a line is needed, such as {{'text': ...}}, not {kind}"
        )
    return row


def _json_rows(batch: list[tuple[str, dict[str, Any]]], data: DataSettings) -> Rows:
    rows = [row for _, row in batch]
    known = dict.fromkeys(key for row in rows for key in row)
    id_column = data.id or "id"
    names = [name for name in data.labels if name in known]
    if "*" in data.labels:
        names = [name for name in known if name not in (data.text, id_column)]
    return Rows(
        [place for place, _ in batch],
        [_identifier(row.get(id_column)) for row in rows],
        [row.get(data.text) for row in rows],
        {name: [row.get(name) for row in rows] for name in names},
    )


def _identifier(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
