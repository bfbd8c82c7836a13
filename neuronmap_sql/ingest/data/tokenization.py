"""Documents as tokens: the table `tokens`, and the windows that the model is fed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import Documents
from neuronmap_sql.ingest.data.spans import Ints, characters, exact_spans, word_numbers
from neuronmap_sql.ingest.data.vocabulary import (
    Vocabulary,
    added_tokens,
    definition,
    definition_hash,
    dropped_starts,
    encoder,
    vocabulary,
)
from neuronmap_sql.ingest.data.windows import (
    Cut,
    Windowing,
    Windows,
    context_of,
    cut,
    windowing,
    windowing_notes,
)
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["Progress", "Tokenization", "tokenize", "tokenizer_key"]

Progress = Callable[[int, int], None]
"""Called with the documents done and all documents."""

_BATCH = 1 << 20
"""Characters tokenized at once: enough to keep the Rust threads busy, small beside the result."""


@dataclass(frozen=True)
class Tokenization:
    """A dataset under one tokenizer and one windowing policy."""

    key: str
    """The column `tokenizer`: kind of tokenizer and a hash of definition and policy."""
    tokenizer_hash: str
    """sha256 of the tokenizer's definition."""
    table: pa.Table
    """Rows of `tokens`, without the column `run`: `tok` is the row number."""
    windows: Windows
    """What the model is fed."""
    notes: tuple[str, ...]
    """What the windowing did, in words."""


@dataclass(frozen=True)
class _Encoder:
    """A tokenizer made ready, and how its tokens are cut."""

    backend: Tokenizer
    vocabulary: Vocabulary
    how: Windowing


@dataclass(frozen=True)
class _Part:
    """Tokens and windows of one batch of documents."""

    columns: dict[str, Any]
    cut: Cut
    tokens: Ints
    """[documents] Tokens of each document, shown or not."""


def tokenizer_key(tokenizer: Any, data: DataSettings, context: int) -> tuple[str, str]:
    """Return the key of a tokenizer with a windowing policy, and the hash of its definition.

    Models whose tokenizers are defined alike share the key, wherever they were loaded from.

    Args:
        tokenizer: a fast tokenizer of transformers.
        data: the windowing policy.
        context: the model's longest input in tokens; 0: no limit.

    Raises:
        ModelError: the tokenizer is not a fast one.
        RecipeError: the recipe's context is longer than the model's.
    """
    return _key(definition(tokenizer), data, context)


def tokenize(
    documents: Documents,
    tokenizer: Any,
    data: DataSettings,
    context: int,
    progress: Progress | None = None,
) -> Tokenization:
    """Tokenize documents and cut them into windows.

    Rows are in the order of documents, then of positions. Special tokens that the tokenizer adds
    are rows only with `special = "keep"`: then `pos` counts them too, and they cover no characters
    where they stand: before the first token that their window counts, or after its last.
    Special tokens that are written in the text are always rows.

    Args:
        documents: what to tokenize.
        tokenizer: a fast tokenizer of transformers; it is not changed.
        data: the windowing policy.
        context: the model's longest input in tokens; 0: no limit.
        progress: called after each batch of documents.

    Raises:
        ModelError: the tokenizer is not a fast one.
        RecipeError: the context is longer than the model's, or leaves no room for text.
        DataError: no document has any token.
    """
    parts = definition(tokenizer)
    key, tokenizer_hash = _key(parts, data, context)
    backend = encoder(parts)
    how = windowing(data, context, *added_tokens(backend))
    ready = _Encoder(backend, vocabulary(parts, backend), how)
    done: list[_Part] = []
    seen = 0
    for texts in _batches(documents.table["text"]):
        done.append(_encode(ready, texts))
        seen += len(texts)
        if progress:
            progress(seen, len(documents.table))
    if not any(len(part.cut.doc) for part in done):
        raise DataError(f"dataset {documents.name!r}: the tokenizer finds no token in any document")
    table, windows = _join(done, documents.name, key)
    tokens = np.concatenate([part.tokens for part in done])
    return Tokenization(key, tokenizer_hash, table, windows, windowing_notes(tokens, how))


def _key(parts: dict[str, Any], data: DataSettings, context: int) -> tuple[str, str]:
    tokenizer_hash = definition_hash(parts)
    longest = context_of(data, context)
    policy = [tokenizer_hash, longest, data.long_documents, data.overlap, data.special]
    digest = hashlib.sha256(json.dumps(policy).encode()).hexdigest()
    return f"{parts['model']['type'].lower()}-{digest[:8]}", tokenizer_hash


def _batches(column: pa.ChunkedArray) -> Iterator[list[str]]:
    """Yield the texts in batches of about as many characters."""
    texts: list[str] = []
    size = 0
    for chunk in column.iterchunks():
        for begin in range(0, len(chunk), 1024):
            for text in chunk.slice(begin, 1024).to_pylist():
                texts.append(text)
                size += len(text)
                if size >= _BATCH:
                    yield texts
                    texts, size = [], 0
    if texts:
        yield texts


def _encode(ready: _Encoder, texts: list[str]) -> _Part:
    """Tokenize and cut one batch; documents and tokens are numbered from 0."""
    ids, first, reported = _run(ready.backend, texts)
    chars = characters(texts)
    doc = np.repeat(np.arange(len(texts)), np.diff(first))
    base = chars.first[doc]
    spans = exact_spans(chars, ready.vocabulary, ids, doc, reported + base[:, None])
    word, in_word = word_numbers(chars, doc, spans)
    shown = cut(ids, first, ready.how)
    rows = np.flatnonzero(shown.counted)
    anchor, added = shown.anchor[rows], shown.side[rows]
    token_id = shown.input_ids[rows]
    start, end = (spans - base[:, None])[anchor].T
    special = ready.vocabulary.special[token_id] | (added != 0)
    columns = {
        "doc": doc[anchor],
        "pos": _positions(doc[anchor]),
        "win": shown.window[rows],
        "win_pos": shown.win_pos[rows].astype(np.int32),
        "token_id": token_id,
        "token": ready.vocabulary.text.take(pa.array(token_id)),
        "char_start": np.where(added > 0, end, start).astype(np.int32),
        "char_end": np.where(added < 0, start, end).astype(np.int32),
        "word": pa.array(word[anchor].astype(np.int32), mask=special | ~in_word[anchor]),
        "special": special,
    }
    return _Part(columns, shown, np.diff(first))


def _run(backend: Tokenizer, texts: list[str]) -> tuple[npt.NDArray[np.int32], Ints, Ints]:
    """Return token ids, where each document begins in them, and the spans as reported."""
    dropped = dropped_starts(backend, texts)
    kept = [text[number:] for text, number in zip(texts, dropped, strict=True)]
    encoded = backend.encode_batch(kept, add_special_tokens=False)
    first = np.concatenate([[0], np.cumsum([len(one) for one in encoded])]).astype(np.int64)
    ids = np.fromiter(chain.from_iterable(one.ids for one in encoded), np.int32, first[-1])
    flat = chain.from_iterable(chain.from_iterable(one.offsets for one in encoded))
    spans = np.fromiter(flat, np.int64, 2 * first[-1]).reshape(-1, 2)
    return ids, first, spans + np.repeat(dropped, np.diff(first))[:, None]


def _positions(doc: Ints) -> npt.NDArray[np.int32]:
    """Return each row's position in its document, the rows being in order."""
    begins = np.flatnonzero(np.diff(doc, prepend=-1))
    return (np.arange(len(doc)) - np.repeat(begins, np.diff([*begins, len(doc)]))).astype(np.int32)


def _join(parts: list[_Part], dataset: str, key: str) -> tuple[pa.Table, Windows]:
    """Number documents, windows and tokens over all batches."""
    docs = windows = tokens = 0
    tables, ids, toks, sizes, owners = [], [], [], [], []
    for part in parts:
        rows, shown = len(part.columns["doc"]), part.cut
        names = {"dataset": _repeated(dataset, rows), "tokenizer": _repeated(key, rows)}
        number = {"tok": np.arange(tokens, tokens + rows)}
        moved = {"doc": part.columns["doc"] + docs, "win": part.columns["win"] + windows}
        tables.append(pa.table({**names, **number, **part.columns, **moved}).select(_COLUMNS))
        ids.append(shown.input_ids)
        toks.append(np.where(shown.counted, np.cumsum(shown.counted) - 1 + tokens, -1))
        sizes.append(np.diff(shown.offsets))
        owners.append(shown.doc + docs)
        docs, windows, tokens = docs + len(part.tokens), windows + len(shown.doc), tokens + rows
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    return pa.concat_tables(tables), Windows(
        np.concatenate(ids), np.concatenate(toks), offsets, np.concatenate(owners)
    )


_COLUMNS = [
    *("dataset", "tokenizer", "tok", "doc", "pos", "win", "win_pos"),
    *("token_id", "token", "char_start", "char_end", "word", "special"),
]
"""The columns of `warehouse/tables/tokens.sql` but `run`; a test compares."""


def _repeated(value: str, times: int) -> pa.Array:
    return pa.array([value], pa.string()).take(pa.array(np.zeros(times, np.int32)))
