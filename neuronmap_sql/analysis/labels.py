"""The labels of a dataset's tokens, read from SQL as numbers of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from neuronmap_sql.errors import StoreError, UnknownNameError, UsageError
from neuronmap_sql.numerics.class_sums import NO_CLASS
from neuronmap_sql.warehouse.result import execute
from neuronmap_sql.warehouse.views import quote_name
from neuronmap_sql.warehouse.word_udfs import tagger

__all__ = ["WORD_CLASS", "Label", "TokenTable", "positional"]

Codes = NDArray[np.int32]

WORD_CLASS = "word_class"
"""The label that needs a tagger."""

_KEYS = ("dataset", "tokenizer", "tok")
_OF_A_LABEL = 100
"""A label of documents with more classes than this names documents, and is left out by default."""


@dataclass(frozen=True)
class Label:
    """One class a token."""

    name: str
    """Name: `token`, `first_letter`, ..., `docs.NAME`."""
    lag: int
    """How many tokens back it is."""
    classes: pa.Array
    """Names of the classes, sorted."""
    codes: Codes
    """[tokens] which of them each token has, or NO_CLASS."""

    @property
    def of_documents(self) -> bool:
        """Whether all tokens of a document have the same."""
        return self.name.startswith("docs.")


def positional(name: str) -> bool:
    """Whether a label says where a token stands."""
    return name.endswith("_position")


class TokenTable:
    """The tokens of one dataset under one tokenizer, and their labels.

    Args:
        con: a connection with the tables and macros of a warehouse.
        dataset: dataset.
        tokenizer: tokenizer.
        tokens: how many tokens there must be.

    Raises:
        StoreError: there are not so many.
    """

    def __init__(
        self, con: duckdb.DuckDBPyConnection, dataset: str, tokenizer: str, tokens: int
    ) -> None:
        self._con = con
        self._place = {"dataset": dataset, "tokenizer": tokenizer}
        found = execute(
            con,
            "SELECT doc, win FROM tokens WHERE dataset = $dataset AND tokenizer = $tokenizer"
            " ORDER BY tok",
            self._place,
        ).arrow()
        if len(found) != tokens:
            raise StoreError(
                f"{dataset} has {len(found)} tokens under {tokenizer}, but values of {tokens}:"
                " `neuronmap verify` says more"
            )
        self.docs: NDArray[np.int64] = found["doc"].to_numpy()
        """[tokens] document of each."""
        self._windows: NDArray[np.int64] = found["win"].to_numpy()

    def names(self) -> tuple[list[str], list[str]]:
        """Return the labels to take when none are named, and all others that there are."""
        columns = execute(self._con, "FROM token_classes() LIMIT 0").columns
        sizes = execute(
            self._con,
            "SELECT label, count(DISTINCT class) FROM document_labels(dataset := $dataset)"
            " GROUP BY label ORDER BY label",
            {"dataset": self._place["dataset"]},
        ).fetchall()
        usual = [name for name in columns if name not in _KEYS]
        usual += [name for name, classes in sizes if classes <= _OF_A_LABEL]
        return usual, [WORD_CLASS, *(name for name, classes in sizes if classes > _OF_A_LABEL)]

    def read(self, names: Iterable[str] | None, lags: Sequence[int]) -> list[Label]:
        """Return labels at each lag that makes sense, in the order of names, then lags.

        Raises:
            UnknownNameError: there is no such label.
            UsageError: no label is left, or `word_class` is asked for without the tagger.
        """
        usual, others = self.names()
        wanted = list(dict.fromkeys(usual if names is None else names))
        for name in wanted:
            if name not in (known := [*usual, *others]):
                raise UnknownNameError.of("label", name, known, "`FROM token_labels()` has them")
        now = self._read(wanted)
        found = [
            Label(name, lag, classes, self._earlier(codes, lag))
            for name, (classes, codes) in now.items()
            for lag in sorted(set(lags))
            if lag == 0 or not (name.startswith("docs.") or positional(name))
        ]
        if not found:
            raise UsageError("no label is left: those of positions and documents have lag 0 only")
        return found

    def _read(self, names: list[str]) -> dict[str, tuple[pa.Array, Codes]]:
        found = {}
        plain = [n for n in names if n != WORD_CLASS and not n.startswith("docs.")]
        if plain:
            rows = execute(
                self._con,
                f"SELECT {', '.join(map(quote_name, plain))} FROM token_classes("
                "dataset := $dataset, tokenizer := $tokenizer) ORDER BY tok",
                self._place,
            ).arrow()
            found = {name: _coded(rows[name]) for name in plain}
        for name in names:
            if name == WORD_CLASS:
                found[name] = self._tagged()
            elif name not in found:
                found[name] = self._of_documents(name)
        return {name: found[name] for name in names}

    def _of_documents(self, name: str) -> tuple[pa.Array, Codes]:
        rows = execute(
            self._con,
            "SELECT doc, class FROM document_labels(dataset := $dataset) WHERE label = $label",
            {"dataset": self._place["dataset"], "label": name},
        ).arrow()
        return self._spread(rows, "doc", self.docs)

    def _tagged(self) -> tuple[pa.Array, Codes]:
        tagger()  # says by itself what to install, where the engine would wrap it
        rows = execute(
            self._con,
            "SELECT tok, class FROM py.word_classes(dataset := $dataset, tokenizer := $tokenizer)",
            self._place,
        ).arrow()
        return self._spread(rows, "tok", np.arange(len(self.docs)))

    def _spread(
        self, rows: pa.Table, key: str, of_token: NDArray[np.int64]
    ) -> tuple[pa.Array, Codes]:
        """Give each token the class of its key."""
        classes, codes = _coded(rows["class"])
        of_key = np.full(int(of_token.max()) + 1, NO_CLASS, np.int32)
        of_key[rows[key].to_numpy()] = codes
        return classes, of_key[of_token]

    def _earlier(self, codes: Codes, lag: int) -> Codes:
        """Return the codes of the tokens so many places before, in the same window of a document.

        Before them the model has read nothing, or a special token, which is no row of tokens.
        """
        if lag == 0:
            return codes
        found = np.full_like(codes, NO_CLASS)
        same = (self.docs[lag:] == self.docs[:-lag]) & (self._windows[lag:] == self._windows[:-lag])
        found[lag:][same] = codes[:-lag][same]
        return found


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, Codes]:
    """Return the distinct values, sorted, and which of them each row has."""
    coded = column.combine_chunks().dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    place = np.empty(len(order) + 1, np.int32)
    place[order.to_numpy()], place[-1] = np.arange(len(order)), NO_CLASS
    codes = coded.indices.fill_null(len(order)).to_numpy(zero_copy_only=False)
    return coded.dictionary.take(order), place[codes]
