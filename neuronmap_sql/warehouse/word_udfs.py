"""Word classes as a function of SQL, by the tagger HanTa where it is installed.

Its English model gives the tags of the British National Corpus (C5): AJ0, NN1, VVD, ...
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import pyarrow as pa

from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.udfs import Udf

__all__ = ["WORD_UDFS", "tagger", "word_classes"]

_PIECE = re.compile(r"[^\W_]+|[^\w\s]|_")
_END = frozenset(".!?")
_LONGEST = 200
"""Words tagged as one sentence at most: lists and tables have no full stops."""

_ONE_AT_A_TIME = threading.Lock()
_CLASSES = pa.list_(
    pa.struct([("char_start", pa.int32()), ("char_end", pa.int32()), ("class", pa.string())])
)


@cache
def tagger() -> Any:
    """Return the tagger for English.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise UsageError(
            "word classes need the tagger HanTa: pip install 'neuronmap-sql[tagger]'"
        ) from error
    return HanoverTagger("morphmodel_en.pgz")


def word_classes(text: str) -> list[dict[str, Any]]:
    """Tag the words and signs of a text.

    Returns:
        One a word or sign: char_start, char_end (one past it) and its class.

    Raises:
        UsageError: the tagger is not installed.
    """
    found = []
    for sentence in _sentences(text):
        with _ONE_AT_A_TIME:  # it caches what it has seen
            tags = tagger().tag_sent([piece.group() for piece in sentence])
        for piece, (_, _, tag) in zip(sentence, tags, strict=True):
            found.append({"char_start": piece.start(), "char_end": piece.end(), "class": tag})
    return found


def _sentences(text: str) -> Iterator[list[re.Match[str]]]:
    sentence: list[re.Match[str]] = []
    for piece in _PIECE.finditer(text):
        sentence.append(piece)
        if piece.group() in _END or len(sentence) == _LONGEST:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _word_classes(text: pa.ChunkedArray) -> pa.Array:
    return pa.array([word_classes(one) for one in text.to_pylist()], _CLASSES)


WORD_UDFS = (
    Udf(
        "word_classes",
        ("VARCHAR",),
        "STRUCT(char_start INTEGER, char_end INTEGER, class VARCHAR)[]",
        _word_classes,
        "The words and signs of an English text with their classes (tags of the C5 set: NN1, VVD,"
        " ...); needs the extra `tagger`.",
    ),
)
"""The functions."""
