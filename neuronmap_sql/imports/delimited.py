"""Read CSV files of numbers, of which neither a line nor a cell may be longer than it is allowed.

A table may come from anybody: what is not a number is refused with its line, and never evaluated.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from neuronmap_sql.errors import DataError

__all__ = ["number", "records", "shown"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MISSING = frozenset({"", "nan", "na", "null", "none", "<na>"})


def records(path: Path, longest: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file, each with its line number from 1; empty lines are left out.

    Args:
        path: a UTF-8 file, parted by commas.
        longest: most bytes of a line.

    Raises:
        DataError: it cannot be read, or is not such a file.
    """
    try:
        with path.open("rb") as file:
            for line, text in _lines(path, file, longest):
                # A line is a record: no cell of numbers has a line break.
                record = next(csv.reader([text], strict=True), [])
                if record:
                    yield line, [cell.strip() for cell in record]
    except csv.Error as error:
        raise DataError(f"{path.name}:{line}: not valid CSV: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def number(cell: str, place: str) -> float | None:
    """Return a finite number; None for an empty cell or one that says that there is no value.

    Raises:
        DataError: it is something else; `place` says where, as file:line and column.
    """
    if _NUMBER.fullmatch(cell) and math.isfinite(value := float(cell)):
        return value
    if cell.lower() in _MISSING:
        return None
    raise DataError(f"{place}: {shown(cell)} is no finite number")


def shown(text: str, most: int = 40) -> str:
    """Return the beginning of a text from a file, in quotes, with nothing that a terminal obeys."""
    return repr(text if len(text) <= most else f"{text[:most]}...")


def _lines(path: Path, file: BinaryIO, longest: int) -> Iterator[tuple[int, str]]:
    csv.field_size_limit(max(longest, csv.field_size_limit()))
    for line, raw in enumerate(iter(partial(file.readline, longest + 1), b""), 1):
        place = f"{path.name}:{line}"
        if len(raw) > longest:
            raise DataError(f"{place}: the line has more than {longest:,} bytes: no such table")
        try:
            text = raw.removeprefix(b"\xef\xbb\xbf" if line == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not valid UTF-8: byte {error.start + 1}") from None
        if "\0" in text:
            raise DataError(f"{place}: has a NUL character: this is no text file")
        yield line, text.rstrip("\r\n")
