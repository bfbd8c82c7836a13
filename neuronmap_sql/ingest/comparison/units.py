"""What values of several models are compared by: the same tokens, or characters that they share.

Models with one tokenizer are compared token by token. With several, the tokens of a document are
joined where all tokenizers end a token after the same character, white space left out; the values
of a model are averaged over its tokens between two such places. Characters that a tokenizer drops
(BERT drops accents) belong to no token of it, and part no units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.spans import characters
from neuronmap_sql.ingest.data.tokenization import Tokenization

__all__ = ["Units", "shared_units"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """The units of a comparison, numbered by document and place."""

    unit: Literal["token", "span"]
    """`token`: both models see the same tokens."""
    of_tok: tuple[Ints, ...]
    """For each model [tokens]: the unit of each of its tokens; -1: in none."""
    first: Ints
    """[documents + 1] Where the units of each document begin."""

    def __len__(self) -> int:
        return int(self.first[-1])

    def tokens(self, model: int) -> int:
        """Return the tokens of a model that lie in units."""
        return int((self.of_tok[model] >= 0).sum())


def shared_units(texts: list[str], tokenizations: Sequence[Tokenization]) -> Units:
    """Find the units of some models on one dataset.

    Args:
        texts: the documents.
        tokenizations: of each model.

    Raises:
        DataError: the tokenizers share no place at which tokens end.
    """
    keys = {tokenization.key for tokenization in tokenizations}
    docs = [tokenization.table["doc"].to_numpy() for tokenization in tokenizations]
    if len(keys) == 1:
        same = np.arange(len(docs[0]))
        return Units("token", (same,) * len(docs), _first(docs[0], len(texts)))
    ends, nowhere = _ends(texts, tokenizations)
    common = reduce(np.intersect1d, ends, nowhere)
    if not len(common):
        names = ", ".join(sorted(keys))
        raise DataError(f"the tokenizers {names} never end a token at the same character")
    return _of_spans(common, ends, docs, len(texts))


def _ends(texts: list[str], tokenizations: Sequence[Tokenization]) -> tuple[list[Ints], Ints]:
    """Return where tokens end in the text without its white space, [tokens] each, and the union.

    Tokens of white space alone end nowhere: 0.
    """
    chars = characters(texts)
    solid = ~np.isin(chars.codes, _SPACES)
    rank = np.concatenate([[0], np.cumsum(solid)])
    found = []
    for tokenization in tokenizations:
        table = tokenization.table
        base = chars.first[table["doc"].to_numpy()]
        start = rank[base + table["char_start"].to_numpy()]
        end = rank[base + table["char_end"].to_numpy()]
        found.append(np.where(end > start, end, 0))
    return found, np.unique(np.concatenate(found))


_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)
"""Every white space of Unicode: the last is U+3000."""


def _of_spans(common: Ints, ends: list[Ints], docs: list[Ints], documents: int) -> Units:
    """Number the units: each ends at a common place, and begins where one before it ended.

    A token that ends after the last common place of its document would fall into the first unit of
    the next one; there the unit's own document tells.
    """
    cuts = common[common > 0]
    places = [np.searchsorted(cuts, end) for end in ends]
    owner = np.full(len(cuts), -1)
    ending = (ends[0] > 0) & np.isin(ends[0], cuts)
    owner[places[0][ending]] = docs[0][ending]
    of_tok = tuple(
        np.where((end > 0) & (place < len(cuts)) & (owner[np.minimum(place, len(cuts) - 1)] == doc),
                 place, -1)
        for end, place, doc in zip(ends, places, docs, strict=True)
    )  # fmt: skip
    return Units("span", of_tok, _first(owner, documents))


def _first(doc: Ints, documents: int) -> Ints:
    return np.searchsorted(doc, np.arange(documents + 1)).astype(np.int64)
