"""Blocks of some neurons, read one by one from the Parquet files of `activations`.

Parquet readers fetch whole column chunks: 4 MiB for a block of 8 kB. But a chunk of `vals` is one
page of plain, uncompressed values whose lengths the column `n` gives, so each block's place in the
file is known; where a file is laid out otherwise, its chunk is read by pyarrow.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError, UnknownNameError
from neuronmap_sql.numerics.blocks import decode
from neuronmap_sql.numerics.halves import widen

__all__ = ["BlockFiles", "tokenizer_of"]

_ZONES = ["neuron", "first_tok", "n", "min", "max"]
_HEAD = 32  # more bytes than the first fields of a page header take


class BlockFiles:
    """The zone maps of some neurons of one layer, and their values block by block.

    Args:
        files: the Parquet files of one partition of `activations`.
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

    @property
    def bytes_read(self) -> int:
        """Bytes of zone maps and values read so far, footers left out."""
        return sum(group.bytes_read for group in self._groups.values())

    def read(self, block: int) -> NDArray[np.float64]:
        """Return the values of a block, shape [neurons, tokens]; NaN for what was not finite."""
        found = [group.values(row) for group, row in (rows[block] for rows in self._rows)]
        return widen(np.stack(found)).astype(np.float64)

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
            for index in _groups_of(_footer(path, path.stat().st_mtime_ns), neuron):
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

    @cached_property
    def zones(self) -> pa.Table:
        """The zone map."""
        self.bytes_read += sum(self._chunk(name).total_compressed_size for name in _ZONES)
        return self._columns(_ZONES)

    def values(self, row: int) -> NDArray[np.float16]:
        """Return the values of one block."""
        if self._offsets is None:
            return decode(self._chunk_of_values[row : row + 1])
        size = 2 * int(self._sizes[row])
        self.bytes_read += size
        with self.path.open("rb", buffering=0) as file:
            return np.frombuffer(os.pread(file.fileno(), size, self._offsets[row]), np.float16)

    @cached_property
    def _chunk_of_values(self) -> pa.Array:
        self.bytes_read += self._chunk("vals").total_compressed_size
        return self._columns(["vals"])["vals"].combine_chunks()

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.asarray(self.zones["n"], np.int64)

    @cached_property
    def _offsets(self) -> NDArray[np.int64] | None:
        """Where each row's values start in the file; None unless the chunk is one plain page."""
        chunk = self._chunk("vals")
        lengths = 4 + 2 * self._sizes  # PLAIN: four bytes of length before each value
        if chunk.compression != "UNCOMPRESSED" or set(chunk.encodings) - {"PLAIN", "RLE"}:
            return None
        with self.path.open("rb", buffering=0) as file:
            head = os.pread(file.fileno(), _HEAD, chunk.data_page_offset)
        if _page_size(head) != lengths.sum():
            return None
        end = chunk.data_page_offset + chunk.total_compressed_size
        return np.asarray(end - lengths.sum() + np.cumsum(lengths) - lengths + 4)

    def _chunk(self, column: str) -> pq.ColumnChunkMetaData:
        footer = _footer(self.path, self.path.stat().st_mtime_ns)
        return footer.row_group(self.index).column(_column(footer, column))

    def _columns(self, names: list[str]) -> pa.Table:
        footer = _footer(self.path, self.path.stat().st_mtime_ns)
        with pq.ParquetFile(self.path, metadata=footer) as source:
            return source.read_row_group(self.index, columns=names)


def tokenizer_of(path: Path) -> str:
    """Return the tokenizer of a file of blocks, which has but one."""
    footer = _footer(path, path.stat().st_mtime_ns)
    return str(footer.row_group(0).column(_column(footer, "tokenizer")).statistics.min)


@lru_cache(maxsize=256)
def _footer(path: Path, _changed: int) -> pq.FileMetaData:
    return pq.read_metadata(path)


def _column(footer: pq.FileMetaData, name: str) -> int:
    return int(footer.schema.to_arrow_schema().get_field_index(name))


def _groups_of(footer: pq.FileMetaData, neuron: int) -> Iterator[int]:
    """Yield the row groups that may hold a neuron: files are sorted by it."""
    column = _column(footer, "neuron")

    def neurons(group: int) -> pq.Statistics:
        return footer.row_group(group).column(column).statistics

    groups = range(footer.num_row_groups)
    for group in groups[bisect_left(groups, neuron, key=lambda group: neurons(group).max) :]:
        if neurons(group).min > neuron:
            return
        yield group


def _page_size(head: bytes) -> int:
    """Return the uncompressed size that a page header states: its second field, or -1.

    The header is a Thrift struct in compact form; fields 1 and 2 are 32-bit integers: a byte 0x15,
    then the number zigzagged, seven bits a byte, the lowest first.
    """
    at, number = 0, -1
    for _ in range(2):
        if head[at : at + 1] != b"\x15":
            return -1
        at, shift, raw = at + 1, 0, 0
        while at < len(head):
            raw |= (head[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if head[at - 1] < 0x80:
                break
        number = raw >> 1
    return number
