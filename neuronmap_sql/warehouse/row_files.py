"""Single float16 values, read by their place from the files of `token_matrices`.

A search over codes asks for some neurons' values at a few tokens. All rows of a file are of one
length and its tokens follow each other, so the place of a value follows from its token; where a
file is laid out otherwise, the row groups that hold the tokens are read by pyarrow.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError
from neuronmap_sql.numerics.blocks import decode
from neuronmap_sql.warehouse.parquet_pages import LENGTH_BYTES, column_of, footer_of, plain_pages

__all__ = ["RowFiles"]

I64 = NDArray[np.int64]
_HALF = np.dtype(np.float16).itemsize


class RowFiles:
    """The values of some neurons of one layer, at any tokens.

    Args:
        files: the Parquet files of one partition of `token_matrices`.
        neurons: which neurons.
    """

    def __init__(self, files: Sequence[Path], neurons: Sequence[int]) -> None:
        self._groups = sorted(
            (group for path in files for group in _groups(path, path.stat().st_mtime_ns)),
            key=lambda group: group.first,
        )
        self._first = np.array([group.first for group in self._groups])
        self._neurons = np.asarray(neurons, np.int64)
        self._maps: dict[Path, NDArray[np.uint8]] = {}
        self.bytes_read = 0
        """Bytes of the pages of memory, or of the row groups, that held what was read."""

    def at(self, tok: I64) -> NDArray[np.float64]:
        """Return the values of tokens, shape [neurons, tokens]; NaN for what was not finite.

        Raises:
            StoreError: the files lack one of the tokens.
        """
        found = np.empty((len(self._neurons), len(tok)), np.float16)
        number = np.searchsorted(self._first, tok, side="right") - 1
        for at in np.unique(number):
            group, mine = self._groups[at], number == at
            if at < 0 or tok[mine].max() >= group.first + group.rows:
                raise StoreError(f"{self._groups[0].path.parent} lacks tokens: `neuronmap verify`")
            found[:, mine] = self._values(group, tok[mine] - group.first)
        return found.astype(np.float64)

    def _values(self, group: _Group, row: I64) -> NDArray[np.float16]:
        """Return the values of rows of a row group, shape [neurons, rows]."""
        if group.places is None:
            with pq.ParquetFile(group.path, metadata=footer_of(group.path)) as source:
                chunk = source.read_row_group(group.index, columns=["vals"])["vals"]
            values = decode(chunk.combine_chunks()).reshape(group.rows, -1)
            self.bytes_read += values.nbytes
            return values[np.ix_(row, self._neurons)].T
        places = group.places.of(row) + _HALF * self._neurons[:, None]
        self.bytes_read += len(np.unique(places // mmap.PAGESIZE)) * mmap.PAGESIZE
        held = self._held(group.path)
        return np.stack([held[places], held[places + 1]], axis=-1).view(np.float16)[..., 0]

    def _held(self, path: Path) -> NDArray[np.uint8]:
        if path not in self._maps:
            with path.open("rb") as file:
                held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if hasattr(mmap, "MADV_RANDOM"):
                held.madvise(mmap.MADV_RANDOM)  # what is near is not needed
            self._maps[path] = np.frombuffer(held, np.uint8)
        return self._maps[path]


@dataclass(frozen=True)
class _Places:
    """Where the rows of plain pages lie."""

    rows: I64
    """First row of each page."""
    starts: I64
    """Place of that row in the file."""
    step: int
    """Bytes of a row, its length included."""

    def of(self, row: I64) -> I64:
        """Return the places of the first values of rows."""
        page = np.searchsorted(self.rows, row, side="right") - 1
        return np.asarray(self.starts[page] + (row - self.rows[page]) * self.step + LENGTH_BYTES)


@dataclass(frozen=True)
class _Group:
    """A row group."""

    path: Path
    """Its file."""
    index: int
    """Its number there."""
    first: int
    """Its first token."""
    rows: int
    """Its tokens."""
    places: _Places | None
    """None unless its pages are plain."""


@lru_cache(maxsize=256)
def _groups(path: Path, _changed: int) -> tuple[_Group, ...]:
    """Read where everything in a file is; only the headers of its pages are read for that."""
    footer = footer_of(path)
    column = column_of(footer, "tok")
    found = []
    for index in range(footer.num_row_groups):
        rows, zone = footer.row_group(index).num_rows, footer.row_group(index).column(column)
        if zone.statistics.max - zone.statistics.min + 1 != rows:
            raise StoreError(f"{path} lacks tokens: `neuronmap verify` says more")
        found.append(_Group(path, index, zone.statistics.min, rows, _places(path, index)))
    return tuple(found)


def _places(path: Path, index: int) -> _Places | None:
    pages = plain_pages(path, index, "vals")
    if not pages:
        return None
    steps = {divmod(page.size, page.values) for page in pages}
    if len(steps) > 1 or (step := steps.pop())[1]:
        return None
    rows = np.cumsum([0, *(page.values for page in pages[:-1])])
    return _Places(rows, np.array([page.start for page in pages]), step[0])
