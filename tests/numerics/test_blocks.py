"""Blocks against brute force in float64, on any shape and any bit pattern."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError
from neuronmap_sql.numerics import blocks, halves, turning

EVERY_HALF = np.arange(65536, dtype=np.uint16).view(np.float16)

# Any 16 bits: zeros of both signs, subnormals, infinities and every kind of NaN among them.
ANY = hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)).map(
    lambda bits: bits.view(np.float16)
)
FEW = hnp.arrays(
    np.float16,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, 6e-8, 65504.0, np.nan, np.inf, -np.inf]),
)

SUMS = ["sum", "sum_squares"]  # their last bit depends on what is measured together


def brute_force(values: NDArray[np.float16], block: int) -> list[dict[str, object]]:
    """Every block with Python loops and float64, from the definitions in the table's comments."""
    rows: list[dict[str, object]] = []
    for neuron in range(values.shape[1]):
        for number, first in enumerate(range(0, len(values), block)):
            mine = values[first : first + block, neuron]
            finite = mine[np.isfinite(mine)].astype(np.float64)
            rows.append(
                {
                    "neuron": neuron,
                    "block": number,
                    "first_tok": first,
                    "n": len(mine),
                    "min": min(finite, default=None),
                    "max": max(finite, default=None),
                    "sum": pytest.approx(sum(finite), rel=1e-12, abs=1e-9),
                    "sum_squares": pytest.approx(sum(finite**2), rel=1e-12),
                }
            )
    return rows


def stored(values: NDArray[np.float16]) -> NDArray[np.float16]:
    """What a reader must see: the values, NaN where they are not finite."""
    return np.where(np.isfinite(values), values, np.float16("nan"))


@settings(deadline=None)
@given(values=ANY | FEW, block=st.integers(1, 50))
def test_zone_maps_and_keys_equal_brute_force(values: NDArray[np.float16], block: int) -> None:
    table = blocks.block_table(values, block=block)
    assert table.schema == blocks.SCHEMA
    assert table.drop_columns(["vals"]).to_pylist() == brute_force(values, block)


@settings(deadline=None)
@given(values=ANY | FEW, block=st.integers(1, 50), group=st.integers(1, 9))
def test_matrix_comes_back_from_groups(values: NDArray[np.float16], block: int, group: int) -> None:
    before = values.tobytes()
    tables = list(blocks.iter_block_tables(values, block, group))
    whole = blocks.block_table(values, block=block)
    batches = [batch for table in tables for batch in table.to_batches()]
    matrix = blocks.read_matrix(batches, values.shape[1], len(values))
    np.testing.assert_array_equal(matrix, stored(values))
    assert all(len(set(table["neuron"].to_pylist())) <= group for table in tables)
    assert pa.concat_tables(tables).drop_columns(SUMS).equals(whole.drop_columns(SUMS))
    assert values.tobytes() == before, "the spool was changed"


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5000, 1), (4096, 130), (4097, 129)])
def test_tiles_and_stripes_meet(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turning, "STRIPE_BYTES", 1 << 16)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    tables = blocks.iter_block_tables(values, block=1000, group=3)
    batches = [batch for table in tables for batch in table.to_batches()]
    np.testing.assert_array_equal(blocks.read_matrix(batches, shape[1], shape[0]), values)
    np.testing.assert_array_equal(turning.neuron_major(values), values.T)


def test_a_later_shard_goes_on_counting() -> None:
    table = blocks.block_table(np.zeros((5, 2), np.float16), 7, block=4, first_block=3)
    assert table["neuron"].to_pylist() == [7, 7, 8, 8]
    assert table["block"].to_pylist() == [3, 4, 3, 4]
    assert table["first_tok"].to_pylist() == [12, 16, 12, 16]
    assert table["n"].to_pylist() == [4, 1, 4, 1]


def test_a_block_of_nan_has_no_extremes_and_sums_to_zero() -> None:
    values = np.full((4, 1), np.nan, np.float16)
    values[0] = np.inf
    row = blocks.block_table(values, block=4).drop_columns(["vals"]).to_pylist()[0]
    assert (row["min"], row["max"], row["sum"], row["sum_squares"]) == (None, None, 0.0, 0.0)


def test_keys_sort_as_the_values_do() -> None:
    finite = EVERY_HALF[np.isfinite(EVERY_HALF)]
    ordered = finite[np.argsort(halves.order_keys(finite), kind="stable")]
    assert (np.diff(ordered.astype(np.float64)) >= 0).all()
    twice = halves.order_keys(halves.order_keys(EVERY_HALF).view(np.float16))
    np.testing.assert_array_equal(twice.view(np.uint16), EVERY_HALF.view(np.uint16))


def test_widen_equals_astype_on_every_half() -> None:
    finite = EVERY_HALF[np.isfinite(EVERY_HALF)]
    np.testing.assert_array_equal(halves.widen(finite), finite.astype(np.float32))
    for odd in EVERY_HALF[~np.isfinite(EVERY_HALF)]:
        mixed = np.array([1.5, odd], np.float16)
        np.testing.assert_array_equal(halves.widen(mixed), mixed.astype(np.float32))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(6)])
def test_decode_is_a_view_of_a_slice(kind: pa.DataType) -> None:
    halves = np.arange(12, dtype=np.float16)
    array = pa.array([halves[i : i + 3].tobytes() for i in range(0, 12, 3)], kind)
    decoded = blocks.decode(array.slice(1, 2))
    np.testing.assert_array_equal(decoded, halves[3:9])
    assert decoded.base is not None
    assert not decoded.flags.writeable
    assert blocks.decode(array.slice(0, 0)).shape == (0,)


def test_out_of_order_and_missing_blocks_are_refused() -> None:
    batch = blocks.block_table(np.zeros((8, 2), np.float16), block=4).to_batches()[0]
    rows = [batch.slice(at, 1) for at in range(4)]
    with pytest.raises(StoreError, match="out of order"):
        blocks.read_matrix([rows[1], rows[0], *rows[2:]], 2, 8)
    with pytest.raises(StoreError, match="out of order"):
        blocks.read_matrix([*rows, rows[0]], 2, 8)
    with pytest.raises(StoreError, match="missing: 12 of 16"):
        blocks.read_matrix(rows[:3], 2, 8)


def test_a_matrix_is_read_into_memory_given() -> None:
    values = np.arange(12, dtype=np.float16).reshape(4, 3)
    out = np.empty((3, 4), np.float16)
    matrix = blocks.read_matrix(blocks.block_table(values).to_batches(), 3, 4, out)
    assert np.shares_memory(matrix, out)
    np.testing.assert_array_equal(matrix, values)


def test_duckdb_reads_the_file_with_its_zone_maps(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(1000, 6)).astype(np.float16)
    values[500, 3] = np.nan
    file = tmp_path / "blocks.parquet"
    with pq.ParquetWriter(file, blocks.SCHEMA, **blocks.writer_options()) as writer:
        for table in blocks.iter_block_tables(values, block=256, group=2):
            writer.write_table(table)
    con = duckdb.connect()
    relation = con.sql(
        "SELECT neuron, block, max, octet_length(vals), vals FROM read_parquet($f) ORDER BY ALL",
        params={"f": str(file)},
    )
    for neuron, block, high, size, vals in relation.fetchall():
        mine = stored(values)[256 * block : 256 * (block + 1), neuron]
        assert high == np.nanmax(mine)
        assert size == 2 * len(mine)
        np.testing.assert_array_equal(np.frombuffer(vals, "<f2"), mine)
    assert pq.ParquetFile(file).metadata.num_row_groups == 3
