"""Cut tokenized documents into model inputs: who is shown where, and who is counted.

A document of n tokens and a body of C tokens (the context less the added special tokens) becomes
windows that start every C - overlap tokens. The first counts all its tokens; each further one
shows `overlap` tokens again, as context, and counts the rest. So every token is counted once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronmap_sql.errors import RecipeError
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["Cut", "Windowing", "Windows", "cut", "windowing", "windowing_notes"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Model inputs, one after another; window i is `offsets[i]:offsets[i + 1]`."""

    input_ids: npt.NDArray[np.int32]
    """[total] Token ids, added special tokens included."""
    tok: Ints
    """[total] Row in `tokens`; -1: shown to the model but not counted."""
    offsets: Ints
    """[windows + 1] Where each window begins; the last is the total."""
    doc: Ints
    """[windows] Document of each window."""

    def __len__(self) -> int:
        return len(self.doc)


@dataclass(frozen=True)
class Windowing:
    """How documents become windows."""

    body: int
    """Tokens of the document in a window, at most."""
    overlap: int
    """Tokens of the window before that a further window shows again."""
    truncate: bool
    """Whether only the first window of a document is made."""
    count_added: bool
    """Whether added special tokens are counted."""
    prefix: npt.NDArray[np.int32]
    """Special tokens added before the body."""
    suffix: npt.NDArray[np.int32]
    """Special tokens added after the body."""


@dataclass(frozen=True)
class Cut:
    """The windows of some documents, position by position."""

    input_ids: npt.NDArray[np.int32]
    """[total] Token ids."""
    counted: npt.NDArray[np.bool_]
    """[total] Whether the reductions count the position."""
    anchor: Ints
    """[total] The token at the position; at added ones, the counted token nearest to them."""
    side: npt.NDArray[np.int8]
    """[total] 0: a token of the document; -1: added before the body; 1: added after it."""
    window: Ints
    """[total] Window of the position, from 0."""
    win_pos: Ints
    """[total] Position in its window, from 0."""
    offsets: Ints
    """[windows + 1] Where each window begins."""
    doc: Ints
    """[windows] Document of each window, from 0."""


def windowing(
    data: DataSettings,
    context: int,
    prefix: npt.NDArray[np.int32],
    suffix: npt.NDArray[np.int32],
) -> Windowing:
    """Return how to cut documents for a model of this context (0: it has no limit).

    Raises:
        RecipeError: the recipe's context is longer than the model's, or leaves no room.
    """
    if data.special == "none":
        prefix, suffix = prefix[:0], suffix[:0]
    longest = context_of(data, context)
    body = (longest or np.iinfo(np.int32).max) - len(prefix) - len(suffix)
    if body < 1 or data.overlap >= body:
        raise RecipeError(
            f"data.context = {longest} leaves {max(body, 0)} tokens a window beside the special "
            f"tokens, and data.overlap is {data.overlap}: raise the one or lower the other"
        )
    truncate = data.long_documents == "truncate"
    return Windowing(body, data.overlap, truncate, data.special == "keep", prefix, suffix)


def context_of(data: DataSettings, context: int) -> int:
    """Return the longest input in tokens, 0 for no limit: the recipe's, or else the model's."""
    if context and data.context > context:
        raise RecipeError(
            f"data.context = {data.context}, but the model takes {context} tokens at most: "
            "lower it, or leave it out"
        )
    return data.context or context


def cut(ids: npt.NDArray[np.int32], first: Ints, how: Windowing) -> Cut:
    """Cut documents into windows.

    Args:
        ids: [tokens] token ids of the documents, one after another.
        first: [documents + 1] where each document begins in `ids`.
        how: the windowing. A document without tokens gets no window.
    """
    stride, lengths = how.body - how.overlap, np.diff(first)
    number = np.minimum(_windows(lengths, how), 1) if how.truncate else _windows(lengths, how)
    doc = np.repeat(np.arange(len(lengths)), number)
    rank = np.arange(len(doc)) - np.repeat(np.cumsum(number) - number, number)
    begin = first[doc] + rank * stride
    size = np.minimum(how.body, first[doc + 1] - begin)
    seen = np.where(rank > 0, how.overlap, 0)
    return _flatten(ids, how, doc, begin, size, seen)


def windowing_notes(tokens: Ints, how: Windowing) -> tuple[str, ...]:
    """Return what the windowing did to documents of so many tokens each, in words."""
    long, bare = tokens[tokens > how.body], int((tokens == 0).sum())
    notes = []
    if len(long) and how.truncate:
        dropped = int((long - how.body).sum())
        notes.append(
            f"{_documents(len(long))} longer than {how.body} tokens cut there: "
            f"{dropped} tokens left out"
        )
    elif len(long):
        number = int(_windows(long, how).sum())
        notes.append(
            f"{_documents(len(long))} longer than {how.body} tokens split into {number} windows"
        )
    if bare:
        notes.append(f"{_documents(bare)} without any token, and so without a window")
    return tuple(notes)


def _documents(number: int) -> str:
    return f"{number} document{'s' * (number != 1)}"


def _windows(lengths: Ints, how: Windowing) -> Ints:
    """Return the windows that hold all of documents of these lengths in tokens."""
    further = -((how.body - lengths) // (how.body - how.overlap))
    return np.where(lengths > 0, 1 + np.maximum(0, further), 0)


def _flatten(
    ids: npt.NDArray[np.int32], how: Windowing, doc: Ints, begin: Ints, size: Ints, seen: Ints
) -> Cut:
    """Lay out windows whose bodies begin at `begin`, `seen` tokens of them counted before."""
    before, after = len(how.prefix), len(how.suffix)
    offsets = np.concatenate([[0], np.cumsum(size + before + after)])
    window = np.repeat(np.arange(len(doc)), np.diff(offsets))
    win_pos = np.arange(offsets[-1]) - offsets[window]
    place = win_pos - before
    side = (place >= size[window]).astype(np.int8) - (place < 0).astype(np.int8)
    counted = np.where(side == 0, place >= seen[window], how.count_added)
    anchor = begin[window] + np.clip(place, np.where(side < 0, seen[window], 0), size[window] - 1)
    input_ids = ids[anchor] if len(ids) else np.zeros(0, np.int32)
    input_ids[side < 0] = how.prefix[win_pos[side < 0]]
    input_ids[side > 0] = how.suffix[(place - size[window])[side > 0]]
    return Cut(input_ids, counted, anchor, side, window, win_pos, offsets, doc)
