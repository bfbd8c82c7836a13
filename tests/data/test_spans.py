"""Spans against oracles that know only the text, the tokens and Unicode."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator

import duckdb
import pytest
from hard_texts import TEXT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_tokenizers import (
    CORPUS,
    byte_level,
    charsmapped,
    documents,
    llama_like,
    tokenized,
    unigram,
    wordpiece,
)
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

Row = tuple[str, str, int, int]
# One tokenizer is made ready for many texts: that is what takes the time.
TEXTS = st.lists(TEXT, min_size=1, max_size=25)
many = settings(deadline=None, max_examples=8)

ALL: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte-level": byte_level,
    "byte-level with a prefix space": lambda: byte_level(True),
    "byte-level after NFC": lambda: byte_level(False, "NFC"),
    "llama": llama_like,
    "unigram": unigram,
    "unigram with byte fallback": lambda: unigram(True),
    "unigram after a charsmap": charsmapped,
    "wordpiece": wordpiece,
}


def rows_of(
    tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> Iterator[tuple[str, list[Row]]]:
    """Yield each text with its tokens: name in the vocabulary, text, start and end of each."""
    table = tokenized(tokenizer, "x", *texts).table
    names = tokenizer.convert_ids_to_tokens(table["token_id"].to_pylist())
    columns = [table[key].to_pylist() for key in ("doc", "token", "char_start", "char_end")]
    rows: dict[int, list[Row]] = {number: [] for number in range(len(texts) + 1)}
    for name, doc, *row in zip(names, *columns, strict=True):
        rows[doc].append((name, *row))
    for number, text in enumerate(texts, 1):
        yield text, rows[number]


@many
@given(TEXTS)
@example(["é\u0301👩‍👩‍👧"])
def test_byte_level_tokens_cover_the_characters_of_their_bytes(texts: list[str]) -> None:
    byte_of = {char: byte for byte, char in bytes_to_unicode().items()}
    for text, rows in rows_of(byte_level(), texts):
        char_of = [index for index, char in enumerate(text) for _ in char.encode()]
        at = 0
        for name, token, start, end in rows:
            typed = name == "<|endoftext|>"
            raw = name.encode() if typed else bytes(byte_of[char] for char in name)
            assert text.encode()[at : at + len(raw)] == raw
            assert (start, end) == (char_of[at], char_of[at + len(raw) - 1] + 1)
            assert token == raw.decode(errors="replace")
            at += len(raw)
        assert at == len(text.encode())


@many
@given(TEXTS)
def test_byte_level_spans_tile_the_text(texts: list[str]) -> None:
    """The spans rebuild the text: of those that share a character, one is enough."""
    for text, rows in rows_of(byte_level(), texts):
        rebuilt, at = "", 0
        for _, token, start, end in rows:
            assert start <= at <= end
            assert "\ufffd" in token or token == text[start:end]
            rebuilt, at = rebuilt + text[at:end], end
        assert rebuilt == text


@many
@given(TEXTS)
def test_unigram_spans_rebuild_the_text(texts: list[str]) -> None:
    for text, rows in rows_of(unigram(), texts):
        at = 0
        for name, token, start, end in rows:
            assert start == at, "no gap, no overlap"
            # A mark is put before the text and after each special token where no space is.
            piece = spaced(text[start:end]).removeprefix(" ")
            assert name == "<unk>" or token.removeprefix(" ") == piece
            at = end
        assert at == len(text)


@many
@given(TEXTS)
def test_llama_spans_rebuild_the_text(texts: list[str]) -> None:
    for text, rows in rows_of(llama_like(), texts):
        raw, at = b"", 0
        for name, token, start, end in rows:
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


@many
@given(TEXTS)
@example(["an e\u0301 ﬁsh ", "\u1112\u1161\u11ab x"])
def test_normalised_unigram_spans_leave_only_white_space_out(texts: list[str]) -> None:
    for text, rows in rows_of(unigram(True), texts):
        covered = {index for _, _, start, end in rows for index in range(start, end)}
        rest = "".join(char for index, char in enumerate(text) if index not in covered)
        assert unicodedata.normalize("NFKC", rest).strip() == ""


@many
@given(TEXTS)
def test_wordpiece_spans_give_the_text_before_normalisation(texts: list[str]) -> None:
    for text, rows in rows_of(wordpiece(), texts):
        covered = {index for _, _, start, end in rows for index in range(start, end)}
        for name, _, start, end in rows:
            normal, piece = bert_normal(text[start:end]), name.removeprefix("##")
            # Hangul decomposes, so that tokens may share a syllable; all else is exact.
            hangul = any("\uac00" <= char <= "\ud7a3" for char in text[start:end])
            assert name in ("[UNK]", "[SEP]") or normal == piece or (hangul and piece in normal)
        assert bert_normal("".join(c for i, c in enumerate(text) if i not in covered)) == ""


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
@many
@given(TEXTS)
def test_spans_ascend_within_the_text(kind: str, texts: list[str]) -> None:
    for text, rows in rows_of(ALL[kind](), texts):
        spans = [(start, end) for _, _, start, end in rows]
        assert spans == sorted(spans)
        assert all(0 <= start <= end <= len(text) for start, end in spans)


@pytest.mark.parametrize("kind", ALL)
@settings(deadline=None, max_examples=3)
@given(st.lists(TEXT, min_size=2, max_size=4))
def test_spans_do_not_depend_on_the_other_documents(kind: str, texts: list[str]) -> None:
    """The documents are laid end to end inside: nothing may reach over their edges."""
    together = dict(rows_of(ALL[kind](), texts))
    assert together == {text: rows for one in texts for text, rows in rows_of(ALL[kind](), [one])}


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "wordpiece"])
def test_a_leading_space_belongs_to_the_token(kind: str) -> None:
    """Whatever the tokenizer trims or drops."""
    ((text, rows),) = rows_of(ALL[kind](), ["she sells the sea the fox"])
    opened = [start for _, token, start, _ in rows if token.startswith(" ") and start]
    assert [text[start] for start in opened] == [" "] * len(opened)
    assert opened == [3, 9, 13, 17, 21] or kind == "llama"


def test_characters_that_sentencepiece_drops_at_the_start_shift_nothing() -> None:
    texts = ["the sea\x07 Ⅳ", "\x07\x07the sea\x07 Ⅳ"]
    (_, plain), (_, shifted) = rows_of(charsmapped(), texts)
    moved = [(name, token, max(start - 2, 0), end - 2) for name, token, start, end in shifted]
    assert moved[1:] == plain[1:]
    assert [row[:2] for row in moved] == [row[:2] for row in plain]
    # The library by itself gets them wrong: without the rule this test would fail.
    encoded = charsmapped().backend_tokenizer.encode(texts[1], add_special_tokens=False)
    assert [texts[1][slice(*span)] for span in encoded.offsets] != [
        texts[0][a:b] for *_, a, b in plain
    ]
    assert encoded.offsets[1] != shifted[1][2:]


def test_what_the_library_reports_is_put_right() -> None:
    """A negative control: its own offsets miss the space, and widen unknown characters."""
    text = "the sea 馬鹿"
    encoded = unigram(True).backend_tokenizer.encode(text, add_special_tokens=False)
    ((_, rows),) = rows_of(unigram(True), [text])
    ours = [(start, end) for *_, start, end in rows]
    at = next(i for i, row in enumerate(rows) if row[1] == " se")
    assert (encoded.offsets[at], ours[at]) == ((4, 6), (3, 6))
    assert (encoded.offsets[-6:], ours[-6:]) == ([(8, 10)] * 6, [(8, 9)] * 3 + [(9, 10)] * 3)


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
