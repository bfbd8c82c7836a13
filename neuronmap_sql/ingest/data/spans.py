"""Which characters a token covers, and which word it belongs to.

Everything works on the code points of many documents laid end to end, so that no token is touched
in Python. What the tokenizers library reports is exact but for four cases, put right here:

- a space that a SentencePiece tokenizer dropped and put back as a mark belongs to its token;
- a mark that was put before a text without a space covers nothing;
- byte-fallback tokens cover the character that their byte is of, not the whole unknown piece;
- combining marks (and Hangul vowels and finals) that normalisation took away, or composed, belong
  to the character before them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from neuronmap_sql.ingest.data.vocabulary import Vocabulary

__all__ = ["Characters", "Ints", "characters", "exact_spans", "word_numbers"]

Ints = npt.NDArray[np.int64]

Code = TypeVar("Code", np.uint8, np.bool_)

_LETTER, _MARK, _JOINER = 1, 2, 3
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Characters:
    """The characters of some documents, laid end to end."""

    codes: npt.NDArray[np.uint32]
    """[characters] Code points."""
    kinds: npt.NDArray[np.uint8]
    """[characters] 1: letter, number or connector; 2: combining mark; 3: joiner; 0: other."""
    first: Ints
    """[documents + 1] Where each document begins."""


def characters(texts: list[str]) -> Characters:
    """Lay the characters of documents end to end."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    first = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return Characters(codes, _by_character(codes, _kind, np.uint8), first)


def exact_spans(
    chars: Characters, vocabulary: Vocabulary, ids: npt.NDArray[np.int32], doc: Ints, spans: Ints
) -> Ints:
    """Return the characters that each token covers, [tokens, 2], from what the tokenizer reports.

    Args:
        chars: the documents' characters.
        vocabulary: facts about the token ids.
        ids: [tokens] token ids.
        doc: [tokens] document of each token, ascending.
        spans: [tokens, 2] start and end, counted over all documents.
    """
    if not len(ids):
        return spans
    start, end = _spread_bytes(vocabulary.byte[ids], spans[:, 0].copy(), spans[:, 1].copy())
    _take_spaces(chars, vocabulary, ids, doc, start, end)
    _take_marks(chars, doc, start, end)
    return np.stack([start, end], axis=1)


def word_numbers(chars: Characters, doc: Ints, spans: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    r"""Return the word of each token, and where there is one, [tokens] each.

    A word is a longest run of letters, numbers and connectors (`_`), with the combining marks
    and joiners that follow them: \w of Unicode Technical Standard 18, annex C, but that marks and
    joiners begin no word. A token belongs to the word that its first such character lies in.
    Words are numbered from 0 in each document, alike for all tokenizers.
    """
    inside, begins = _words(chars)
    total = len(chars.codes)
    ahead = np.full(total + 1, total)
    ahead[:-1] = np.where(inside, np.arange(total), total)
    ahead = np.minimum.accumulate(ahead[::-1])[::-1]
    passed = np.concatenate([[0], np.cumsum(begins), [0]])
    found = ahead[spans[:, 0]]
    return passed[found + 1] - passed[chars.first[doc]] - 1, found < spans[:, 1]


def _words(chars: Characters) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return which characters lie in words, and which begin one."""
    kinds = chars.kinds.copy()
    edges = chars.first[:-1][chars.first[:-1] < len(kinds)]
    kinds[edges] *= kinds[edges] == _LETTER  # a mark does not join the document before
    own = np.maximum.accumulate(np.where(kinds < _MARK, np.arange(len(kinds)), 0))
    inside = kinds[own] == _LETTER
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    begins[edges] = inside[edges]
    return inside, begins


def _spread_bytes(byte: npt.NDArray[np.int16], start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Give byte-fallback tokens that share a span the one character each that they are part of."""
    if not (byte >= 0).any():
        return start, end
    same = (byte[1:] >= 0) & (byte[:-1] >= 0) & (start[1:] == start[:-1]) & (end[1:] == end[:-1])
    run = np.concatenate([[0], np.cumsum(~same)])
    leads = (byte >= 0) & (byte & 0xC0 != 0x80)
    number = np.bincount(run, leads).astype(np.int64)
    rank = np.cumsum(leads) - (np.cumsum(number) - number)[run] - 1
    # Where normalisation changed the number of characters, the whole piece stays.
    fits = (byte >= 0) & (number[run] == end - start)
    start = np.where(fits, start + rank, start)
    return start, np.where(fits, start + 1, end)


def _take_spaces(
    chars: Characters,
    vocabulary: Vocabulary,
    ids: npt.NDArray[np.int32],
    doc: Ints,
    start: Ints,
    end: Ints,
) -> None:
    """Move spans so that a token's leading space is the one before it, or nothing."""
    if not vocabulary.opens[ids].any():
        return
    shared = np.append(start[1:] == start[:-1], False)
    put = vocabulary.blank[ids] & shared  # a mark that has the span of the token after it
    end[put] = start[put]
    floor = np.maximum(chars.first[doc], np.concatenate([[0], end[:-1]]))
    blank = np.append(_by_character(chars.codes, str.isspace, np.bool_), False)
    bare = vocabulary.opens[ids] & (put | ~blank[start])
    start -= bare & (start > floor) & blank[start - 1]


def _take_marks(chars: Characters, doc: Ints, start: Ints, end: Ints) -> None:
    """Extend spans over the combining marks that follow and no token covers."""
    total = len(chars.codes)
    stop = np.full(total + 1, total)
    joins = (chars.kinds == _MARK) | ((chars.codes >= 0x1160) & (chars.codes <= 0x11FF))
    stop[:-1] = np.where(joins, total, np.arange(total))
    stop = np.minimum.accumulate(stop[::-1])[::-1]
    limit = chars.first[doc + 1]
    limit[:-1] = np.where(doc[1:] == doc[:-1], start[1:], limit[:-1])
    longer = (end > start) & (limit > end)
    end[longer] = np.minimum(stop[end[longer]], limit[longer])


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if character in _JOINERS:
        return _JOINER
    return _MARK if category[0] == "M" else _LETTER * (category[0] in "LN" or category == "Pc")


def _by_character(
    codes: npt.NDArray[np.uint32], ask: Callable[[str], int], kind: type[Code]
) -> npt.NDArray[Code]:
    """Ask once for each character that there is, and return the answers at all its places."""
    table = np.zeros(int(codes.max(initial=0)) + 1, kind)
    table[codes] = 1
    there = np.flatnonzero(table)
    table[there] = [ask(chr(code)) for code in there]
    return table[codes]
