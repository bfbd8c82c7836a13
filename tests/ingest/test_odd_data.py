"""Documents of one token, of a megabyte, and none at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from known_values import Values, ingested

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError

WORDS = 30
VALUES = np.random.default_rng(2).standard_normal((WORDS, 5)).astype(np.float32)
POOLS = ["mean", "first", "last", "max"]


def stored(wh: nm.Warehouse, docs: Sequence[Sequence[int]]) -> Values:
    """Return what must be stored, after a look at tokens, counts and variances."""
    ids = np.concatenate(docs)
    doc = np.repeat(np.arange(len(docs)), [len(one) for one in docs])
    pos = np.concatenate([np.arange(len(one)) for one in docs])
    tokens = wh.sql("SELECT doc, pos, token_id FROM tokens ORDER BY tok").fetchall()
    assert np.array_equal(tokens, np.stack([doc, pos, ids], axis=1))
    found = wh.sql("SELECT count, variance FROM neuron_stats ORDER BY neuron").fetchall()
    exact = VALUES[ids].astype(np.float64)
    assert [count for count, _ in found] == [len(ids)] * 5
    assert [variance for _, variance in found] == pytest.approx(exact.var(axis=0), rel=1e-9)
    return VALUES[ids].astype(np.float16)


def test_documents_of_one_token(tmp_path: Path) -> None:
    docs = [[n % WORDS] for n in range(70)]
    with ingested(tmp_path, VALUES, docs, keep={"pool": POOLS}) as wh:
        assert np.array_equal(wh.matrix("m", 0, site="s"), stored(wh, docs))
        rows = wh.sql("SELECT doc, n, vector FROM vectors").fetchall()
        assert len(rows) == len(docs) * len(POOLS)
        for doc, count, vector in rows:
            assert (count, vector) == (1, VALUES[doc % WORDS].tolist())
        tolerance = wh.sql("SELECT tolerance FROM runs WHERE kind = 'activations'").fetchall()
        assert tolerance == [(0.0,)]


def test_one_document_of_one_token(tmp_path: Path) -> None:
    with ingested(tmp_path, VALUES, [[7]]) as wh:
        found = wh.sql("SELECT mean, variance, skewness, min, max, q001, q999 FROM neuron_stats")
        for (mean, variance, skewness, *same), value in zip(
            found.fetchall(), VALUES[7].tolist(), strict=True
        ):
            assert (mean, variance, skewness, same) == (value, 0, None, [value] * 4)
        assert wh.sql("SELECT count(*) FROM firings").fetchall() == [(int((VALUES[7] > 0).sum()),)]
        assert wh.verify() == []


def test_a_megabyte_is_split_into_windows_and_every_token_counted_once(tmp_path: Path) -> None:
    docs = [[1, 2], np.random.default_rng(4).integers(0, WORDS, 350_000).tolist(), [3]]
    assert max(len(" ".join(f"w{n}" for n in doc)) for doc in docs) > 1 << 20
    keep = {"tables": ["stats", "matrices", "vectors"], "pool": ["mean", "last"]}
    sizes = {"tokens": 0, "shard_tokens": 0}
    with ingested(tmp_path, VALUES, docs, keep=keep, batch=sizes) as wh:
        assert np.array_equal(wh.matrix("m", 0, site="s"), stored(wh, docs))
        windows = wh.sql("SELECT count(DISTINCT win), max(win_pos) FROM tokens").fetchall()
        assert windows == [(2 + -(-len(docs[1]) // 1024), 1023)]
        pools = dict(wh.sql("SELECT pool, vector FROM vectors WHERE doc = 1").fetchall())
        mean = VALUES[docs[1]].astype(np.float64).mean(axis=0)
        assert pools["mean"] == pytest.approx(mean, rel=1e-6)
        assert pools["last"] == VALUES[docs[1][-1]].tolist()
        end = "SELECT substr(text, char_start + 1) FROM tokens JOIN docs USING (doc) WHERE tok = $t"
        assert wh.sql(end, {"t": 1 + len(docs[1])}).fetchall() == [(f"w{docs[1][-1]}",)]


def test_a_megabyte_without_a_space_is_one_token(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("x" * (1 << 20) + "\nw5 w6\n")
    with ingested(tmp_path, VALUES, [], data={"path": str(tmp_path / "long.txt")}) as wh:
        found = wh.sql("SELECT doc, char_end - char_start FROM tokens ORDER BY tok").fetchall()
        assert found == [(0, 1 << 20), (1, 2), (1, 2)]
        assert np.array_equal(wh.matrix("m", 0, site="s"), VALUES[[0, 5, 6]].astype(np.float16))


@pytest.mark.parametrize(
    ("docs", "message"),
    [
        ([], r"^no documents in .*words\.jsonl: it is empty"),
        ([[], [], []], r"^no documents in .*words\.jsonl: 3 empty documents left out"),
    ],
)
def test_a_dataset_without_documents_leaves_the_warehouse_as_it_was(
    tmp_path: Path, docs: list[list[int]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ingested(tmp_path, VALUES, docs)
    store = nm.open(tmp_path / "wh").store
    assert (store.run_ids(), store.unfinished()) == ((), ())
