"""Blocks of some neurons, read one by one from the files of `activations` or `activations_int8`.

Parquet readers fetch whole column chunks: 4 MiB for a block of 8 kB. But the pages of `vals` are
plain, and the column `n` gives the lengths of the values, so each block's place in the file is
known; where a file is laid out otherwise, its chunk is read by pyarrow.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError, UnknownNameError
from neuronmap_sql.numerics.blocks import flat_bytes
from neuronmap_sql.numerics.halves import widen
from neuronmap_sql.numerics.int8 import HALF_STEP, dequantize
from neuronmap_sql.warehouse.parquet_pages import (
    LENGTH_BYTES,
    column_of,
    footer_of,
    plain_pages,
)

__all__ = ["BlockFiles", "tokenizer_of"]

_ZONES = ["neuron", "first_tok", "n", "min", "max"]
_STEPS = ["scale", "center"]


class BlockFiles:
    """The zone maps of some neurons of one layer, and their values block by block.

    Args:
        files: the Parquet files of one partition of `activations` or `activations_int8`.
        neurons: which neurons.

    Raises:
        KeyError: a neuron is not in the files; its argument is the neuron.
        StoreError: the files lack blocks of one of them.
    """

    def __init__(self, files: Sequence[Path], neurons: Sequence[int]) -> None:
        self._groups: dict[tuple[Path, int], _RowGroup] = {}
        self._rows = [self._rows_of(files, neuron) for neuron in neurons]
        zones = [
            pa.concat_tables(group.zones.slice(row, 1) for group, row in rows)
            for rows in self._rows
        ]
        self.starts: NDArray[np.int64] = zones[0]["first_tok"].to_numpy()
        """First token of each block, ascending, shape [blocks]."""
        if any(not np.array_equal(each["first_tok"], self.starts) for each in zones):
            raise StoreError(f"{files[0].parent} lacks blocks: `neuronmap verify` says more")
        self.low = np.stack([each["min"].to_numpy() for each in zones]).astype(np.float64)
        """Smallest finite value of each block, NaN without any, shape [neurons, blocks]."""
        self.high = np.stack([each["max"].to_numpy() for each in zones]).astype(np.float64)
        """Largest finite value of each block, NaN without any, shape [neurons, blocks]."""
        steps = np.array([group.steps(row) for (group, row), *_ in self._rows], np.float32)
        self._scale, self._center = steps.T[:, :, None]
        self.error = HALF_STEP * self._scale[:, 0].astype(np.float64)
        """Most that a value as read is off, 0 for those of `activations`, shape [neurons]."""

    @property
    def bytes_read(self) -> int:
        """Bytes of zone maps and values read so far, footers left out."""
        return sum(group.bytes_read for group in self._groups.values())

    def read(self, block: int) -> NDArray[np.float64]:
        """Return the values of a block, shape [neurons, tokens]; NaN for what was not finite."""
        found = np.stack([group.values(row) for group, row in (rows[block] for rows in self._rows)])
        if found.dtype == np.int8:
            return dequantize(found.view(np.int8), self._scale, self._center).astype(np.float64)
        return widen(found.view(np.float16)).astype(np.float64)

    def block_of(self, tok: int) -> int:
        """Return the block that holds a token."""
        return int(np.searchsorted(self.starts, tok, side="right")) - 1

    def at(self, tok: int) -> NDArray[np.float64]:
        """Return the values of one token, shape [neurons].

        Raises:
            UnknownNameError: no such token.
        """
        block = self.block_of(tok)
        values = self.read(block) if block >= 0 else np.empty((0, 0))
        if not 0 <= (inside := tok - int(self.starts[block])) < values.shape[1]:
            raise UnknownNameError(f"no values of token {tok} are kept")
        return values[:, inside]

    def _rows_of(self, files: Sequence[Path], neuron: int) -> list[tuple[_RowGroup, int]]:
        """Return where a neuron's blocks are, in order of tokens."""
        found = []
        for path in files:
            for index in _groups_of(footer_of(path), neuron):
                group = self._groups.setdefault((path, index), _RowGroup(path, index))
                for row in np.flatnonzero(group.zones["neuron"].to_numpy() == neuron):
                    found.append((group.zones["first_tok"][row].as_py(), group, int(row)))
        if not found:
            raise KeyError(neuron)
        return [(group, row) for _, group, row in sorted(found, key=lambda each: each[0])]


class _RowGroup:
    """A row group of a file of blocks."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = path, index
        self.bytes_read = 0
        coded = column_of(footer_of(path), "scale") >= 0
        self._zones = [*_ZONES, *_STEPS] if coded else _ZONES
        self._kind = np.dtype(np.int8 if coded else np.float16)

    @cached_property
    def zones(self) -> pa.Table:
        """The zone map, and the steps of codes."""
        self.bytes_read += sum(self._chunk(name).total_compressed_size for name in self._zones)
        return self._columns(self._zones)

    def steps(self, row: int) -> tuple[float, float]:
        """Return scale and center of a row's codes; zeros for float16 values, which have none."""
        if self._kind != np.int8:
            return 0.0, 0.0
        return self.zones["scale"][row].as_py(), self.zones["center"][row].as_py()

    def values(self, row: int) -> NDArray[np.float16] | NDArray[np.int8]:
        """Return the float16 values, or the codes, of one block."""
        if self._offsets is None:
            return flat_bytes(self._chunk_of_values[row : row + 1]).view(self._kind)
        size = int(self._sizes[row])
        self.bytes_read += size
        with self.path.open("rb", buffering=0) as file:
            return np.frombuffer(os.pread(file.fileno(), size, self._offsets[row]), self._kind)

    @cached_property
    def _chunk_of_values(self) -> pa.Array:
        self.bytes_read += self._chunk("vals").total_compressed_size
        return self._columns(["vals"])["vals"].combine_chunks()

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.asarray(self.zones["n"], np.int64) * self._kind.itemsize

    @cached_property
    def _offsets(self) -> NDArray[np.int64] | None:
        """Where each row's values start in the file; None unless its pages are plain."""
        pages = plain_pages(self.path, self.index, "vals")
        ends = np.cumsum([0, *(self._sizes + LENGTH_BYTES)])
        offsets, row = np.empty(len(self._sizes), np.int64), 0
        for page in pages or ():
            rows = slice(row, row + page.values)
            if ends[rows.stop] - ends[row] != page.size:
                return None
            offsets[rows] = page.start + LENGTH_BYTES + ends[rows] - ends[row]
            row = rows.stop
        return None if pages is None else offsets

    def _chunk(self, column: str) -> pq.ColumnChunkMetaData:
        footer = footer_of(self.path)
        return footer.row_group(self.index).column(column_of(footer, column))

    def _columns(self, names: list[str]) -> pa.Table:
        with pq.ParquetFile(self.path, metadata=footer_of(self.path)) as source:
            return source.read_row_group(self.index, columns=names)


def tokenizer_of(path: Path) -> str:
    """Return the tokenizer of a file of blocks, which has but one."""
    footer = footer_of(path)
    return str(footer.row_group(0).column(column_of(footer, "tokenizer")).statistics.min)


def _groups_of(footer: pq.FileMetaData, neuron: int) -> Iterator[int]:
    """Yield the row groups that may hold a neuron: files are sorted by it."""
    column = column_of(footer, "neuron")

    def neurons(group: int) -> pq.Statistics:
        return footer.row_group(group).column(column).statistics

    groups = range(footer.num_row_groups)
    for group in groups[bisect_left(groups, neuron, key=lambda group: neurons(group).max) :]:
        if neurons(group).min > neuron:
            return
        yield group
