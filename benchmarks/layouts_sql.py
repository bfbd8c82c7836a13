"""Layouts whose questions DuckDB answers: blocks through Arrow UDFs, a long table, columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from layouts import Arrays, Blocks, K, Values, top_values
from numpy.typing import NDArray

from neuronmap_sql.numerics import blocks, halves, turning

__all__ = ["BlocksInDuckDB", "Columns", "Long"]

SUMS = "min({0}), max({0}), sum({0}::DOUBLE), sum({0}::DOUBLE * {0})"
WIDE = {"compression": "ZSTD", "use_dictionary": False, "data_page_size": 1 << 20}


@dataclass
class Engine(Arrays):
    """A file that DuckDB reads, with as many threads as the machine has cores."""

    con: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    """A connection of its own."""

    def __post_init__(self) -> None:
        self.con.sql("SET parquet_metadata_cache = true")

    def relation(self, query: str) -> duckdb.DuckDBPyRelation:
        return self.con.sql(query.replace("FILE", f"read_parquet('{self.path}')"))

    def ask(self, query: str) -> pa.Table:
        return self.relation(query).to_arrow_table()

    def array(self, query: str) -> NDArray[np.generic]:
        """The columns of an answer, shape [rows] or [rows, columns]."""
        columns = [column.to_numpy() for column in self.ask(query).columns]
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


@dataclass
class BlocksInDuckDB(Engine):
    """(b) The chosen blocks; DuckDB scans and merges, numpy sees whole batches of blocks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.con.create_function("f16_top", _top_of_blocks, ["BLOB"], "FLOAT[]", type="arrow")

    def write(self, values: Values) -> None:
        Blocks(self.path, self.shape).write(values)

    def column(self, neuron: int) -> Values:
        chunks = self.ask(f"SELECT vals FROM FILE WHERE neuron = {neuron}")["vals"].chunks
        return np.concatenate([blocks.decode(chunk) for chunk in chunks])

    def prompt(self, first: int, last: int) -> Values:
        low, high = (at // blocks.BLOCK_TOKENS for at in (first, last - 1))
        query = f"SELECT vals FROM FILE WHERE block BETWEEN {low} AND {high}"
        flat = np.concatenate([blocks.decode(c) for c in self.ask(query)["vals"].chunks])
        start = low * blocks.BLOCK_TOKENS
        return flat.reshape(self.shape[1], -1)[:, first - start : last - start].T

    def matrix(self) -> Values:
        batches = self.relation("SELECT first_tok, vals FROM FILE").to_arrow_reader(2048)
        return blocks.read_matrix(batches, self.shape[1], self.shape[0], self.spare)

    def stripes(self) -> Iterator[Values]:
        yield self.matrix().T

    def top(self, neuron: int) -> NDArray[np.generic]:
        best = f"SELECT unnest(f16_top(vals)) AS v FROM FILE WHERE neuron = {neuron}"
        return self.array(f"SELECT v FROM ({best}) ORDER BY v DESC LIMIT {K}")

    def top_all(self) -> NDArray[np.generic]:
        best = "SELECT neuron, unnest(f16_top(vals)) AS v FROM FILE"
        query = f"SELECT unnest(max(v, {K})) FROM ({best}) GROUP BY neuron ORDER BY neuron"
        return self.array(query).reshape(-1, K)

    def statistics(self) -> NDArray[np.generic]:
        sums = "min(min), max(max), sum(sum), sum(sum_squares)"
        return self.array(f"SELECT {sums} FROM FILE GROUP BY neuron ORDER BY neuron").T


def _top_of_blocks(vals: pa.ChunkedArray) -> pa.Array:
    """The K largest values of each block as lists; blocks of one length are taken together."""
    if isinstance(vals, pa.ChunkedArray):
        vals = vals.combine_chunks()
    flat, lists = blocks.decode(vals), []
    sizes = np.diff(np.frombuffer(vals.buffers()[1], np.int32)[vals.offset :][: len(vals) + 1]) // 2
    cuts = np.flatnonzero(np.diff(sizes, prepend=-1, append=-1))
    starts = np.append(0, np.cumsum(sizes))
    for first, last in itertools.pairwise(cuts):
        rows = flat[starts[first] : starts[last]].reshape(last - first, -1)
        lists += [top_values(rows[at : at + 16]) for at in range(0, len(rows), 16)]
    offsets = np.append(0, np.cumsum(np.minimum(sizes, K))).astype(np.int32)
    halves = np.concatenate([part.reshape(-1) for part in lists])
    return pa.ListArray.from_arrays(offsets, halves.astype(np.float32))


class Long(Engine):
    """(c) A row a value: values rounded to half precision, kept as FLOAT."""

    def write(self, values: Values) -> None:
        schema = pa.schema([("neuron", pa.int32()), ("tok", pa.int32()), ("value", pa.float32())])
        encoding = {"neuron": "DELTA_BINARY_PACKED", "tok": "DELTA_BINARY_PACKED"}
        encoding["value"] = "BYTE_STREAM_SPLIT"
        tok = np.arange(len(values), dtype=np.int32)
        with pq.ParquetWriter(self.path, schema, column_encoding=encoding, **WIDE) as writer:
            for first in range(0, values.shape[1], 8):
                rows = turning.neuron_major(values[:, first : first + 8])
                neuron = np.repeat(np.arange(first, first + 8, dtype=np.int32), len(tok))
                flat = halves.widen(rows).reshape(-1)
                columns = [pa.array(c) for c in (neuron, np.tile(tok, 8), flat)]
                writer.write_table(pa.table(columns, schema=schema))

    def top(self, neuron: int) -> NDArray[np.generic]:
        where = f"WHERE neuron = {neuron}"
        return self.array(f"SELECT value FROM FILE {where} ORDER BY value DESC LIMIT {K}")

    def histogram(self, neuron: int) -> NDArray[np.int64]:
        bins = "floor(greatest(-512, least(511, value)) * 4)::INT + 2048"
        query = f"SELECT {bins}, count(*) FROM FILE WHERE neuron = {neuron} GROUP BY 1"
        return _counts(self.array(query))

    def nearest(self, neurons: list[int], token: int) -> NDArray[np.float32]:
        mine = f"SELECT * FROM FILE WHERE neuron IN {tuple(neurons)}"
        distance = f"(SELECT * FROM m JOIN (SELECT neuron, value AS v FROM m WHERE tok = {token}) "
        query = f"WITH m AS ({mine}) SELECT sum((value - v) ** 2) AS far FROM {distance}"
        return self.array(f"{query} USING (neuron)) GROUP BY tok ORDER BY far LIMIT {K}")

    def prompt(self, first: int, last: int) -> Values:
        query = f"SELECT value FROM FILE WHERE tok >= {first} AND tok < {last}"
        return self.array(query).reshape(self.shape[1], -1).T

    def matrix(self) -> Values:
        flat, filled = self.spare.reshape(-1), 0
        for batch in self.relation("SELECT value FROM FILE").to_arrow_reader(1 << 17):
            flat[filled : filled + len(batch)] = batch.column(0).to_numpy()
            filled += len(batch)
        return self.spare.T

    def top_all(self) -> NDArray[np.generic]:
        query = f"SELECT unnest(max(value, {K})) FROM FILE GROUP BY neuron ORDER BY neuron"
        return self.array(query).reshape(-1, K)

    def statistics(self) -> NDArray[np.generic]:
        query = f"SELECT {SUMS.format('value')} FROM FILE GROUP BY neuron ORDER BY neuron"
        return self.array(query).T


class Columns(Engine):
    """(e) A FLOAT column a neuron, row groups of 32,768 tokens."""

    def write(self, values: Values) -> None:
        names = [f"n{neuron}" for neuron in range(values.shape[1])]
        options = {**WIDE, "column_encoding": dict.fromkeys(names, "BYTE_STREAM_SPLIT")}
        schema = pa.schema([(name, pa.float32()) for name in names])
        with pq.ParquetWriter(self.path, schema, **options) as writer:
            for first in range(0, len(values), 32768):
                rows = halves.widen(turning.neuron_major(values[first : first + 32768]))
                writer.write_table(pa.table(list(map(pa.array, rows)), schema=schema))

    def top(self, neuron: int) -> NDArray[np.generic]:
        return self.array(f"SELECT n{neuron} FROM FILE ORDER BY 1 DESC LIMIT {K}")

    def histogram(self, neuron: int) -> NDArray[np.int64]:
        bins = f"floor(greatest(-512, least(511, n{neuron})) * 4)::INT + 2048"
        return _counts(self.array(f"SELECT {bins}, count(*) FROM FILE GROUP BY 1"))

    def nearest(self, neurons: list[int], token: int) -> NDArray[np.float32]:
        here = f"(SELECT * FROM FILE WHERE file_row_number = {token})"
        far = " + ".join(f"(a.n{neuron} - b.n{neuron}) ** 2" for neuron in neurons)
        return self.array(f"SELECT {far} AS far FROM FILE a, {here} b ORDER BY far LIMIT {K}")

    def prompt(self, first: int, last: int) -> Values:
        where = f"file_row_number >= {first} AND file_row_number < {last}"
        return self.array(f"SELECT * FROM FILE WHERE {where}")

    def matrix(self) -> Values:
        filled = 0
        for batch in self.relation("SELECT * FROM FILE").to_arrow_reader(2048):
            for neuron, column in enumerate(batch.columns):
                self.spare[neuron, filled : filled + len(batch)] = column.to_numpy()
            filled += len(batch)
        return self.spare.T

    def top_all(self) -> NDArray[np.generic]:
        best = ", ".join(f"max(n{neuron}, {K})" for neuron in range(self.shape[1]))
        return np.stack(
            [c.combine_chunks().flatten() for c in self.ask(f"SELECT {best} FROM FILE")]
        )

    def statistics(self) -> NDArray[np.generic]:
        sums = ", ".join(SUMS.format(f"n{neuron}") for neuron in range(self.shape[1]))
        return self.array(f"SELECT {sums} FROM FILE").reshape(-1, 4).T


def _counts(rows: NDArray[np.generic]) -> NDArray[np.int64]:
    counts = np.zeros(4096, np.int64)
    counts[rows[:, 0].astype(np.int64)] = rows[:, 1]
    return counts
