"""Top values and nearest tokens from a warehouse's files, through Python, SQL and the files."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.spatial.distance import cdist
from small_warehouse import DOC_OF, NEURONS, TOKENS, WORDS, values

import neuronmap_sql as nm
from neuronmap_sql.errors import QueryError, StoreError, UnknownNameError, UsageError
from neuronmap_sql.numerics.blocks import iter_block_tables, writer_options
from neuronmap_sql.warehouse.block_files import BlockFiles
from neuronmap_sql.warehouse.search import nearest_tokens, top_tokens
from neuronmap_sql.warehouse.store import Store

LONG = 700
HALVES = np.random.default_rng(5).standard_cauchy((LONG, 12)).astype(np.float16)


def write(path: Path, group: int = 5, block: int = 64, **options: object) -> Path:
    """Blocks of HALVES, as an ingest lays them out but for `options`."""
    with pq.ParquetWriter(path, pa.schema(_tables(group, block)[0].schema), **{
        **writer_options(), **options
    }) as writer:  # fmt: skip
        for table in _tables(group, block):
            writer.write_table(table)
    return path


def _tables(group: int, block: int) -> list[pa.Table]:
    return list(iter_block_tables(HALVES.copy(), block, group))


LAYOUTS: dict[str, dict[str, object]] = {
    "one plain page": {},
    "many pages": {"data_page_size": 1000, "write_batch_size": 3},
    "zstd": {"compression": "zstd"},
    "dictionary": {"use_dictionary": ["vals"]},
    "second version of pages": {"data_page_version": "2.0"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_are_read_from_any_layout(tmp_path: Path, layout: str) -> None:
    path = write(tmp_path / "a.parquet", **LAYOUTS[layout])
    blocks = BlockFiles([path], [11, 3, 4])
    parts = [blocks.read(block) for block in range(len(blocks.starts))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), HALVES[:, [11, 3, 4]].T)
    for at, neuron in enumerate((11, 3, 4)):
        ends = np.append(blocks.starts, LONG)
        pieces = [HALVES[a:b, neuron] for a, b in pairwise(ends)]
        assert blocks.low[at].tolist() == [piece.min() for piece in pieces]
        assert blocks.high[at].tolist() == [piece.max() for piece in pieces]


def test_only_the_blocks_asked_for_are_read(tmp_path: Path) -> None:
    blocks = BlockFiles([write(tmp_path / "a.parquet", group=12)], [7])
    zones = blocks.bytes_read
    blocks.read(2)
    assert blocks.bytes_read == zones + 2 * 64
    blocks = BlockFiles([write(tmp_path / "b.parquet", group=12, compression="zstd")], [7])
    zones = blocks.bytes_read
    blocks.read(2)
    assert blocks.bytes_read > zones + 12 * LONG


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    first = BlockFiles([path], [0]).read(0)
    pq.write_table(pq.read_table(path).slice(11, 22), path)
    assert not np.array_equal(BlockFiles([path], [1]).read(0), first)
    with pytest.raises(KeyError):
        BlockFiles([path], [0])


def test_missing_blocks_are_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    pq.write_table(pq.read_table(path).slice(0, 21), path)
    with pytest.raises(StoreError, match="lacks blocks: `neuronmap verify`"):
        BlockFiles([path], [0, 1])


@pytest.mark.parametrize("side", ["highest", "lowest"])
@pytest.mark.parametrize("k", [1, 2, 5, TOKENS, 100])
def test_top_values_are_exact_for_any_k(filled: Store, side: str, k: int) -> None:
    sign = -1 if side == "highest" else 1
    found = nm.open(filled.root).top_values("m", 1, 3, k, side=side)  # type: ignore[arg-type]
    x = {d: values(1, d)[:, 3] for d in "de"}
    order = {d: np.argsort(sign * x[d], kind="stable")[:k].tolist() for d in "de"}
    assert found["tok"].to_list() == order["d"] + order["e"]
    assert found["value"].to_list() == [x[d][t] for d in "de" for t in order[d]]
    assert found["token"].to_list() == [WORDS[t] for d in "de" for t in order[d]]
    assert found["doc"].to_list() == [DOC_OF[t] for d in "de" for t in order[d]]
    assert all(f"[[{word}]]".replace("\n", " ") in context for word, context in
               found.select("token", "context").rows())  # fmt: skip
    assert found["blocks_read"].max() <= min(k, 3) == min(k, found["blocks"][0])


@pytest.mark.parametrize("combine", ["sum", "min"])
def test_several_neurons_are_taken_together(filled: Store, combine: str) -> None:
    x = values(0)[:, [0, 2, 3]]
    scores = x.sum(1) if combine == "sum" else x.min(1)
    wh = nm.open(filled.root)
    found = wh.top_values("m", 0, [0, 2, 3], 5, combine=combine, dataset="d")  # type: ignore[arg-type]
    assert found["tok"].to_list() == np.argsort(-scores, kind="stable")[:5].tolist()
    np.testing.assert_array_equal(found["value"], np.sort(scores)[::-1][:5])


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_nearest_tokens(filled: Store, metric: str) -> None:
    x = values(1)[:, [1, 2]]
    distances = cdist(x[11:12], x, "euclidean" if metric == "l2" else "cosine")[0]
    order = [tok for tok in np.argsort(distances, kind="stable") if tok != 11][:6]
    wh = nm.open(filled.root)
    found = wh.nearest("m", 1, [1, 2], 1, 1, 6, metric=metric, dataset="d")  # type: ignore[arg-type]
    assert found["tok"].to_list() == order
    np.testing.assert_allclose(found["distance"], distances[order])


def test_sql_takes_a_neuron_or_several_and_joins(filled: Store) -> None:
    wh = nm.open(filled.root)
    one = wh.sql("FROM py.top_values('m', 1, 3, k := 4)").fetchall()
    assert one == wh.sql("FROM py.top_values('m', 1, [3], k := 4)").fetchall()
    assert [tuple(row) for row in wh.top_values("m", 1, 3, 4).rows()] == one
    each = wh.sql(
        "SELECT n, v.tok FROM range(4) AS r(n),"
        " py.top_values('m', 1, n, k := 1, dataset := 'd') AS v"
    ).fetchall()
    assert sorted(each) == [(n, int(values(1)[:, n].argmax())) for n in range(NEURONS)]
    assert wh.sql("FROM py.nearest('m', 1, [1, 2], 99, 0)").fetchall() == []


def test_what_is_not_there_is_refused(filled: Store) -> None:
    wh = nm.open(filled.root)
    with pytest.raises(UnknownNameError, match="no values kept of model 'n', site 'mlp', layer 1"):
        wh.top_values("n", 1, 3)
    with pytest.raises(UnknownNameError, match="no values of neuron 9 are kept of model 'm'"):
        wh.nearest("m", 1, [0, 9], 0, 0)
    with pytest.raises(UnknownNameError, match=r"no stored values at doc 5, pos 0: `FROM prompt"):
        wh.nearest("m", 1, 0, 5, 0)
    with pytest.raises(UsageError, match="side is highest or lowest, not 'top'"):
        wh.top_values("m", 1, 3, side="top")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no neurons"):
        wh.top_values("m", 1, [])
    with pytest.raises(QueryError, match="metric is l2 or cosine, not 'l1'"):
        wh.sql("FROM py.nearest('m', 1, [1, 2], 0, 0, metric := 'l1')").fetchall()
    with pytest.raises(UnknownNameError, match="no values of token 13 are kept"):
        nearest_tokens(filled.root, "m", "mlp", 1, [0], TOKENS, 3)
    with pytest.raises(UnknownNameError, match="no values of token -1 are kept"):
        nearest_tokens(filled.root, "m", "mlp", 1, [0], -1, 3)


def test_bytes_are_counted(filled: Store) -> None:
    [found] = top_tokens(filled.root, "m", "mlp", 1, [3], 1, dataset="d")
    assert 0 < found.bytes_read < 1000
