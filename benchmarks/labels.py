"""How fast are all neurons of a layer scored against all labels? Prints ratios.

    python benchmarks/labels.py
    python benchmarks/labels.py --limit 400 --folder some/folder

Data: one layer of the demo model over the demo text. The references have the layer's values in
memory as a float32 matrix and give the variance reduction alone: a product with the dense one-hot
matrix of each label, and a `bincount` a neuron and label. Ours reads the stored values, and gives
all columns of `label_scores`. The answers are compared before they are timed.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import machine, paired, shown
from numpy.typing import NDArray

import neuronmap_sql as nm
from neuronmap_sql.analysis.label_pass import LabelPlan
from neuronmap_sql.analysis.labels import Label, TokenTable
from neuronmap_sql.api import Warehouse
from neuronmap_sql.content import folder
from neuronmap_sql.warehouse.layer_values import layer_values

LAYER, MEMORY, CHUNK = 1, 256 << 20, 4096
Floats = NDArray[np.float64]
Scores = dict[tuple[str, int], Floats]


@dataclass(frozen=True)
class Numpy:
    """The references: what one writes with the matrix in memory."""

    values: NDArray[np.float32]
    labels: list[Label]

    def one_hot(self) -> Scores:
        return {(label.name, label.lag): self._products(label) for label in self.labels}

    def bincounts(self) -> Scores:
        return {(label.name, label.lag): self._bins(label) for label in self.labels}

    def _products(self, label: Label) -> Floats:
        """Chunks of tokens: the whole one-hot matrix of a vocabulary is larger than the values."""
        classes = len(label.classes)
        sums, squares = np.zeros((classes, self.values.shape[1])), np.zeros(self.values.shape[1])
        for first in range(0, len(self.values), CHUNK):
            codes, x = label.codes[first : first + CHUNK], self.values[first : first + CHUNK]
            marks = np.zeros((classes, len(codes)), np.float32)
            some = np.flatnonzero(codes >= 0)
            marks[codes[some], some] = 1
            sums += marks @ x
            squares += np.einsum("tn,tn->n", x[some], x[some])
        return _reduction(sums, label, squares)

    def _bins(self, label: Label) -> Floats:
        some = label.codes >= 0
        codes = label.codes[some].astype(np.int64)
        columns = (column[some] for column in self.values.T)
        each = [
            (np.bincount(codes, x, len(label.classes)), (x.astype(float) ** 2).sum())
            for x in columns
        ]
        return _reduction(np.array([s for s, _ in each]).T, label, np.array([q for _, q in each]))


def _reduction(sums: Floats, label: Label, squares: Floats) -> Floats:
    counts = np.bincount(label.codes[label.codes >= 0], minlength=len(label.classes))[:, None]
    total = sums.sum(axis=0) ** 2 / counts.sum()
    between = (sums**2 / np.maximum(counts, 1)).sum(axis=0) - total
    return np.asarray(between / (squares - total))


def ours(wh: Warehouse, labels: list[Label], docs: NDArray[np.int64]) -> Scores:
    """Score the layer as `neuronmap analyze labels` does, but for writing the rows."""
    plan, found = LabelPlan(labels, docs), {}
    for scored in plan.score(layer_values(wh.path, "demo-a", LAYER), MEMORY, lambda _: None):
        key = (scored.label.name, scored.label.lag)
        found.setdefault(key, []).append(scored.reduction.reduction)
    return {key: np.concatenate(parts) for key, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limit", type=int, default=1300, help="documents; 0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the warehouse is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run(arguments.folder or Path(place), arguments.limit, arguments.rounds)


def run(place: Path, limit: int, rounds: int) -> None:
    with nm.create(place / "labels.warehouse") as wh:
        keep = {"data.limit": limit, "keep.tables": ["activations"]}
        wh.ingest(folder("ingest") / "demo.toml", overrides=keep)
        layer = layer_values(wh.path, "demo-a", LAYER)
        table = TokenTable(wh.connection, layer.dataset, layer.tokenizer, layer.tokens)
        labels = table.read(None, (0, 1))
        values = wh.matrix("demo-a", LAYER).astype(np.float32)
        plain = Numpy(np.ascontiguousarray(values), labels)
        wanted, got = plain.one_hot(), ours(wh, labels, table.docs)
        assert all(np.allclose(got[key], wanted[key], atol=1e-4) for key in wanted)
        print(machine())
        print(f"{layer.tokens:,} tokens, {layer.neurons} neurons, {len(labels)} labels, ratios:")
        found = paired(
            {
                "ours, from the files": lambda: ours(wh, labels, table.docs),
                "one-hot products": plain.one_hot,
                "bincount": plain.bincounts,
            },
            rounds,
            warm=False,
        )
        for name, timing in found.items():
            print(f"{name:22} wall {shown(timing.ratio):>6}  cpu {shown(timing.cpu_ratio):>6}"
                  f"  {timing.seconds:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
