"""Neuron-major blocks of float16 values: how table `activations` is written and read back.

A forward pass makes token-major values [tokens, neurons]; questions mostly ask for few neurons over
all tokens. So the spool is turned around once, stripe by stripe, and cut into blocks of
BLOCK_TOKENS tokens, each with its zone map (min, max, sum, sum of squares). The constants carry
what `benchmarks/layout.py` measured; the table is in docs/benchmarks.md, section Layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError
from neuronmap_sql.numerics.halves import zone_maps
from neuronmap_sql.numerics.turning import iter_turned, neuron_major

__all__ = [
    "BLOCK_TOKENS",
    "COMPRESSION",
    "ROW_GROUP_BYTES",
    "SCHEMA",
    "binary_blocks",
    "block_table",
    "block_values",
    "decode",
    "flat_bytes",
    "iter_block_tables",
    "neurons_per_group",
    "read_matrix",
    "writer_options",
    "zone_columns",
]

BLOCK_TOKENS = 4096
"""Tokens of a block. 1,024 reads a matrix 1.7 times slower and writes at 0.7 of the speed; longer
blocks change no question by more than the noise, and their zone maps prune less."""
ROW_GROUP_BYTES = 4 << 20
"""Values of a row group, the unit of reading. 1 MB reads one neuron 1.6 times slower, since the
footer has four times the row groups; 8 MB up to 1.5 times: more neurons come with the one."""
COMPRESSION = "NONE"
"""Codec of `vals`. zstd takes 14 % off the bytes, but reads a neuron 3 times and a matrix 4 times
slower; byte planes (high bytes with zstd) take 22 % off at the same price; lz4 takes nothing."""

SCHEMA = pa.schema(
    [
        pa.field("neuron", pa.int32(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),
        pa.field("first_tok", pa.int64(), nullable=False),
        pa.field("n", pa.int32(), nullable=False),
        pa.field("min", pa.float32()),
        pa.field("max", pa.float32()),
        pa.field("sum", pa.float64()),
        pa.field("sum_squares", pa.float64()),
        # large: more than 2 GiB of values are still one array; to Parquet it is all one
        pa.field("vals", pa.large_binary(), nullable=False),
    ]
)
"""The columns that `block_table` gives; key columns are the caller's."""


def block_table(
    values: NDArray[np.float16],
    first_neuron: int = 0,
    block: int = BLOCK_TOKENS,
    first_block: int = 0,
) -> pa.Table:
    """Cut token-major values into neuron-major blocks with zone maps.

    Args:
        values: shape [tokens, neurons], float16, may be a memmap or a slice of one; not changed.
        first_neuron: neuron of column 0.
        block: tokens of a block; the last block may be shorter.
        first_block: block of row 0, if `values` continue earlier tokens.

    Returns:
        A table of SCHEMA, sorted by neuron, then block. Values that are not finite are stored as
        NaN and left out of the zone map; a block without finite values has NULL as min and max.
    """
    return _table(neuron_major(values), first_neuron, block, first_block)


def iter_block_tables(
    values: NDArray[np.float16],
    block: int = BLOCK_TOKENS,
    group: int = 0,
    first_block: int = 0,
) -> Iterator[pa.Table]:
    """Cut token-major values into tables of `group` neurons: one Parquet row group each.

    Memory stays near twice STRIPE_BYTES, or two groups if those are larger, however long the spool.

    Args:
        values: shape [tokens, neurons], float16, usually the memmap of a layer's spool.
        block: tokens of a block.
        group: neurons of a table; 0: `neurons_per_group(tokens)`.
        first_block: block of row 0.

    Yields:
        Tables as `block_table` makes them, in order of neurons.
    """
    for first, turned in iter_turned(values, group or neurons_per_group(len(values))):
        yield _table(turned, first, block, first_block)


def neurons_per_group(tokens: int) -> int:
    """Return how many neurons of so many tokens fill a row group of ROW_GROUP_BYTES."""
    return max(1, ROW_GROUP_BYTES // max(1, 2 * tokens))


def writer_options() -> dict[str, Any]:
    """Return the options of `pyarrow.parquet.ParquetWriter` that go with the layout.

    Statistics of `vals` would repeat a block in every footer, and a dictionary never fits; of the
    narrow columns only the keys and the zone map are worth their bytes in the footer.
    """
    narrow = [name for name in SCHEMA.names if name != "vals"]
    return {
        "compression": COMPRESSION,
        "use_dictionary": False,
        "write_statistics": narrow,
        "column_encoding": None,
        "data_page_size": ROW_GROUP_BYTES,
    }


def _table(
    turned: NDArray[np.float16], first_neuron: int, block: int, first_block: int
) -> pa.Table:
    zones = zone_maps(turned, block)
    columns = zone_columns(zones, turned.shape[1], first_neuron, block, first_block)
    return pa.table(columns | {"vals": binary_blocks(turned, block)}, schema=SCHEMA)


def zone_columns(
    zones: NDArray[np.float64],
    tokens: int,
    first_neuron: int = 0,
    block: int = BLOCK_TOKENS,
    first_block: int = 0,
) -> dict[str, pa.Array]:
    """Return the columns of SCHEMA but `vals`, sorted by neuron, then block.

    Args:
        zones: what `zone_maps` returns, shape [4, neurons, blocks].
        tokens: tokens of each neuron.
        first_neuron: neuron of the first row.
        block: tokens of a block.
        first_block: number of each neuron's first block.
    """
    _, neurons, blocks = zones.shape
    low, high, total, squares = zones.reshape(4, -1)
    neuron = np.arange(first_neuron, first_neuron + neurons, dtype=np.int32)
    number = np.arange(first_block, first_block + blocks, dtype=np.int32)
    left = tokens - np.arange(blocks, dtype=np.int64) * block
    return {
        "neuron": pa.array(np.repeat(neuron, blocks)),
        "block": pa.array(np.tile(number, neurons)),
        "first_tok": pa.array(np.tile(number.astype(np.int64) * block, neurons)),
        "n": pa.array(np.tile(np.minimum(block, left).astype(np.int32), neurons)),
        "min": pa.array(low.astype(np.float32), mask=np.isnan(low)),
        "max": pa.array(high.astype(np.float32), mask=np.isnan(high)),
        "sum": pa.array(total),
        "sum_squares": pa.array(squares),
    }


def binary_blocks(
    turned: NDArray[np.float16] | NDArray[np.int8], block: int = BLOCK_TOKENS
) -> pa.Array:
    """Show neuron-major values as one binary a block: offsets beside their own memory, no copy."""
    neurons, tokens = turned.shape
    first = np.arange(0, tokens, block, dtype=np.int64)
    starts = np.arange(neurons, dtype=np.int64)[:, None] * tokens + first
    offsets = np.append(starts.ravel(), neurons * tokens) * turned.itemsize
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(turned)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), starts.size, buffers)


def decode(vals: pa.Array) -> NDArray[np.float16]:
    """Show the values of a binary array, one block after another, without a copy.

    Args:
        vals: binary, large_binary or fixed_size_binary array without nulls; may be a slice.

    Returns:
        All values in one read-only array [values], float16.
    """
    found = flat_bytes(vals)
    return found[: len(found) // 2 * 2].view(np.float16)


def block_values(batch: pa.RecordBatch) -> NDArray[np.float16]:
    """Show the float16 values of a batch of blocks, as `decode` does."""
    return decode(batch.column("vals"))


def flat_bytes(vals: pa.Array) -> NDArray[np.uint8]:
    """Show the bytes of a binary array, as `decode` does, in one read-only array."""
    buffers = vals.buffers()
    if pa.types.is_fixed_size_binary(vals.type):
        width = vals.type.byte_width
        start, stop = vals.offset * width, (vals.offset + len(vals)) * width
    else:
        kind = np.int64 if pa.types.is_large_binary(vals.type) else np.int32
        offsets = np.frombuffer(buffers[1], kind)[vals.offset : vals.offset + len(vals) + 1]
        start, stop = (int(offsets[0]), int(offsets[-1])) if len(vals) else (0, 0)
    if start == stop:
        return np.empty(0, np.uint8)
    found = np.frombuffer(buffers[-1], np.uint8, stop - start, start)
    found.flags.writeable = False
    return found


def read_matrix(
    batches: Iterable[pa.RecordBatch],
    neurons: int,
    tokens: int,
    out: NDArray[np.float16] | None = None,
    values_of: Callable[[pa.RecordBatch], NDArray[np.float16]] = block_values,
) -> NDArray[np.float16]:
    """Put blocks together as a matrix.

    Args:
        batches: with columns `first_tok` and `vals`, sorted by neuron, then block.
        neurons: how many neurons the batches hold.
        tokens: tokens of each, from 0.
        out: C-contiguous array [neurons, tokens] to fill; fresh memory costs as much as the copy.
        values_of: gives the values of a batch, one block after another.

    Returns:
        Shape [tokens, neurons], float16: a view of neuron-major memory (Fortran order).

    Raises:
        StoreError: blocks are missing, doubled or out of order.
    """
    matrix = np.empty((neurons, tokens), np.float16) if out is None else out
    flat, filled = matrix.reshape(-1), 0
    for batch in batches:
        values = values_of(batch)
        first = batch.column("first_tok").to_numpy()
        if filled + len(values) > flat.size or (len(first) and first[0] != filled % tokens):
            raise StoreError(f"blocks of activations are doubled or out of order at value {filled}")
        flat[filled : filled + len(values)] = values
        filled += len(values)
    if filled != flat.size:
        raise StoreError(f"blocks of activations are missing: {filled} of {flat.size} values found")
    return matrix.T
