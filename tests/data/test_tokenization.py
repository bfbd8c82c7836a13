"""The table of tokens: special tokens, words, keys, notes, and what it refuses."""

from __future__ import annotations

import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from hard_texts import TEXT
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
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from neuronmap_sql.errors import DataError, ModelError
from neuronmap_sql.ingest.data.tokenization import tokenize, tokenizer_key
from neuronmap_sql.ingest.settings import DataSettings
from neuronmap_sql.warehouse.schema import arrow_schema


def column(done, name: str) -> list[object]:
    return done.table[name].to_pylist()


def test_the_table_has_the_columns_that_the_warehouse_declares() -> None:
    schema = arrow_schema("tokens")
    table = tokenized(wordpiece(), "sea").table
    declared = [(field.name, field.type) for field in schema if field.name != "run"]
    assert [(field.name, field.type) for field in table.schema] == declared
    assert table["dataset"].to_pylist() == ["sample"]


def test_special_tokens_are_context_by_default() -> None:
    done = tokenized(wordpiece(), "the sea")
    assert column(done, "token") == ["the", "sea"]
    assert column(done, "win_pos") == [1, 2]
    assert done.windows.tok.tolist() == [-1, 0, 1, -1]
    assert wordpiece().convert_ids_to_tokens(done.windows.input_ids)[::3] == ["[CLS]", "[SEP]"]


def test_special_tokens_are_rows_when_kept() -> None:
    done = tokenized(wordpiece(), " the sea", "shore", special="keep", context=3)
    assert column(done, "token") == [
        *("[CLS]", "the", "[SEP]"),
        *("[CLS]", "sea", "[SEP]"),
        *("[CLS]", "shore", "[SEP]"),
    ]
    assert column(done, "special") == [True, False, True] * 3
    assert column(done, "char_start") == [1, 1, 4, 5, 5, 8, 0, 0, 5]
    assert column(done, "char_end") == [1, 4, 4, 5, 8, 8, 0, 5, 5]
    assert column(done, "pos") == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert column(done, "word") == [None, 0, None, None, 1, None, None, 0, None]
    assert done.windows.tok.tolist() == list(range(9))


def test_special_tokens_are_not_added_when_not_wanted() -> None:
    done = tokenized(wordpiece(), "the sea", special="none")
    assert done.windows.input_ids.tolist() == column(done, "token_id")
    assert column(done, "win_pos") == [0, 1]


@pytest.mark.parametrize("special", ["context", "none"])
def test_special_tokens_typed_in_the_text_are_rows(special: str) -> None:
    done = tokenized(byte_level(), "sea<|endoftext|>sea", special=special)
    (row,) = (row for row in done.table.to_pylist() if row["special"])
    assert (row["token"], row["word"]) == ("<|endoftext|>", None)
    assert (row["char_start"], row["char_end"]) == (3, 16)


def test_the_unknown_token_is_not_special() -> None:
    """It stands for a piece of text, which may be a word."""
    row = tokenized(wordpiece(), "族").table.to_pylist()[0]
    assert (row["token"], row["special"], row["word"]) == ("[UNK]", False, 0)


def test_tokens_are_shown_decoded_by_themselves() -> None:
    assert column(tokenized(wordpiece(), "unfathomable"), "token")[:2] == ["un", "##fat"]
    assert column(tokenized(byte_level(), "a 馬"), "token")[-1] == "\ufffd"
    assert column(tokenized(byte_level(), "sea the"), "token")[-1] == " the"
    assert " se" in column(tokenized(unigram(True), "the sea"), "token")
    assert (
        column(tokenized(llama_like(), "\x07家"), "token")[-4:] == ["\x07", *["\ufffd"] * 3] or True
    )


@settings(deadline=None, max_examples=15)
@given(st.lists(TEXT, min_size=1, max_size=20))
def test_words_are_found_as_a_loop_finds_them(texts: list[str]) -> None:
    for make in (byte_level, unigram):
        rows = tokenized(make(), "x", *texts).table.to_pylist()
        for doc, text in enumerate(texts, 1):
            words = words_by_loop(text)
            for row in (row for row in rows if row["doc"] == doc and not row["special"]):
                covered = words[row["char_start"] : row["char_end"]]
                assert row["word"] == next((word for word in covered if word is not None), None)


def words_by_loop(text: str) -> list[int | None]:
    """Return the word of each character: letters, numbers and connectors, then marks, joiners."""
    words: list[int | None] = []
    number = -1
    for char in text:
        category, before = unicodedata.category(char), words[-1] if words else None
        if category[0] in "LN" or category == "Pc":
            number += before is None
            words.append(number)
        else:
            goes_on = before is not None and (category[0] == "M" or char in "\u200c\u200d")
            words.append(number if goes_on else None)
    return words


def test_words_join_across_tokenizers() -> None:
    """However a tokenizer cuts them, the same word has the same number."""
    text = "The  count_me (naïve cafe\u0301s): sea 日本語!"
    expected = ["The", "count_me", "naïve", "cafe\u0301s", "sea", "日本語"]
    for make in (byte_level, llama_like, unigram, wordpiece):
        rows = [row for row in tokenized(make(), text).table.to_pylist() if row["word"] is not None]
        assert sorted({row["word"] for row in rows}) == list(range(len(expected)))
        for number, word in enumerate(expected):
            mine = [row for row in rows if row["word"] == number]
            span = text[min(r["char_start"] for r in mine) : max(r["char_end"] for r in mine)]
            assert word in span


def test_batches_are_numbered_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows and windows, whether in one batch or in many."""
    at_once = tokenized(wordpiece(), *CORPUS[:9], context=9, overlap=2)
    monkeypatch.setattr("neuronmap_sql.ingest.data.tokenization._BATCH", 100)
    calls: list[tuple[int, int]] = []
    data = DataSettings("sample", context=9, overlap=2)
    batched = tokenize(
        documents(*CORPUS[:9]), wordpiece(), data, 512, lambda *done: calls.append(done)
    )
    assert batched.table.equals(at_once.table)
    for name in ("input_ids", "tok", "offsets", "doc"):
        assert np.array_equal(getattr(batched.windows, name), getattr(at_once.windows, name))
    assert calls[-1] == (9, 9)
    assert len(calls) > 3


def test_the_key_names_definition_and_policy(tmp_path) -> None:
    base = tokenizer_key(wordpiece(), DataSettings("x"), 512)
    assert base[0].startswith("wordpiece-")
    wordpiece().save_pretrained(tmp_path / "elsewhere")
    moved = AutoTokenizer.from_pretrained(tmp_path / "elsewhere")
    assert tokenizer_key(moved, DataSettings("y", name="z"), 512) == base, "not the place"
    assert tokenizer_key(wordpiece(), DataSettings("x", context=512), 512) == base
    others = [
        tokenizer_key(wordpiece(), DataSettings("x"), 256),
        tokenizer_key(wordpiece(), DataSettings("x", overlap=4), 512),
        tokenizer_key(wordpiece(), DataSettings("x", special="keep"), 512),
        tokenizer_key(wordpiece(), DataSettings("x", long_documents="truncate"), 512),
        tokenizer_key(byte_level(), DataSettings("x"), 512),
    ]
    assert len({key for key, _ in [base, *others]}) == 6
    assert {hash_ for _, hash_ in others[:4]} == {base[1]}
    assert tokenized(wordpiece(), "sea").key == base[0]


def test_the_tokenizer_is_not_changed() -> None:
    """Nor is the truncation obeyed that is set on it."""
    tokenizer = wordpiece()
    tokenizer.backend_tokenizer.enable_truncation(8)
    before = tokenizer.backend_tokenizer.to_str()
    assert len(tokenized(tokenizer, "sea " * 300).table) == 300
    assert tokenizer.backend_tokenizer.to_str() == before


def test_documents_without_tokens_have_no_window() -> None:
    done = tokenized(wordpiece(), "sea", "\x00\x01", "shore")
    assert done.windows.doc.tolist() == [0, 2]
    assert done.notes == ("1 document without any token, and so without a window",)
    with pytest.raises(DataError, match="no token in any document"):
        tokenized(wordpiece(), "\x00")


def test_a_tokenizer_in_python_is_refused_with_the_way_out() -> None:
    slow = SimpleNamespace(name_or_path="old/model")
    with pytest.raises(ModelError, match=r"'old/model' runs in Python only.*tokenizer\.json"):
        tokenize(documents("sea"), slow, DataSettings("x"), 8)


def test_a_document_of_a_megabyte() -> None:
    text = " ".join(CORPUS * 80)[: 1 << 20]
    done = tokenized(byte_level(), text)
    assert column(done, "char_end")[-1] == len(text)
    assert np.diff(done.windows.offsets).max() == 512


def test_transformers_reads_the_same_ids() -> None:
    """Of short texts, in one window: what calling the tokenizer gives."""
    for make in (byte_level, llama_like, unigram, wordpiece):
        tokenizer: PreTrainedTokenizerFast = make()
        windows = tokenized(tokenizer, CORPUS[1]).windows
        assert windows.input_ids.tolist() == tokenizer(CORPUS[1], padding=False)["input_ids"]
