"""An analysis of labels, from the stored values to a committed run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import tomli_w

from neuronmap_sql.analysis.label_pass import LabelPlan
from neuronmap_sql.analysis.label_rows import adjusted, mean_rows, score_rows
from neuronmap_sql.analysis.labels import WORD_CLASS, Label, TokenTable
from neuronmap_sql.analysis.settings import LabelSettings
from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.layer_values import LayerValues, kept_layers, layer_values
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.provenance import made_with
from neuronmap_sql.warehouse.staging import Staging, run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["Analysed", "analyze_labels"]

_METHOD = 1
"""Counts changes of what is computed, the SQL of labels included: another method, another run."""


@dataclass(frozen=True)
class Analysed:
    """What an analysis did."""

    run: str
    """Id of the run that holds its rows."""
    made: bool
    """Whether it was not there before."""
    rows: int
    """Its rows."""
    seconds: float
    """Wall time."""


def analyze_labels(
    store: Store,
    settings: LabelSettings,
    *,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Analysed:
    """Score every neuron against every label, and commit the rows: see `Warehouse.analyze_labels`.

    Args:
        store: the warehouse.
        settings: what to score.
        replace: take the place of the run that holds rows of the same names.
        progress: told how many neurons are done, of how many.
    """
    began = time.monotonic()
    layers = _layers(store, settings)
    with connect(store.root) as con:
        first = layers[0]
        table = TokenTable(con, first.dataset, first.tokenizer, first.tokens)
        labels = table.read(settings.labels, settings.lags)
    work = _Work(settings, layers, labels, _parents(store, layers))
    made = not store.has(work.run)
    if made:
        store.leaving({work.run: work.keys}, replace=replace)
        with store.stage(work.run) as staging:
            try:
                staging.reset()  # what a killed analysis left is not gone on with
                with disk_errors(store.root):
                    work.write(staging, LabelPlan(labels, table.docs), progress)
                row = work.row | {"seconds": time.monotonic() - began}
                staging.commit(row, work.keys, replace=replace)
            except BaseException:
                staging.discard()
                raise
    rows = int(store.manifest(work.run).row["rows"])
    return Analysed(work.run, made, rows, time.monotonic() - began)


def _layers(store: Store, settings: LabelSettings) -> list[LayerValues]:
    """Find the values.

    Raises:
        UnknownNameError: there are none.
        UsageError: they are of several datasets.
    """
    model, site, dataset = settings.model, settings.site, settings.dataset
    numbers = settings.layers or kept_layers(store.root, model, site, dataset)
    found = [layer_values(store.root, model, n, site, dataset) for n in sorted(set(numbers))]
    if len(names := sorted({layer.dataset for layer in found})) > 1:
        raise UsageError(f"values of several datasets are kept, name one: {', '.join(names)}")
    return found


def _parents(store: Store, layers: list[LayerValues]) -> tuple[str, ...]:
    """Return the runs that hold the values and the tokens, sorted."""
    tokens = Key("tokens", dataset=layers[0].dataset, tokenizer=layers[0].tokenizer)
    found = {run for run, each in store.manifests().items() if tokens in each.keys}
    return tuple(sorted(found.union(*(layer.runs for layer in layers))))


@dataclass(frozen=True)
class _Work:
    """An analysis made ready."""

    settings: LabelSettings
    """What is asked for."""
    layers: list[LayerValues]
    """The values."""
    labels: list[Label]
    """The labels."""
    parents: tuple[str, ...]
    """Runs that these are from."""

    @property
    def recipe(self) -> dict[str, Any]:
        """What determines the rows, besides the parents."""
        names = list(dict.fromkeys(label.name for label in self.labels))
        found: dict[str, Any] = {
            "what": "labels", "model": self.settings.model, "dataset": self.layers[0].dataset,
            "site": self.settings.site, "layers": [layer.layer for layer in self.layers],
            "labels": names, "lags": sorted({label.lag for label in self.labels}),
            "least": self.settings.least, "means": self.settings.means,
        }  # fmt: skip
        return found | ({"tagger": version("HanTa")} if WORD_CLASS in names else {})

    @property
    def run(self) -> str:
        """Id of the run."""
        return run_id("analysis", self.recipe | {"parents": self.parents, "method": _METHOD})

    @property
    def keys(self) -> tuple[Key, ...]:
        """Names that the run takes."""
        tables = ["label_scores", *["class_means"] * bool(self.settings.means)]
        place = {"model": self.settings.model, "dataset": self.layers[0].dataset}
        layers = tuple(layer.layer for layer in self.layers)
        return tuple(
            Key(table, **place, site=self.settings.site, layers=layers) for table in tables
        )

    @property
    def row(self) -> dict[str, Any]:
        """The row of `runs`."""
        first = self.layers[0]
        return {
            "kind": "analysis", "title": "labels of tokens", "model": self.settings.model,
            "dataset": first.dataset, "tokenizer": first.tokenizer,
            "parents": list(self.parents), "token_count": first.tokens,
            "recipe": tomli_w.dumps({"analysis": self.recipe}),
            **made_with(),
        }  # fmt: skip

    def write(
        self, staging: Staging, plan: LabelPlan, progress: Callable[[int, int], None]
    ) -> None:
        """Read the values layer by layer, and stage the rows."""
        least, most = self.settings.least, self.settings.means
        total, done, scores = sum(layer.neurons for layer in self.layers), 0, []

        def advance(neurons: int) -> None:
            nonlocal done
            done += neurons
            progress(done, total)
            staging.beat("labels", done, total, "neurons")

        for layer in self.layers:
            keys = {
                "model": self.settings.model, "dataset": layer.dataset,
                "tokenizer": layer.tokenizer, "site": self.settings.site, "layer": layer.layer,
            }  # fmt: skip
            means = []
            for scored in plan.score(layer, self.settings.memory, advance):
                scores.append(score_rows(scored, keys, least))
                means += [mean_rows(scored, keys, least, most)] if most else []
            if means:
                staging.write("class_means", _sorted(means, "rank"), shard=str(layer.layer))
        staging.write("label_scores", _sorted([adjusted(pa.concat_tables(scores))]))


def _sorted(tables: list[pa.Table], *last: str) -> pa.Table:
    """Return the rows in the order of their keys."""
    order = ("layer", "neuron", "label", "lag", *last)
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in order])
