"""The physical layouts of `activations` that `layout.py` compares, all with the same questions.

Those that give a neuron's values as an array (npy, blocks, token-major rows) answer with the same
numpy kernels, so that only the layout differs. Those whose values SQL sees one by one (long table,
a column a neuron) answer in DuckDB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.numerics import blocks, halves, turning
from neuronmap_sql.numerics.int8 import iter_int8_tables

__all__ = [
    "Arrays",
    "Blocks",
    "K",
    "Npy",
    "Planes",
    "TokenRows",
    "Values",
    "top_values",
    "write_codes",
]

Values = NDArray[np.float16]
K = 20
CODES = np.arange(-32768, 32768, dtype=np.int16)
HALVES = halves.order_keys(CODES.view(np.float16)).view(np.float16).astype(np.float64)
BINS = np.floor(np.clip(np.nan_to_num(HALVES), -512, 511) * 4).astype(np.int64) + 2048


@dataclass
class Arrays:
    """Questions answered with numpy from whole columns; the subclasses fetch those."""

    path: Path
    """The one file."""
    shape: tuple[int, int]
    """Tokens and neurons."""
    spare: Values = field(default_factory=lambda: np.empty(0, np.float16))
    """Memory for a whole matrix, used again."""

    def write(self, values: Values) -> None:
        raise NotImplementedError

    def column(self, neuron: int) -> Values:
        raise NotImplementedError

    def prompt(self, first: int, last: int) -> Values:
        """Values of the tokens [first, last), shape [last - first, neurons]."""
        raise NotImplementedError

    def stripes(self) -> Iterator[Values]:
        """All neurons in order, some at a time, shape [few, tokens]."""
        raise NotImplementedError

    def matrix(self) -> Values:
        """All values in `spare`, shape [tokens, neurons]."""
        at = 0
        for stripe in self.stripes():
            self.spare[at : at + len(stripe)] = stripe
            at += len(stripe)
        return self.spare.T

    def top(self, neuron: int) -> Values:
        return top_values(self.column(neuron)[None])[0]

    def histogram(self, neuron: int) -> NDArray[np.int64]:
        codes = halves.order_keys(self.column(neuron)).astype(np.int32) + 32768
        return np.bincount(BINS, np.bincount(codes, minlength=65536), 4096).astype(np.int64)

    def nearest(self, neurons: list[int], token: int) -> NDArray[np.float32]:
        """Squared distances of the K nearest tokens, in the space of some neurons."""
        far = np.zeros(self.shape[0], np.float32)
        for neuron in neurons:
            wide = halves.widen(self.column(neuron))
            far += (wide - wide[token]) ** 2
        return np.sort(np.partition(far, K)[:K])

    def top_all(self) -> Values:
        return np.concatenate([top_values(stripe) for stripe in self.stripes()])

    def statistics(self) -> NDArray[np.float64]:
        """Min, max, sum, sum of squares of every neuron, shape [4, neurons]."""
        return np.concatenate([_statistics(stripe) for stripe in self.stripes()], axis=1)


def top_values(rows: Values) -> Values:
    keys = halves.order_keys(rows)
    keys.partition(keys.shape[1] - K, axis=1)
    best = np.sort(keys[:, -K:], axis=1)[:, ::-1]
    return halves.order_keys(np.ascontiguousarray(best).view(np.float16)).view(np.float16)


def _statistics(rows: Values) -> NDArray[np.float64]:
    table = blocks.block_table(rows.T)
    return _merge(table, len(rows))


def _merge(table: pa.Table, neurons: int) -> NDArray[np.float64]:
    """Merge zone maps: shape [4, neurons]."""
    names = ("min", "max", "sum", "sum_squares")
    low, high, total, squares = (table[name].to_numpy().reshape(neurons, -1) for name in names)
    return np.stack([low.min(1), high.max(1), total.sum(1), squares.sum(1)])


class Npy(Arrays):
    """(a) A memory-mapped .npy, token-major: the reference."""

    def write(self, values: Values) -> None:
        with self.path.open("wb") as file:
            np.save(file, values)

    @property
    def held(self) -> Values:
        held: Values = np.load(self.path, mmap_mode="r")
        return held

    def column(self, neuron: int) -> Values:
        return np.ascontiguousarray(self.held[:, neuron])

    def prompt(self, first: int, last: int) -> Values:
        return np.array(self.held[first:last])

    def stripes(self) -> Iterator[Values]:
        held = self.held
        for at in range(0, self.shape[1], 128):
            yield turning.neuron_major(held[:, at : at + 128])

    def matrix(self) -> Values:
        matrix = self.spare.reshape(self.shape)
        np.copyto(matrix, self.held)
        return matrix


@dataclass
class Blocks(Arrays):
    """(b) Neuron-major blocks in a binary column with zone maps, read with pyarrow."""

    block: int = blocks.BLOCK_TOKENS
    """Tokens of a block; 0: all tokens of the shard."""
    group_bytes: int = blocks.ROW_GROUP_BYTES
    """Bytes of values in a row group."""
    shard: int = 0
    """Tokens after which the neurons start over (sorted by shard, neuron, block); 0: all."""
    compression: Any = "NONE"
    """Codec of the whole file, or of each column."""

    def tables(self, values: Values) -> Iterator[pa.Table]:
        for first in range(0, len(values), self.run):
            part = values[first : first + self.run]
            start = first // self.size
            yield from blocks.iter_block_tables(part, self.size, self.group, start)

    @property
    def run(self) -> int:
        return self.shard or self.shape[0]

    @property
    def size(self) -> int:
        return self.block or self.run

    @property
    def group(self) -> int:
        return max(1, self.group_bytes // (2 * self.run))

    def write(self, values: Values) -> None:
        options = blocks.writer_options() | {"compression": self.compression}
        writer = None
        for table in self.tables(values):
            writer = writer or pq.ParquetWriter(self.path, table.schema, **options)
            writer.write_table(table)
        assert writer is not None
        writer.close()

    def open(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, memory_map=True)

    def rows(self, file: pq.ParquetFile, number: int) -> Values:
        """One row group, shape [neurons of the group, tokens of the shard]."""
        (chunk,) = file.read_row_group(number, columns=["vals"])["vals"].chunks
        return self.shaped(blocks.decode(chunk), number)

    def shaped(self, flat: Values, number: int) -> Values:
        group = number % -(-self.shape[1] // self.group)
        return flat.reshape(min(self.group, self.shape[1] - group * self.group), -1)

    def across(self, file: pq.ParquetFile, group: int) -> list[Values]:
        step = -(-self.shape[1] // self.group)
        return [self.rows(file, at) for at in range(group, file.num_row_groups, step)]

    def column(self, neuron: int) -> Values:
        group, row = divmod(neuron, self.group)
        parts = [rows[row] for rows in self.across(self.open(), group)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def prompt(self, first: int, last: int) -> Values:
        file, step = self.open(), -(-self.shape[1] // self.group)
        shards = range(first // self.run, (last - 1) // self.run + 1)
        wanted = [slice(max(0, first - s * self.run), last - s * self.run) for s in shards]
        return np.concatenate(
            [
                np.concatenate(
                    [self.rows(file, s * step + group)[:, cut].T for group in range(step)], axis=1
                )
                for s, cut in zip(shards, wanted, strict=True)
            ]
        )

    def stripes(self) -> Iterator[Values]:
        file = self.open()
        for group in range(-(-self.shape[1] // self.group)):
            parts = self.across(file, group)
            yield parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def statistics(self) -> NDArray[np.float64]:
        table = self.open().read(columns=["neuron", "min", "max", "sum", "sum_squares"])
        return _merge(table.sort_by("neuron") if self.shard else table, self.shape[1])


def write_codes(path: Path, values: Values) -> None:
    """Write blocks of one byte a value, as table `activations_int8`."""
    writer = None
    for table in iter_int8_tables(values):
        writer = writer or pq.ParquetWriter(path, table.schema, **blocks.writer_options())
        writer.write_table(table)
    assert writer is not None
    writer.close()


class Planes(Blocks):
    """(b') The same blocks as two columns: the high bytes with zstd, the low bytes as they are."""

    def tables(self, values: Values) -> Iterator[pa.Table]:
        for table in super().tables(values):
            (chunk,) = table["vals"].chunks
            pairs = blocks.decode(chunk).view(np.uint8).reshape(-1, 2)
            offsets = pa.py_buffer(np.append(0, np.cumsum(table["n"].to_numpy(), dtype=np.int64)))
            for name, plane in (("low", pairs[:, 0]), ("high", pairs[:, 1])):
                buffers = [None, offsets, pa.py_buffer(np.ascontiguousarray(plane))]
                array = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(table), buffers)
                table = table.append_column(name, array)
            yield table.drop_columns(["vals"])

    def rows(self, file: pq.ParquetFile, number: int) -> Values:
        table = file.read_row_group(number, columns=["low", "high"])
        planes = [np.frombuffer(table[n].chunk(0).buffers()[2], np.uint8) for n in ("low", "high")]
        pairs = np.empty((len(planes[0]), 2), np.uint8)
        pairs[:, 0], pairs[:, 1] = planes
        return self.shaped(pairs.reshape(-1).view(np.float16), number)


class TokenRows(Arrays):
    """(d) One binary row a token."""

    def write(self, values: Values) -> None:
        rows = blocks.ROW_GROUP_BYTES // (2 * self.shape[1])
        kind = pa.binary(2 * self.shape[1])
        schema = pa.schema([("tok", pa.int64()), ("vals", kind)])
        options = {"compression": "NONE", "use_dictionary": False, "write_statistics": ["tok"]}
        with pq.ParquetWriter(self.path, schema, **options) as writer:
            for first in range(0, len(values), rows):
                part = np.ascontiguousarray(values[first : first + rows])
                tok = pa.array(np.arange(first, first + len(part)))
                vals = pa.FixedSizeBinaryArray.from_buffers(
                    kind, len(part), [None, pa.py_buffer(part)]
                )
                writer.write_table(pa.table([tok, vals], schema=schema))

    def parts(self, first: int = 0, last: int = -1) -> Iterator[tuple[int, Values]]:
        file = pq.ParquetFile(self.path, memory_map=True)
        rows = blocks.ROW_GROUP_BYTES // (2 * self.shape[1])
        last = self.shape[0] if last < 0 else last
        for group in range(first // rows, (last - 1) // rows + 1):
            (chunk,) = file.read_row_group(group, columns=["vals"])["vals"].chunks
            yield group * rows, blocks.decode(chunk).reshape(-1, self.shape[1])

    def column(self, neuron: int) -> Values:
        return np.concatenate([part[:, neuron] for _, part in self.parts()])

    def prompt(self, first: int, last: int) -> Values:
        return np.concatenate(
            [part[max(0, first - at) : last - at] for at, part in self.parts(first, last)]
        )

    def matrix(self) -> Values:
        matrix = self.spare.reshape(self.shape)
        for at, part in self.parts():
            matrix[at : at + len(part)] = part
        return matrix

    def stripes(self) -> Iterator[Values]:
        matrix = self.matrix()
        for at in range(0, self.shape[1], 128):
            yield turning.neuron_major(matrix[:, at : at + 128])
