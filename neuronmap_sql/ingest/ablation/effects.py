"""Sums of effects over tokens, and the tokens with the largest ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronmap_sql.numerics.predictions import MEASURES

__all__ = ["Effects", "Summary", "Tokens"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_WITH_CLEAN = len(MEASURES) + 3
"""Columns kept of a token: its changes, then the clean loss, entropy and rank."""


@dataclass(frozen=True)
class Tokens:
    """Predicted tokens of one batch, as the model predicts them by itself."""

    tok: Ints
    """[tokens] rows in `tokens`."""
    doc: Ints
    """[tokens] their documents."""
    clean: Floats
    """[tokens, 3] loss, entropy and rank."""


@dataclass(frozen=True)
class Summary:
    """The effect of one target."""

    n: int
    """Tokens counted."""
    nonfinite: int
    """Tokens left out, because a logit was not finite."""
    docs: int
    """Documents with counted tokens."""
    clean: Floats
    """[3] mean loss, entropy and rank without any change; NaN where there is no token."""
    mean: Floats
    """[measures] mean changes; NaN where there is no token."""
    error: Floats
    """[measures] their standard errors, the documents being the sample; NaN for fewer than two."""
    raised: tuple[Ints, Floats]
    """Rows in `tokens` [k], and [k, measures + 3] what was measured there, clean values last:
    where the loss rises most, first."""
    lowered: tuple[Ints, Floats]
    """The same where it falls most."""


class Effects:
    """Adds up what one target changes, whole documents at a time.

    The standard error of a mean over tokens takes documents as the sample, for the tokens of one
    are not independent: that of a ratio of sums over documents, sum of changes over sum of tokens.
    """

    def __init__(self, keep: int) -> None:
        """Begin; `keep` tokens stay of either sign."""
        self._keep = keep
        self._n = self._nonfinite = self._docs = 0
        self._tokens_squared = 0.0
        self._sum, self._squares, self._products = np.zeros((3, len(MEASURES)))
        self._clean = np.zeros(3)
        self._by_doc: dict[int, Floats] = {}
        self._ends = {sign: _no_tokens() for sign in (1, -1)}

    def add(self, tokens: Tokens, changes: Floats) -> None:
        """Add a batch.

        Args:
            tokens: where.
            changes: [tokens, measures] from `Predictions.changes`.
        """
        finite = np.isfinite(changes).all(1) & np.isfinite(tokens.clean).all(1)
        self._nonfinite += int((~finite).sum())
        tok, doc, clean = tokens.tok[finite], tokens.doc[finite], tokens.clean[finite]
        changes = changes[finite]
        self._clean += clean.sum(0)
        docs, place = np.unique(doc, return_inverse=True)
        sums = np.zeros((len(docs), len(MEASURES) + 1))
        np.add.at(sums, place, np.column_stack([changes, np.ones(len(changes))]))
        for number, total in zip(docs.tolist(), sums, strict=True):
            self._by_doc[number] = self._by_doc.get(number, 0.0) + total
        measured = np.column_stack([changes, clean])
        for sign in self._ends:
            self._ends[sign] = self._best(sign, tok, measured)

    def end_documents(self) -> None:
        """Say that the documents so far are complete, and need not be told apart any more."""
        if not self._by_doc:
            return
        sums = np.stack(list(self._by_doc.values()))
        changes, tokens = sums[:, :-1], sums[:, -1:]
        self._docs += len(sums)
        self._n += int(tokens.sum())
        self._tokens_squared += float((tokens**2).sum())
        self._sum += changes.sum(0)
        self._squares += (changes**2).sum(0)
        self._products += (changes * tokens).sum(0)
        self._by_doc = {}

    def result(self) -> Summary:
        """Return the effect, once all documents are complete."""
        self.end_documents()
        mean = self._sum / self._n if self._n else np.full(len(MEASURES), np.nan)
        error = np.full(len(MEASURES), np.nan)
        if self._docs > 1:
            spread = self._squares - 2 * mean * self._products + mean**2 * self._tokens_squared
            factor = self._docs / (self._docs - 1) / self._n**2
            error = np.sqrt(np.maximum(spread, 0) * factor)
        clean = self._clean / self._n if self._n else np.full(3, np.nan)
        return Summary(
            self._n, self._nonfinite, self._docs, clean, mean, error, self._ends[1], self._ends[-1]
        )

    def _best(self, sign: int, tok: Ints, measured: Floats) -> tuple[Ints, Floats]:
        """Return the tokens whose loss changes most with a sign, ties to the earlier one."""
        held_tok, held = self._ends[sign]
        there = sign * measured[:, 0] > 0
        tok = np.concatenate([held_tok, tok[there]])
        measured = np.concatenate([held, measured[there]])
        order = np.lexsort((tok, -sign * measured[:, 0]))[: self._keep]
        return tok[order], measured[order]


def _no_tokens() -> tuple[Ints, Floats]:
    return np.zeros(0, np.int64), np.zeros((0, _WITH_CLEAN))
