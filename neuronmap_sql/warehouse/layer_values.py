"""All stored values of a layer, some neurons at a time: what passes over a layer read.

Memory is bounded however many tokens and neurons there are. Blocks are read once, in their order.
Rows of `token_matrices`, where only those are kept, are read again for each stripe, since a row has
all neurons: once, if the layer fits into the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError, UnknownNameError, UsageError
from neuronmap_sql.numerics.blocks import block_values, decode
from neuronmap_sql.numerics.int8 import decode_blocks
from neuronmap_sql.numerics.turning import neuron_major
from neuronmap_sql.warehouse.block_files import tokenizer_of
from neuronmap_sql.warehouse.frames import not_kept, stored_files
from neuronmap_sql.warehouse.names import decode as decode_name
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.schema import PARTITION_KEYS
from neuronmap_sql.warehouse.store import Store

__all__ = ["LayerValues", "Stripe", "kept_layers", "layer_values"]

Halves = NDArray[np.float16]

_TABLES = ("activations", "token_matrices", "activations_int8")
"""Tables of values, best first: blocks are read once, and codes are rounded."""

_BATCH_ROWS = 64
"""Blocks, or tokens, read at a time."""


@dataclass(frozen=True)
class Stripe:
    """All values of some neurons that follow each other."""

    first: int
    """First neuron."""
    values: Halves
    """[neurons, tokens], C-contiguous; NaN where the model gave no storable number."""


@dataclass(frozen=True)
class LayerValues:
    """Where all values of one site and layer are."""

    layer: int
    """Layer."""
    dataset: str
    """Dataset."""
    tokenizer: str
    """Tokenizer of its tokens."""
    table: str
    """Table that they are in."""
    files: tuple[Path, ...]
    """Its files."""
    tokens: int
    """Tokens: value i belongs to `tok = i`."""
    neurons: int
    """Neurons."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Runs that the files belong to, sorted."""
        folders = {path.parents[len(PARTITION_KEYS) + 1].name for path in self.files}
        return tuple(sorted(decode_name(name.removeprefix("run=")) for name in folders))

    def stripes(self, memory: int) -> Iterator[Stripe]:
        """Yield all neurons in order, some at a time.

        Args:
            memory: bytes of values at a time, or those of one neuron if these are more.

        Raises:
            StoreError: blocks are missing, doubled or out of order.
        """
        step = max(1, min(self.neurons, memory // max(1, 2 * self.tokens)))
        if self.table != "token_matrices":
            yield from self._of_blocks(step)
            return
        for first in range(0, self.neurons, step):
            yield Stripe(first, self._columns(slice(first, min(first + step, self.neurons))))

    def _of_blocks(self, step: int) -> Iterator[Stripe]:
        values_of = _values_of(self.files[0])
        names = ["first_tok", "n", "vals", *values_of.columns]
        first, filled = 0, 0
        flat = np.empty(min(step, self.neurons) * self.tokens, np.float16)
        for batch in _batches(self.files, names):
            values = values_of.of(batch)
            if not self._follows(batch, filled):
                raise self._torn(first)
            while len(values):
                taken = min(len(values), len(flat) - filled)
                flat[filled : filled + taken] = values[:taken]
                values, filled = values[taken:], filled + taken
                if filled == len(flat):
                    yield Stripe(first, flat.reshape(-1, self.tokens))
                    first += len(flat) // self.tokens
                    left = min(step, self.neurons - first) * self.tokens
                    flat, filled = flat if left == len(flat) else np.empty(left, np.float16), 0
                    if not left and len(values):
                        raise self._torn(first)
        if first != self.neurons:
            raise self._torn(first)

    def _follows(self, batch: pa.RecordBatch, filled: int) -> bool:
        """Whether blocks go on where so many values end."""
        ends = filled + np.cumsum(batch.column("n").to_numpy(), dtype=np.int64)
        starts = np.concatenate([[filled], ends[:-1]]) % self.tokens
        return np.array_equal(batch.column("first_tok").to_numpy(), starts[: len(batch)])

    def _columns(self, part: slice) -> Halves:
        rows, filled = np.empty((self.tokens, part.stop - part.start), np.float16), 0
        for batch in _batches(self.files, ["vals"]):
            values = decode(batch.column("vals")).reshape(len(batch), -1)
            rows[filled : filled + len(batch)] = values[:, part]
            filled += len(batch)
        return neuron_major(rows)

    def _torn(self, neuron: int) -> StoreError:
        return StoreError(
            f"{self.files[0].parent}: blocks are missing, doubled or out of order near neuron"
            f" {neuron}: `neuronmap verify` says more"
        )


def layer_values(
    root: str | Path, model: str, layer: int, site: str = "mlp", dataset: str | None = None
) -> LayerValues:
    """Find all values of one site and layer: in activations, token_matrices or activations_int8.

    Args:
        root: the warehouse folder.
        model: model, or model@revision.
        layer: layer.
        site: site.
        dataset: may be left out when there is but one.

    Raises:
        UnknownNameError: no values of that model, site, layer and dataset were kept.
        UsageError: several datasets, and none is named.
        StoreError: `root` is not a warehouse.
    """
    for table in _TABLES:
        found = stored_files(root, table, model, site, layer, dataset)
        if len(found) > 1:
            names = ", ".join(found)
            raise UsageError(f"values of several datasets are kept, name one: {names}")
        for name, files in found.items():
            shape = _shape_of_rows(files) if table == "token_matrices" else _shape_of_blocks(files)
            return LayerValues(layer, name, tokenizer_of(files[0]), table, tuple(files), *shape)
    raise not_kept(model, site, layer, dataset)


def kept_layers(
    root: str | Path, model: str, site: str = "mlp", dataset: str | None = None
) -> tuple[int, ...]:
    """Return the layers of a site with values, ascending.

    Raises:
        UnknownNameError: there are none.
        StoreError: `root` is not a warehouse.
    """
    name = "*" if dataset is None else encode(dataset, "dataset")
    place = f"model={encode(model, 'model')}/dataset={name}/site={encode(site, 'site')}/layer=*"
    runs = Store.open(root).root / "runs"
    found = {path.name for table in _TABLES for path in runs.glob(f"*/{table}/{place}")}
    if not found:
        raise UnknownNameError(
            f"no values kept of model {model!r}, site {site!r}"
            f"{f', dataset {dataset!r}' if dataset else ''}: `SELECT DISTINCT model, dataset, site"
            " FROM activations` (or activations_int8) lists them; an ingest with `--keep"
            " activations` keeps them"
        )
    return tuple(sorted(int(layer.removeprefix("layer=")) for layer in found))


@dataclass(frozen=True)
class _Decoder:
    """How the values of blocks are read."""

    columns: tuple[str, ...]
    """Columns beside vals."""
    of: Callable[[pa.RecordBatch], Halves]
    """Gives the values of a batch, one block after another."""


def _values_of(path: Path) -> _Decoder:
    if "scale" not in pq.read_schema(path).names:
        return _Decoder((), block_values)
    return _Decoder(("scale", "center"), _coded_values)


def _coded_values(batch: pa.RecordBatch) -> Halves:
    scale, center = (batch.column(name).to_numpy() for name in ("scale", "center"))
    return decode_blocks(batch.column("vals"), scale, center)[0].astype(np.float16)


def _shape_of_blocks(files: list[Path]) -> tuple[int, int]:
    shape = pa.Table.from_batches(_batches(tuple(files), ["neuron", "first_tok", "n"], 1 << 16))
    ends = shape["first_tok"].to_numpy() + shape["n"].to_numpy()
    return int(ends.max()), int(shape["neuron"].to_numpy().max()) + 1


def _shape_of_rows(files: list[Path]) -> tuple[int, int]:
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    batch = next(_batches(tuple(files), ["vals"], 1))
    return rows, len(decode(batch.column("vals")))


def _batches(
    files: tuple[Path, ...], columns: list[str], rows: int = _BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pq.ParquetFile(path) as source:
            yield from source.iter_batches(rows, columns=columns)
