"""Windows against a loop that follows the definition, and against transformers' own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_tokenizers import (
    CORPUS,
    byte_level,
    documents,
    llama_like,
    tokenized,
    unigram,
    wordpiece,
)

from neuronmap_sql.errors import RecipeError
from neuronmap_sql.ingest.data.tokenization import tokenize
from neuronmap_sql.ingest.data.windows import Windowing, cut, windowing
from neuronmap_sql.ingest.settings import DataSettings

Shown = tuple[int, bool, int]
NONE = np.zeros(0, np.int32)


def by_loop(lengths: list[int], how: Windowing) -> list[tuple[int, list[Shown]]]:
    """Return document and [(id, counted, win_pos)] of each window; ids count up over all."""
    windows, base = [], 0
    for doc, length in enumerate(lengths):
        counted_to = 0
        while counted_to < length and not (how.truncate and counted_to):
            begin = max(0, counted_to - how.overlap)
            end = min(begin + how.body, length)
            body = [(base + t, t >= counted_to) for t in range(begin, end)]
            before = [(int(i), how.count_added) for i in how.prefix]
            after = [(int(i), how.count_added) for i in how.suffix]
            shown = [(i, c, p) for p, (i, c) in enumerate([*before, *body, *after])]
            windows.append((doc, shown))
            counted_to = end
        base += length
    return windows


HOW = st.builds(
    lambda body, overlap, *rest: Windowing(body, overlap % body, *rest),
    st.integers(1, 7),
    st.integers(0, 6),
    st.booleans(),
    st.booleans(),
    st.lists(st.just(-5), max_size=2).map(lambda ids: np.array(ids, np.int32)),
    st.lists(st.just(-6), max_size=2).map(lambda ids: np.array(ids, np.int32)),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 23), max_size=6), HOW)
def test_windows_follow_the_definition(lengths: list[int], how: Windowing) -> None:
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    made = cut(np.arange(first[-1], dtype=np.int32), first, how)
    columns = (made.input_ids, made.counted, made.win_pos)
    flat = list(zip(*(column.tolist() for column in columns), strict=True))
    windows = [flat[begin:end] for begin, end in pairwise(made.offsets)]
    expected = by_loop(lengths, how)
    assert windows == [shown for _, shown in expected]
    assert made.doc.tolist() == [doc for doc, _ in expected]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), HOW)
def test_every_token_is_counted_once(lengths: list[int], how: Windowing) -> None:
    first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    made = cut(np.arange(first[-1], dtype=np.int32), first, how)
    counted = made.input_ids[made.counted & (made.side == 0)]
    kept = [np.arange(begin, end) for begin, end in pairwise(first)]
    if how.truncate:
        kept = [tokens[: how.body] for tokens in kept]
    assert counted.tolist() == np.concatenate(kept).tolist()


@pytest.mark.parametrize("overlap", [0, 1, 5])
@pytest.mark.parametrize("make", [wordpiece, unigram, llama_like], ids=lambda make: make.__name__)
def test_the_model_is_fed_what_transformers_would_feed_it(make, overlap: int) -> None:
    """Windows with their own special tokens, as `return_overflowing_tokens` makes them."""
    tokenizer, texts = make(), [CORPUS[0], "short", " ".join(CORPUS[:3])]
    settings_ = DataSettings("sample", context=12, overlap=overlap)
    ours = tokenize(documents(*texts), tokenizer, settings_, 64).windows
    theirs = tokenizer(
        texts,
        truncation=True,
        max_length=12,
        stride=overlap,
        padding=False,
        return_overflowing_tokens=True,
    )
    windows = np.split(ours.input_ids, ours.offsets[1:-1])
    assert [window.tolist() for window in windows] == theirs["input_ids"]
    assert ours.doc.tolist() == theirs["overflow_to_sample_mapping"]
    assert len(ours) > 6


def test_rows_and_windows_name_each_other() -> None:
    """Row i of tokens is what the model sees at the one position whose tok is i."""
    done = tokenized(wordpiece(), *CORPUS[:4], context=10, overlap=3)
    windows, rows = done.windows, done.table
    at = np.flatnonzero(windows.tok >= 0)
    assert windows.tok[at].tolist() == rows["tok"].to_pylist() == list(range(len(rows)))
    assert windows.input_ids[at].tolist() == rows["token_id"].to_pylist()
    window = np.searchsorted(windows.offsets, at, "right") - 1
    assert window.tolist() == rows["win"].to_pylist()
    assert (at - windows.offsets[window]).tolist() == rows["win_pos"].to_pylist()
    assert windows.doc[window].tolist() == rows["doc"].to_pylist()


def test_rows_do_not_depend_on_the_windows_when_documents_are_split() -> None:
    """Only `win` and `win_pos` say how the model saw the token."""
    whole, parts = (tokenized(unigram(), *CORPUS[:3], context=c, overlap=2).table for c in (0, 9))
    same = ["tok", "doc", "pos", "token_id", "token", "char_start", "char_end", "word", "special"]
    assert whole.select(same).equals(parts.select(same))
    assert whole["win"].to_pylist() != parts["win"].to_pylist()


def test_truncated_documents_keep_their_first_window_and_say_what_they_lost() -> None:
    long = " ".join(["sea"] * 30)
    whole = tokenized(wordpiece(), long, "sea")
    done = tokenized(wordpiece(), long, "sea", context=12, long_documents="truncate")
    assert len(whole.table) == 31
    assert done.table["pos"].to_pylist() == [*range(10), 0]
    assert done.notes == ("1 document longer than 10 tokens cut there: 20 tokens left out",)
    assert whole.notes == ()


def test_split_documents_say_how_often() -> None:
    done = tokenized(byte_level(), "sea " * 30, "sea " * 40, "sea", context=16)
    windows = len(done.windows) - 1
    assert done.notes == (f"2 documents longer than 16 tokens split into {windows} windows",)


def test_a_context_longer_than_the_models_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.context = 513, but the model takes 512"):
        tokenized(byte_level(), "sea", context=513)
    assert windowing(DataSettings("x", context=513), 0, NONE, NONE).body == 513, "no limit"


@pytest.mark.parametrize(("context", "overlap"), [(2, 0), (5, 3), (5, 9)])
def test_a_window_must_have_room_for_new_text(context: int, overlap: int) -> None:
    with pytest.raises(RecipeError, match="raise the one or lower the other"):
        tokenized(wordpiece(), "sea", context=context, overlap=overlap)
    assert tokenized(wordpiece(), "sea", context=context, overlap=0, special="none")
