"""Spans against oracles that know only the text, the tokens and Unicode."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import duckdb
import pytest
from hypothesis import example, given, settings
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
from transformers import PreTrainedTokenizerFast

PIECES = [
    *("the", " the", "sea", "Fox", " doesn't", "café", "cafe\u0301", "e\u0301\u0302", "Å", "İ"),
    *(" ", "  ", "\n", "\t", "\u00a0", "\u3000", "\x00", "\x07", "\u200b", "\ufeff", "_", "42", "½"),
    *("👩‍👩‍👧", "👍🏽", "❤️", "1️⃣", "🇫🇷", "\u200d", "\ufe0f", "\u0301", "家族", "日本語", "ก็", "हिन्दी"),
    *("שלום", "مَرحبا", "\u202e", "ﬁ", "Ⅳ", "한글", "\u1112\u1161\u11ab", "ΑΣ", "ß", "'", "-", "…"),
    *("<|endoftext|>", "[SEP]", "</s>", "▁", "##ing", "<0xE2>", "Ġ"),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join),
    st.text(st.characters(exclude_categories=("Cs", "Cn", "Co")), min_size=1, max_size=12),
)
Row = dict[str, object]

ALL: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": byte_level,
    "byte-level with a prefix space": lambda: byte_level(True),
    "byte-level after NFC": lambda: byte_level(False, "NFC"),
    "llama": llama_like,
    "unigram": unigram,
    "unigram with byte fallback": lambda: unigram(True),
    "wordpiece": wordpiece,
}


def rows_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[tuple[str, str, int, int]]:
    """Return name in the vocabulary, text, start and end of each token."""
    rows = tokenized(tokenizer, "x", text).table.to_pylist()
    names = tokenizer.convert_ids_to_tokens([row["token_id"] for row in rows])
    return [
        (name, row["token"], row["char_start"], row["char_end"])
        for name, row in zip(names, rows, strict=True)
        if row["doc"] == 1
    ]


@settings(deadline=None, max_examples=150)
@given(TEXT)
@example("é\u0301👩‍👩‍👧")
def test_byte_level_tokens_cover_the_characters_of_their_bytes(text: str) -> None:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    char_of = [index for index, char in enumerate(text) for _ in char.encode()]
    at = 0
    for name, token, start, end in rows_of(byte_level(), text):
        typed = name == "<|endoftext|>"
        raw = name.encode() if typed else bytes(byte_of[char] for char in name)
        assert text.encode()[at : at + len(raw)] == raw
        assert (start, end) == (char_of[at], char_of[at + len(raw) - 1] + 1)
        assert token == raw.decode(errors="replace")
        at += len(raw)
    assert at == len(text.encode())


@settings(deadline=None, max_examples=150)
@given(TEXT)
def test_byte_level_spans_tile_the_text(text: str) -> None:
    """The spans rebuild the text: of those that share a character, one is enough."""
    rebuilt, at = "", 0
    for _, token, start, end in rows_of(byte_level(), text):
        assert start <= at <= end
        assert "\ufffd" in token or token == text[start:end]
        rebuilt, at = rebuilt + text[at:end], end
    assert rebuilt == text


@settings(deadline=None, max_examples=200)
@given(TEXT)
def test_unigram_spans_rebuild_the_text(text: str) -> None:
    at = 0
    for name, token, start, end in rows_of(unigram(), text):
        assert start == at, "no gap, no overlap"
        # A mark is put before the text and after each special token where no space is.
        assert name == "<unk>" or token.removeprefix(" ") == spaced(text[start:end]).removeprefix(" ")
        at = end
    assert at == len(text)


@settings(deadline=None, max_examples=200)
@given(TEXT)
def test_llama_spans_rebuild_the_text(text: str) -> None:
    raw, at = b"", 0
    for name, token, start, end in rows_of(llama_like(), text):
        if name.startswith("<0x") and len(name) == 6 and end == start + 1:
            raw += bytes.fromhex(name[3:5])
            piece = text[start:end].encode()
            assert raw == piece[: len(raw)], "bytes of this very character"
            raw = b"" if raw == piece else raw
        else:
            assert token.lstrip(" ") == spaced(text[start:end]).lstrip(" ") or name == "<unk>"
        assert start <= at <= end
        at = end
    assert (at, raw) == (len(text), b"")


@settings(deadline=None, max_examples=200)
@given(TEXT)
@example("an e\u0301 ﬁsh ")
@example("\u1112\u1161\u11ab x")
def test_normalised_unigram_spans_leave_only_white_space_out(text: str) -> None:
    covered: set[int] = set()
    for _, _, start, end in rows_of(unigram(True), text):
        covered |= set(range(start, end))
    rest = {char for index, char in enumerate(text) if index not in covered}
    assert all(unicodedata.normalize("NFKC", char).strip() == "" for char in rest)


@settings(deadline=None, max_examples=200)
@given(TEXT)
def test_wordpiece_spans_give_the_text_before_normalisation(text: str) -> None:
    covered, last = set(), 0
    for name, _, start, end in rows_of(wordpiece(), text):
        assert last <= start < end
        last = end
        covered |= set(range(start, end))
        if name not in ("[UNK]", "[SEP]"):
            assert bert_normal(text[start:end]) == name.removeprefix("##")
    rest = "".join(char for index, char in enumerate(text) if index not in covered)
    assert bert_normal(rest) == ""


def spaced(text: str) -> str:
    """SentencePiece cannot tell its mark, typed, from a space."""
    return text.replace("▁", " ")


def bert_normal(text: str) -> str:
    """BERT's normalisation, from its paper's code: clean, strip accents, lower; less space."""
    clean = [
        char
        for char in unicodedata.normalize("NFD", text)
        if unicodedata.category(char)[0] not in "CZ" and char not in "\ufffd"
    ]
    return "".join(c.lower() for c in clean if unicodedata.category(c) != "Mn")


@pytest.mark.parametrize("kind", ALL)
@settings(deadline=None, max_examples=60)
@given(TEXT)
def test_spans_ascend_within_the_text(kind: str, text: str) -> None:
    spans = [(start, end) for _, _, start, end in rows_of(ALL[kind](), text)]
    assert spans == sorted(spans)
    assert all(0 <= start <= end <= len(text) for start, end in spans)


@pytest.mark.parametrize("kind", ALL)
@settings(deadline=None, max_examples=40)
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_spans_do_not_depend_on_the_other_documents(kind: str, texts: list[str]) -> None:
    """The documents are laid end to end inside: nothing may reach over their edges."""
    together = tokenized(ALL[kind](), "x", *texts).table
    for number, text in enumerate(texts, 1):
        alone = [row for row in tokenized(ALL[kind](), "x", text).table.to_pylist() if row["doc"]]
        rows = [row for row in together.to_pylist() if row["doc"] == number]
        keys = ("pos", "token_id", "token", "char_start", "char_end", "word", "special")
        assert [[row[k] for k in keys] for row in rows] == [[row[k] for k in keys] for row in alone]


def test_a_leading_space_belongs_to_the_token() -> None:
    """Whatever the tokenizer trims or drops."""
    for tokenizer in (byte_level(), llama_like(), unigram(), unigram(True)):
        rows = rows_of(tokenizer, "she the sea the fox")
        assert {(start, end) for _, token, start, end in rows if token == " the"} == {(3, 7), (11, 15)}


def test_the_engine_cuts_the_same_characters() -> None:
    """char_start and char_end count what DuckDB's substr counts: code points, NUL among them."""
    texts = [*CORPUS[:3], "a\x00b 👩‍👩‍👧 cafe\u0301 <|endoftext|> end"]
    docs = documents(*texts).table
    tokens = tokenized(byte_level(), *texts).table
    with duckdb.connect() as con:
        con.register("docs", docs)
        con.register("tokens", tokens)
        wrong, right = con.sql(
            "SELECT count(*) FILTER (WHERE NOT same), count(*) FILTER (WHERE same) FROM ("
            "SELECT substr(text, char_start + 1, char_end - char_start) = token AS same "
            "FROM tokens JOIN docs USING (doc) WHERE NOT contains(token, '\ufffd'))"
        ).fetchall()[0]
    assert wrong == 0
    assert right > 40
