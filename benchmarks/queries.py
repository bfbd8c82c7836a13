"""How fast does a warehouse answer, beside numpy on a memmap of the same values? Prints ratios.

    python benchmarks/queries.py
    python benchmarks/queries.py --limit 300 --folder some/folder

Data: the neurons of one layer of a real BERT (MiniLM) over the demo text, recorded by two ingests:
one keeps `activations` (neuron-major blocks), the other `token_matrices` (token-major rows) too.
numpy reads them from a token-major .npy. All answers are compared before they are timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from common import machine, minilm, paired
from numpy.typing import NDArray

import neuronmap_sql as nm
from neuronmap_sql import content
from neuronmap_sql.api import Warehouse
from neuronmap_sql.ingest.settings import (
    DataSettings,
    KeepSettings,
    ModelSettings,
    Recipe,
    SiteSettings,
)
from neuronmap_sql.numerics.bins import bin_of

LAYER, K, PROMPT = 3, 20, 512
ONE, THREE = 700, (219, 768, 1527)
HERE = f"model = 'minilm' AND site = 'mlp' AND layer = {LAYER}"
BIN_OF_BITS = bin_of(np.nan_to_num(np.arange(1 << 16, dtype=np.uint16).view(np.float16)))
Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Numpy:
    """The reference: what one writes without a warehouse."""

    held: NDArray[np.float16]

    def column(self, neuron: int) -> NDArray[np.float32]:
        return self.held[:, neuron].astype(np.float32)

    def top(self, k: int = K) -> Rows:
        return _top(self.column(ONE), k)

    def histogram(self) -> Rows:
        bits = np.bincount(self.held[:, ONE].view(np.uint16), minlength=1 << 16)
        counts = np.bincount(BIN_OF_BITS, bits, 1024)
        return np.stack([counts.nonzero()[0], counts[counts > 0]], axis=1)

    def nearest(self) -> Rows:
        far = sum((self.column(n) - self.held[5000, n].astype(np.float32)) ** 2 for n in THREE)
        return np.sort(np.partition(far, K)[:K])

    def prompt(self) -> Rows:
        return self.held[5000 : 5000 + PROMPT].astype(np.float32)

    def matrix(self) -> NDArray[np.float16]:
        return np.array(self.held)

    def top_all(self) -> Rows:
        wide = self.held.T.astype(np.float32)
        return np.sort(np.partition(wide, -K, axis=1)[:, -K:], axis=1)[:, ::-1]

    def statistics(self) -> Rows:
        found = []
        for first in range(0, self.held.shape[1], 64):
            wide = self.held[:, first : first + 64].astype(np.float64)
            found.append([wide.mean(0), wide.var(0), wide.min(0), wide.max(0)])
        return np.concatenate(found, axis=1).T


def _top(column: NDArray[np.float32], k: int) -> Rows:
    best = np.argpartition(column, -k)[-k:]
    return column[best[np.argsort(-column[best], kind="stable")]]


def ask(wh: Warehouse, query: str) -> Rows:
    """Run a query, and return its columns side by side."""
    table: pa.Table = wh.sql(query).arrow()
    return np.stack([column.to_numpy() for column in table.columns], axis=1).squeeze()


def blocks(wh: Warehouse, neurons: tuple[int, ...]) -> NDArray[np.float32]:
    """Fetch the values of some neurons as numpy arrays, [neurons, tokens]."""
    chosen = ", ".join(map(str, neurons))
    query = f"SELECT f16(vals) FROM activations WHERE {HERE} AND neuron IN ({chosen})"
    table = wh.sql(f"{query} ORDER BY neuron, block").arrow()
    return table.column(0).combine_chunks().values.to_numpy().reshape(len(neurons), -1)


def nearest_by_numpy(wh: Warehouse) -> Rows:
    columns = blocks(wh, THREE)
    far = ((columns - columns[:, 5000:5001]) ** 2).sum(axis=0)
    return np.sort(np.partition(far, K)[:K])


def nearest_by_sql(wh: Warehouse) -> Rows:
    values = " UNION ALL ".join(
        f"SELECT {n} AS neuron, tok, value FROM py.values_of('minilm', {LAYER}, {n})" for n in THREE
    )
    return ask(
        wh,
        f"WITH v AS MATERIALIZED ({values}), t AS (SELECT neuron, value FROM v WHERE tok = 5000) "
        "SELECT sum((v.value - t.value) ** 2) FROM v JOIN t USING (neuron) "
        f"GROUP BY v.tok ORDER BY 1 LIMIT {K}",
    )


def prompt(wh: Warehouse) -> Rows:
    query = f"SELECT f16(vals) FROM token_matrices WHERE {HERE} AND tok BETWEEN 5000 AND "
    table = wh.sql(f"{query} {5000 + PROMPT - 1} ORDER BY tok").arrow()
    return table.column(0).combine_chunks().values.to_numpy().reshape(PROMPT, -1)


def top_all(wh: Warehouse) -> Rows:
    query = f"SELECT value FROM top_activations WHERE {HERE} AND side = 'highest'"
    return ask(wh, f"{query} ORDER BY neuron, rank").reshape(-1, K)


def ways(wh: Warehouse, rows: Warehouse) -> dict[str, dict[str, Callable[[], object]]]:
    """Each question's ways through the warehouse; `rows` also keeps token-major rows."""
    top = f"SELECT value FROM top_activations WHERE {HERE} AND neuron = {ONE}"
    counts = (
        "SELECT unnest(hist_bins), unnest(hist_counts) FROM neuron_stats "
        f"WHERE {HERE} AND neuron = {ONE}"
    )
    statistics = "SELECT mean, variance, min, max FROM neuron_stats"
    return {
        "top": {
            "top_activations": partial(ask, wh, f"{top} AND side = 'highest' ORDER BY rank"),
            "py.top_values, for any k": partial(
                ask, wh, f"SELECT value FROM py.top_values('minilm', {LAYER}, {ONE}, k := {K})"
            ),
        },
        "histogram": {"neuron_stats": partial(ask, wh, counts)},
        "nearest": {
            "activations, f16() and numpy": partial(nearest_by_numpy, wh),
            "py.values_of, all in SQL": partial(nearest_by_sql, wh),
        },
        "prompt": {
            "token_matrices, f16()": partial(prompt, rows),
            "matrix() of activations": lambda: _matrix(wh)[5000 : 5000 + PROMPT],
        },
        "matrix": {
            "matrix() of activations": partial(_matrix, wh),
            "matrix() of token_matrices": partial(_matrix, rows),
        },
        "top_all": {"top_activations": partial(top_all, wh)},
        "statistics": {
            "neuron_stats": partial(ask, wh, f"{statistics} WHERE {HERE} ORDER BY neuron")
        },
    }


QUESTIONS = {
    "top": "top-20 of a neuron",
    "histogram": "histogram of a neuron, 1,024 bins",
    "nearest": "20 nearest tokens in 3 neurons",
    "prompt": "prompt of 512 tokens",
    "matrix": "whole matrix",
    "top_all": "top-20 of all neurons",
    "statistics": "mean, variance, extremes of all neurons",
}


def _matrix(wh: Warehouse) -> NDArray[np.float16]:
    values: NDArray[np.float16] = wh.matrix("minilm", LAYER)
    return values


def record(folder: Path, name: str, tables: tuple[str, ...], limit: int) -> Warehouse:
    """Ingest the layer, unless the folder has it from last time."""
    recipe = Recipe(
        ModelSettings(str(minilm()), name="minilm"),
        DataSettings(str(content.folder("demo") / "text.jsonl.gz"), name="text", limit=limit),
        sites=SiteSettings(layers=str(LAYER)),
        keep=KeepSettings(tables=("stats", "top", *tables), top_k=K),
    )
    wh = nm.create(folder / name)
    wh.ingest(recipe, progress=False)
    return wh


def check(question: str, expected: object, found: object) -> None:
    """Compare answers: statistics are of the model's values, the .npy holds them in float16."""
    rough = {"top": 1e-3, "top_all": 1e-3, "statistics": 2e-3}.get(question, 1e-6)
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    if question == "histogram":  # rounding moves some values to the next bin
        expected, found = expected[:, 1].sum(), found[:, 1].sum()
    np.testing.assert_allclose(found, expected, rtol=rough, atol=rough, err_msg=question)


def _ratio(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="documents; all by default")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="folder to keep the warehouses in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as aside:
        folder = options.folder or Path(aside)
        wh = record(folder, "blocks", ("activations",), options.limit)
        rows = record(folder, "rows", ("activations", "matrices"), options.limit)
        path = Path(aside) / "values.npy"
        np.save(path, np.ascontiguousarray(_matrix(wh)))
        reference = Numpy(np.load(path, mmap_mode="r"))
        print(machine("numpy", "duckdb", "pyarrow"))
        print("{:,} tokens x {:,} neurons\n".format(*reference.held.shape))
        print("| question | numpy, ms | through | wall time over numpy | processor time |")
        print("|---|---|---|---|---|")
        for question, contenders in ways(wh, rows).items():
            truth = getattr(reference, question)
            for way, answer in contenders.items():
                check(question, truth(), answer())
                rounds = options.rounds if question not in {"top_all", "statistics"} else 2
                taken = paired({"numpy": truth, way: answer}, rounds)
                one, base = taken[way], taken["numpy"].seconds * 1e3
                row = f"| {QUESTIONS[question]} | {base:,.1f} | {way} "
                print(f"{row}| {_ratio(one.ratio)} | {_ratio(one.cpu_ratio)} |", flush=True)


if __name__ == "__main__":
    main()
