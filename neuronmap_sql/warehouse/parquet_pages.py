"""Where the values of a Parquet column lie, for readers that want a few of them.

Parquet readers fetch whole column chunks, megabytes for a value. But the pages of a column that is
plain and uncompressed hold its values as they are, so the place of each follows from their sizes.
A page begins with a header, a Thrift struct in compact form (Apache Parquet format, PageHeader).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

__all__ = ["LENGTH_BYTES", "Page", "column_of", "footer_of", "plain_pages"]

LENGTH_BYTES = 4
"""Before each plain binary value stands its length, in so many bytes."""

_HEAD = 64  # more bytes than the header of a page without statistics takes
_TYPE, _UNPACKED, _PACKED, _DATA, _VALUES, _ENCODING = 1, 2, 3, 5, 1, 2  # fields
_DATA_PAGE = _PLAIN = 0  # their values


@dataclass(frozen=True)
class Page:
    """A page of plain values, none of them NULL."""

    values: int
    """How many."""
    start: int
    """Place of the first in the file."""
    size: int
    """Bytes of all of them, lengths included."""


def footer_of(path: Path) -> pq.FileMetaData:
    """Return the footer of a file, which is read once unless the file changes."""
    return _footer(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _footer(path: Path, _changed: int) -> pq.FileMetaData:
    return pq.read_metadata(path)


def column_of(footer: pq.FileMetaData, name: str) -> int:
    """Return the number of a column; -1 if the file has none of that name."""
    return int(footer.schema.to_arrow_schema().get_field_index(name))


def plain_pages(path: Path, group: int, column: str) -> list[Page] | None:
    """Return the pages of a column chunk, in order.

    Returns:
        None where the chunk is anything but plain, uncompressed pages of the first version.
    """
    footer = footer_of(path)
    chunk = footer.row_group(group).column(column_of(footer, column))
    if chunk.compression != "UNCOMPRESSED" or set(chunk.encodings) - {"PLAIN", "RLE"}:
        return None
    pages: list[Page] = []
    at, end = chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    with path.open("rb", buffering=0) as file:
        while at < end:
            page = _page(os.pread(file.fileno(), _HEAD, at), at)
            if page is None:
                return None
            pages.append(page)
            at = page.start + page.size
    return pages if at == end and sum(page.values for page in pages) == chunk.num_values else None


def _page(head: bytes, at: int) -> Page | None:
    try:
        fields, length = _struct(head, 0)
        data = fields[_DATA]
        plain = fields[_TYPE] == _DATA_PAGE and data[_ENCODING] == _PLAIN
        if not plain or fields[_UNPACKED] != fields[_PACKED]:
            return None
        return Page(data[_VALUES], at + length, fields[_PACKED])
    except (IndexError, KeyError):  # the header is longer, or another one
        return None


def _struct(raw: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Read a struct's integers and structs by field; return them, and where the struct ends.

    Raises:
        KeyError: a field is of a kind that the headers of plain pages have none of.
    """
    fields: dict[int, Any] = {}
    field = 0
    while kind := raw[at] & 0x0F:
        step, at = raw[at] >> 4, at + 1
        if step == 0:
            raise KeyError(field)
        field += step
        if kind in (5, 6):  # i32, i64
            fields[field], at = _number(raw, at)
        elif kind == 12:
            fields[field], at = _struct(raw, at)
        else:
            raise KeyError(field)
    return fields, at + 1


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Read a zigzagged integer, seven bits a byte, the lowest first; return where it ends, too."""
    found = shift = 0
    while True:
        found |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 0x80:
            return (found >> 1) ^ -(found & 1), at
