"""Read CSV and its relatives: which character parts the fields, and which quotes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from neuronmap_sql.errors import DataError, RecipeError
from neuronmap_sql.ingest.data.readers import Rows, chosen
from neuronmap_sql.ingest.data.sources import LONGEST, Source, text_lines
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["read_csv"]

_BATCH = 1024
"""Rows yielded at once."""

_DELIMITERS = (",", ";", "\t", "|")
"""What a file may be parted by: tried before a header is refused."""


def read_csv(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield the records of a CSV file with a header; all values are strings.

    Raises:
        RecipeError: `data.delimiter` or `data.quote` is not one character.
        DataError: the file is not as they say, or lacks a column.
    """
    # The csv module refuses fields above 128 kB unless told otherwise, for the whole process.
    csv.field_size_limit(LONGEST)
    delimiter = _delimiter(source, data)
    lines = (line for _, line in text_lines(source, data.encoding_errors))
    first = next(lines, "")
    _check_delimiter(source, data, first, delimiter)
    bounded = _Bounded(chain([first], lines))
    reader = _reader(bounded, delimiter, data.quote, strict=True)
    records = _records(reader, bounded, source, data)
    _, header = next(records, (1, []))
    if len(set(header)) < len(header):
        raise DataError(f"{source.name}:1: the header names a column twice")
    id_column, labels = chosen(data, header, source.name)
    at = {name: index for index, name in enumerate(header)}
    batch: list[tuple[str, list[str]]] = []
    for line, record in records:
        batch.append((f"{source.name}:{line}", _checked(record, header, f"{source.name}:{line}")))
        if len(batch) == _BATCH:
            yield _rows(batch, at, data.text, id_column, labels)
            batch = []
    yield _rows(batch, at, data.text, id_column, labels)


class _Bounded:
    """Lines of a file, until those of one record are too many."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.size = 0
        """Characters since the record began."""

    def __iter__(self) -> _Bounded:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.size += len(line)
        if self.size > LONGEST:
            raise csv.Error(f"a record of more than {LONGEST:,} characters")
        return line


def _delimiter(source: Source, data: DataSettings) -> str:
    for key, value in (("delimiter", data.delimiter), ("quote", data.quote)):
        if len(value) > 1 or value in ("\n", "\r", "\0"):
            raise RecipeError(f"data.{key} = {value!r}: must be one character, or empty")
    delimiter = data.delimiter or ("\t" if ".tsv" in source.path.name.lower() else ",")
    if delimiter == data.quote:
        raise RecipeError(f"data.delimiter and data.quote are both {delimiter!r}")
    return delimiter


def _reader(lines: Any, delimiter: str, quote: str, strict: bool = False) -> Any:
    if not quote:
        return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
    return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=strict)


def _check_delimiter(source: Source, data: DataSettings, first: str, delimiter: str) -> None:
    """Refuse a delimiter between which the header has no text, if there is one that finds it."""
    tried = [other for other in (delimiter, *_DELIMITERS) if other != data.quote]
    line = first.splitlines()[:1]  # without a carriage return inside, at which the reader stops
    found = [d for d in tried if data.text in next(_reader(line, d, data.quote), [])]
    if found and found[0] != delimiter:
        raise DataError(
            f"{source.name}: the header, parted by {json.dumps(delimiter)}, has no column "
            f"{data.text!r} (data.text): set data.delimiter = {json.dumps(found[0])}"
        )


def _checked(record: list[str], header: list[str], place: str) -> list[str]:
    if len(record) != len(header):
        raise DataError(
            f"{place}: {len(record)} fields, but the header has {len(header)}; data.delimiter and "
            "data.quote say how they are parted"
        )
    return record


def _records(
    reader: Any, lines: _Bounded, source: Source, data: DataSettings
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file with the line on which each begins."""
    line = 1
    try:
        for record in reader:
            if record:
                yield line, record
            lines.size = 0
            line = reader.line_num + 1
    except csv.Error as error:
        quoted = data.quote and "new-line" not in str(error)
        hint = f"; if {data.quote} is plain text there, set data.quote = ''" if quoted else ""
        raise DataError(f"{source.name}:{line}: not valid CSV: {error}{hint}") from None


def _rows(
    batch: list[tuple[str, list[str]]],
    at: dict[str, int],
    text: str,
    id_column: str,
    labels: list[str],
) -> Rows:
    rows = [row for _, row in batch]
    return Rows(
        [place for place, _ in batch],
        [row[at[id_column]] or None if id_column else None for row in rows],
        [row[at[text]] for row in rows],
        {name: [row[at[name]] for row in rows] for name in labels},
    )
