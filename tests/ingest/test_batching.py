"""Shards of whole documents, batches of like length, padding that never counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.extraction.batching import Shard, make_batch, plan_shards

LENGTHS = st.lists(st.lists(st.integers(1, 30), max_size=4), min_size=1, max_size=12).filter(any)


def windows_of(documents: list[list[int]], uncounted: int = 0) -> Windows:
    """Windows of the given lengths; the first `uncounted` positions of each are context."""
    sizes = [size for document in documents for size in document]
    doc = [number for number, document in enumerate(documents) for _ in document]
    total = sum(sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    counted = place >= uncounted
    tok = np.where(counted, np.cumsum(counted) - 1, -1)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return Windows(np.arange(total, dtype=np.int32) + 5, tok, offsets, np.array(doc))


def batches(shard: Shard, lengths: np.ndarray, tokens: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    found, done = [], 0
    while done < len(shard.windows):
        found.append(shard.batch(done, lengths, tokens))
        done += len(found[-1])
    return found


@given(LENGTHS, st.integers(1, 80), st.integers(1, 100))
def test_every_window_is_in_one_batch_of_one_shard(
    documents: list[list[int]], shard_tokens: int, tokens: int
) -> None:
    windows = windows_of(documents)
    lengths = np.diff(windows.offsets)
    shards = plan_shards(windows, shard_tokens)
    seen = [batch for shard in shards for batch in batches(shard, lengths, tokens)]
    assert sorted(np.concatenate(seen).tolist()) == list(range(len(windows)))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= tokens for b in seen)
    assert all(lengths[b[0]] == lengths[b].max() for b in seen)


@given(LENGTHS, st.integers(1, 80))
def test_shards_are_whole_consecutive_documents(
    documents: list[list[int]], shard_tokens: int
) -> None:
    windows = windows_of(documents)
    shards = plan_shards(windows, shard_tokens)
    owners = [set(windows.doc[shard.windows].tolist()) for shard in shards]
    for shard, owned, following in zip(shards, owners, [*owners[1:], set()], strict=True):
        assert not owned & following
        assert owned <= set(range(shard.first_doc, shard.first_doc + shard.docs))
        assert shard.tokens == np.diff(windows.offsets)[shard.windows].sum()
    assert all(shard.tokens >= shard_tokens for shard in shards[:-1])


@settings(max_examples=50)
@given(LENGTHS, st.integers(0, 3), st.data())
def test_a_batch_holds_its_windows_and_counts_each_token_once(
    documents: list[list[int]], uncounted: int, data: st.DataObject
) -> None:
    windows = windows_of(documents, uncounted)
    numbers = np.array(data.draw(st.permutations(range(len(windows)))))
    batch = make_batch(windows, numbers, torch.device("cpu"))
    for row, window in enumerate(numbers):
        ids = windows.input_ids[windows.offsets[window] : windows.offsets[window + 1]]
        assert batch.input_ids[row, : len(ids)].tolist() == ids.tolist()
        assert batch.attention_mask[row].tolist() == [
            int(at < len(ids)) for at in range(batch.input_ids.shape[1])
        ]
    assert sorted(batch.tok.tolist()) == sorted(windows.tok[windows.tok >= 0].tolist())
    # The place of a token in the flattened batch holds that token's id, and not padding.
    flat = batch.input_ids.reshape(-1)[batch.rows]
    at = np.searchsorted(windows.tok[windows.tok >= 0], batch.tok.numpy())
    assert flat.tolist() == windows.input_ids[windows.tok >= 0][at].tolist()
    assert batch.attention_mask.reshape(-1)[batch.rows].all()


def test_padding_is_a_real_id() -> None:
    batch = make_batch(windows_of([[2], [5]]), np.array([1, 0]), torch.device("cpu"))
    assert batch.input_ids.min() >= 5
    assert batch.attention_mask.sum() == 7


def test_the_documents_of_a_batch() -> None:
    batch = make_batch(windows_of([[2], [], [3, 1]]), np.array([1, 0, 2]), torch.device("cpu"))
    assert batch.doc.tolist() == [2, 2, 2, 0, 0, 2]


@pytest.mark.parametrize("tokens", [1, 30, 31])
def test_a_window_longer_than_a_batch_comes_alone(tokens: int) -> None:
    windows = windows_of([[30], [30], [30]])
    (shard,) = plan_shards(windows, 1000)
    assert [len(b) for b in batches(shard, np.diff(windows.offsets), tokens)] == [1, 1, 1]
