"""Runs of a few rows, with values that the tests compute for themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from neuronmap_sql.numerics.f16 import encode
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Partition, run_id
from neuronmap_sql.warehouse.store import Store

ROW: dict[str, Any] = {"seconds": 1.5, "versions": {"python": "3"}, "recipe": "seed = 0"}

TEXTS = ("The na\u0308ive fox 😀 ran.\nIt ran far.", "é fox!")
WORDS = (
    "The",
    " na\u0308ive",
    " fox",
    " 😀",
    " ran",
    ".",
    "\nIt",
    " ran",
    " far",
    ".",
    "é",
    " fox",
    "!",
)
DOC_OF = (0,) * 10 + (1,) * 3
TOKENS = len(WORDS)
NEURONS = 4
BLOCK = 5


def fill(table: str, rows: int, **columns: Any) -> pa.Table:
    """Rows with the columns given, and in the others NULL, or a plain value where they need one."""
    plain = {"string": "x", "int32": 0, "int64": 0, "float": 0.0, "double": 0.0, "bool": False}
    full = {}
    for field in arrow_schema(table):
        if field.name in columns:
            values = columns.pop(field.name)
            full[field.name] = [values] * rows if np.isscalar(values) else list(values)
        elif field.name != "run":
            full[field.name] = [None if field.nullable else plain[str(field.type)]] * rows
    return pa.table(full | columns, schema=_schema(table, full, columns))


def _schema(table: str, full: dict[str, Any], labels: dict[str, Any]) -> pa.Schema:
    known = [field for field in arrow_schema(table) if field.name in full]
    return pa.schema([*known, *(pa.field(name, pa.array(labels[name]).type) for name in labels)])


def spans() -> tuple[list[int], list[int]]:
    """First character, and one past the last, of each token in its document."""
    starts, ends, at, doc = [], [], 0, 0
    for word, where in zip(WORDS, DOC_OF, strict=True):
        at = at if where == doc else 0
        doc = where
        starts.append(at)
        at += len(word)
        ends.append(at)
    return starts, ends


def add_documents(
    store: Store, dataset: str = "d", tokenizer: str = "tk", **labels: list[Any]
) -> str:
    with store.stage(run_id("tokens", {"dataset": dataset, "tokenizer": tokenizer})) as staging:
        docs = fill("docs", 2, dataset=dataset, doc=[0, 1], doc_id=["a", "b"], text=TEXTS, **labels)
        staging.write("docs", docs)
        starts, ends = spans()
        pos = [*range(10), *range(3)]
        keys = {"dataset": dataset, "tokenizer": tokenizer, "tok": range(TOKENS), "doc": DOC_OF}
        places = {"pos": pos, "char_start": starts, "char_end": ends, "token": WORDS}
        staging.write("tokens", fill("tokens", TOKENS, **keys, **places))
        return staging.commit(ROW)


def values(layer: int, dataset: str = "d") -> np.ndarray:
    """Activations [tokens, neurons], float16-exact."""
    rng = np.random.default_rng([layer, *dataset.encode()])
    return rng.normal(size=(TOKENS, NEURONS)).astype(np.float16).astype(np.float64)


def add_activations(
    store: Store, dataset: str = "d", model: str = "m", parents: tuple[str, ...] = ()
) -> str:
    with store.stage(run_id("activations", {"dataset": dataset, "model": model})) as staging:
        for layer in (0, 1):
            x = values(layer, dataset)
            keys = {"model": model, "dataset": dataset, "site": "mlp", "layer": layer}
            staging.write("neuron_stats", _stats(x, keys), shard=str(layer))
            staging.write("top_activations", _top(x, keys), shard=str(layer))
            where = Partition(model, dataset, "mlp", layer)
            staging.write("activations", _blocks(x), where)
            matrix = {"tokenizer": "tk", "tok": range(TOKENS)}
            halves = [encode(row).tobytes() for row in x]
            staging.write("token_matrices", pa.table({**_lists(matrix), "vals": halves}), where)
        return staging.commit({**ROW, "model": model, "dataset": dataset, "parents": list(parents)})


def add_weights(store: Store, model: str = "m") -> str:
    with store.stage(run_id("weights", {"model": model})) as staging:
        for layer in (0, 1):
            w = output_weights(layer)
            norms = np.linalg.norm(w, axis=1)
            rows = {"w_out": w.astype(np.float32).tolist(), "w_out_norm": norms}
            keys = {"model": model, "site": "mlp", "layer": layer, "neuron": range(NEURONS)}
            staging.write(
                "neuron_weights", fill("neuron_weights", NEURONS, **keys, **rows), shard=f"{layer}"
            )
        return staging.commit({**ROW, "model": model})


def output_weights(layer: int) -> np.ndarray:
    return np.random.default_rng(100 + layer).normal(size=(NEURONS, 6)).astype(np.float32)


def _lists(columns: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [value] * TOKENS if np.isscalar(value) else list(value)
        for name, value in columns.items()
    }


def _stats(x: np.ndarray, keys: dict[str, Any]) -> pa.Table:
    z = (x - x.mean(0)) / x.std(0)
    bins = [[0, 511, 512, 1023]] * NEURONS
    return fill(
        "neuron_stats",
        NEURONS,
        **keys,
        neuron=range(NEURONS),
        count=TOKENS,
        mean=x.mean(0),
        variance=x.var(0),
        skewness=(z**3).mean(0),
        kurtosis=(z**4).mean(0),
        min=[-70000.0] * NEURONS,
        max=[70000.0] * NEURONS,
        fraction_active=(x > 0).mean(0),
        hist_bins=bins,
        hist_counts=[[1, 2, 3, 4]] * NEURONS,
    )


def _top(x: np.ndarray, keys: dict[str, Any]) -> pa.Table:
    rows = []
    for neuron in range(NEURONS):
        for side, sign in (("highest", -1), ("lowest", 1)):
            for rank, tok in enumerate(np.argsort(sign * x[:, neuron], kind="stable")[:6], 1):
                rows.append((neuron, side, rank, x[tok, neuron], tok, DOC_OF[tok], WORDS[tok]))
    names = ("neuron", "side", "rank", "value", "tok", "doc", "token")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return fill("top_activations", len(rows), **keys, tokenizer="tk", **columns)


def _blocks(x: np.ndarray) -> pa.Table:
    rows = []
    for neuron in range(NEURONS):
        for block, first in enumerate(range(0, TOKENS, BLOCK)):
            part = x[first : first + BLOCK, neuron]
            zone = (part.min(), part.max(), part.sum(), (part**2).sum())
            rows.append((neuron, block, first, len(part), *zone, encode(part).tobytes()))
    names = ("neuron", "block", "first_tok", "n", "min", "max", "sum", "sum_squares", "vals")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    return pa.table({"tokenizer": ["tk"] * len(rows), **{k: list(v) for k, v in columns.items()}})
