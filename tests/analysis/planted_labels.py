"""A warehouse whose neurons' meaning is known: what each fires on was written into its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from neuronmap_sql.numerics.blocks import block_table
from neuronmap_sql.numerics.int8 import iter_int8_tables
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Partition, run_id
from neuronmap_sql.warehouse.store import Store

WORDS = (
    " the", " a", ",", ".", " big", " boat", " Berlin", " NASA", " 42", "7", " ", " cat", "s",
    " ran", "B", " dog", " went", " home", " Two", " blue",
)  # fmt: skip
SHARES = np.array([0.15, 0.1, 0.1, 0.08, *[0.57 / 16] * 16])
DOCS, DOC_TOKENS, WINDOW = 60, 150, 50
TOKENS = DOCS * DOC_TOKENS
SOURCES = ("poem", "prose", "code")
NULLS = slice(8, 40)
CONSTANT, BROKEN = 40, 41
ROW: dict[str, Any] = {"seconds": 1.0, "versions": {"python": "3"}}


@dataclass(frozen=True)
class Planted:
    """What was planted."""

    words: np.ndarray
    """[tokens] text."""
    source: np.ndarray
    """[tokens] label of the document."""
    win_pos: np.ndarray
    """[tokens]."""
    values: np.ndarray
    """[tokens, neurons] float16."""

    def before(self, lag: int = 1) -> np.ndarray:
        """[tokens] the token before in the same window, '' where there is none."""
        found = np.roll(self.words, lag)
        return np.where(self.win_pos >= lag, found, "")


def planted(seed: int = 0) -> Planted:
    """Plant neurons 0 to 7, null ones, one constant and one with values that are not finite."""
    rng = np.random.default_rng(seed)
    words = rng.choice(WORDS, TOKENS, p=SHARES)
    source = np.repeat(rng.permutation(np.resize(SOURCES, DOCS)), DOC_TOKENS)
    win_pos = np.tile(np.arange(WINDOW), TOKENS // WINDOW)
    known = Planted(words, source, win_pos, np.empty(0))
    numbers = np.isin(words, [" 42", "7"])
    signals = [
        3 * (words == " the"),
        2 * np.char.startswith(np.char.lower(np.char.strip(words)), "b"),
        5 * numbers,
        4 * (known.before() == " the"),
        3 / (1 + win_pos),
        1.5 * (source == "poem"),
        -2 * (words == " NASA"),
        2 * np.isin(words, [" Berlin", " Two"]),
    ]
    values = rng.normal(size=(TOKENS, 42))
    values[:, : len(signals)] += np.array(signals).T
    spikes = rng.lognormal(0, 1.5, (TOKENS, 16)) * (rng.random((TOKENS, 16)) < 0.03)
    values[:, 24:40] = spikes
    values[:, CONSTANT] = 0.1
    values = values.astype(np.float16)
    values[rng.integers(0, TOKENS, 500), BROKEN] = np.nan
    return Planted(words, source, win_pos, values)


def warehouse(store: Store, known: Planted, tables: tuple[str, ...] = ("activations",)) -> str:
    """Write documents, tokens and the values, in some tables; return the run of the values."""
    tokens = _documents(store, known)
    with store.stage(run_id("activations", {"of": tokens, "tables": tables})) as staging:
        place = Partition("m", "d", "mlp", 2)
        for table in tables:
            rows = _rows(table, known.values)
            staging.write(table, rows.append_column("tokenizer", [["t"] * len(rows)]), place)
        row = {**ROW, "model": "m", "dataset": "d", "tokenizer": "t", "parents": [tokens]}
        return staging.commit(row)


def _rows(table: str, values: np.ndarray) -> pa.Table:
    if table == "token_matrices":
        vals = [row.tobytes() for row in values]
        return pa.table({"tok": np.arange(len(values)), "vals": vals})
    if table == "activations_int8":
        return pa.concat_tables(iter_int8_tables(values, 1000))
    return block_table(values, block=1000)


def _documents(store: Store, known: Planted) -> str:
    with store.stage(run_id("tokens", {"words": known.words.tolist()})) as staging:
        texts = ["".join(part) for part in known.words.reshape(DOCS, DOC_TOKENS)]
        names = [str(doc) for doc in range(DOCS)]
        docs = {"dataset": ["d"] * DOCS, "doc": range(DOCS), "doc_id": names, "text": texts}
        labels = {"source": known.source[::DOC_TOKENS].tolist(), "name": names}
        staging.write("docs", _table("docs", DOCS, docs, labels))
        tok, lengths = np.arange(TOKENS), np.char.str_len(known.words)
        ends = lengths.reshape(DOCS, DOC_TOKENS).cumsum(axis=1).ravel()
        pos = tok % DOC_TOKENS
        columns = {
            "dataset": ["d"] * TOKENS, "tokenizer": ["t"] * TOKENS, "tok": tok,
            "doc": tok // DOC_TOKENS, "pos": pos, "win": tok // WINDOW, "win_pos": known.win_pos,
            "token_id": np.unique(known.words, return_inverse=True)[1], "token": known.words,
            "char_start": ends - lengths, "char_end": ends, "word": pos,
            "special": [False] * TOKENS,
        }  # fmt: skip
        staging.write("tokens", _table("tokens", TOKENS, columns, {}))
        return staging.commit({**ROW, "dataset": "d", "tokenizer": "t"})


def _table(
    table: str, rows: int, columns: dict[str, Any], labels: dict[str, list[str]]
) -> pa.Table:
    fields = [field for field in arrow_schema(table) if field.name != "run"]
    arrays = {f.name: pa.array(list(columns[f.name]), f.type) for f in fields}
    assert {len(array) for array in arrays.values()} == {rows}
    return pa.table(arrays | labels)
