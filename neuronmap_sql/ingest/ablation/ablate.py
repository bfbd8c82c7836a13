"""One ablation: from SQL that names neurons to committed runs, one a model.

    documents ──> run docs ──> run tokens ─┐
    model ─────────────────> run model ────┴─> run ablation

Each batch is read once by the model as it is, and once for each target, with its neurons replaced.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.ablation.choice import Neuron, ask
from neuronmap_sql.ingest.ablation.measure import (
    Measured,
    first_windows,
    mean_values,
    measure,
    positions,
)
from neuronmap_sql.ingest.ablation.rows import effect_rows, token_rows
from neuronmap_sql.ingest.ablation.settings import Ablation
from neuronmap_sql.ingest.ablation.sources import model_settings
from neuronmap_sql.ingest.ablation.work import Work, prepare_work
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.pipeline import Maker, logged
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.ingest.settings import ModelSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store

__all__ = ["Ablated", "ablate"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ablated:
    """What an ablation did."""

    runs: dict[str, str]
    """Run ids by model."""
    made: tuple[str, ...]
    """Those that were not there before."""
    passes: int
    """Forward passes made, of a batch each."""
    seconds: float
    """Wall time."""


def ablate(
    ablation: Ablation,
    store: Store,
    *,
    loaded: Mapping[str, LoadedModel] | None = None,
    replace: bool = False,
    with_children: bool = False,
    reporter: Reporter | None = None,
) -> Ablated:
    """Replace the activations of neurons, and commit what that changes in the predictions.

    Args:
        ablation: which neurons, with what, on which text.
        store: the warehouse.
        loaded: models by name that are in memory already.
        replace: let the new runs take the place of runs that hold the same names.
        with_children: let other runs go too that were computed from those.
        reporter: shows progress; silent if left out.

    Raises:
        QueryError: the engine refused the SQL.
        UsageError: the SQL returns something else than neurons, or rows of the same names are
            there from another recipe.
        UnknownNameError: no such model, site, layer or neuron.
        ModelError: a model cannot be loaded, or predicts no next token.
        DataError, StoreError: as an ingest.
    """
    began, loaded = time.monotonic(), loaded or {}
    reporter = reporter or Reporter(show=False)
    with connect(store.root) as con:
        chosen = ask(con, ablation.neurons, together=ablation.together)
        given = [ModelSettings(source=name) for name in loaded if name in chosen]
        sources = model_settings(con, chosen, (*given, *ablation.models))
    # So that the recipe that is kept says it, whatever the warehouse says by then.
    ablation = dataclasses.replace(ablation, models=tuple(sources.values()))
    runs, made, passes = {}, [], 0
    for name, targets in chosen.items():
        work = prepare_work(ablation, sources[name], targets, loaded.get(name), reporter)
        done = _make(work, store, reporter, replace=replace, with_children=with_children)
        runs[name] = work.run
        if done is not None:
            made.append(work.run)
            passes += done.passes
        if name not in loaded:
            work.job.loaded.unload()
    return Ablated(runs, tuple(made), passes, time.monotonic() - began)


def _make(
    work: Work, store: Store, reporter: Reporter, *, replace: bool, with_children: bool
) -> Measured | None:
    """Make the run of one model and its parents, unless they are there."""
    began = time.monotonic()
    if store.has(work.run):
        reporter.say(f"{work.run}: already in the warehouse")
        return None
    parents = {kind: work.job.runs[kind] for kind in ("docs", "tokens", "model")}
    new = {run: work.job.keys(kind) for kind, run in parents.items() if not store.has(run)}
    options = {"replace": replace, "with_children": with_children}
    together = store.leaving({**new, work.run: work.keys}, **options)
    with ExitStack() as stack:
        maker = Maker(work.job, store, reporter, stack)
        try:
            for kind, run in parents.items():
                maker.make(kind, run, work.job.runs)
            if not together:
                maker.enter()
            staging = stack.enter_context(store.stage(work.run))
            maker.staged.append((staging, {}, work.keys))
            staging.reset()  # what a killed ablation left is not gone on with
            with logged(store.root / "logs", work.run), disk_errors(store.root):
                _log.info("run %s of recipe:\n%s", work.run, to_toml(work.ablation))
                done, row = _write(work, store, staging, reporter)
                _log.info("complete")
            row |= {"seconds": time.monotonic() - began}
            maker.staged[-1] = staging, row, work.keys
            maker.enter(**options)
        except BaseException:
            for staged, _, _ in maker.staged:
                staged.discard()
            raise
    return done


def _write(
    work: Work, store: Store, staging: Staging, reporter: Reporter
) -> tuple[Measured, dict[str, Any]]:
    """Run the passes, and stage the rows; return also the row of `runs`."""
    ablation, job = work.ablation, work.job
    windows = first_windows(job.tokenization.windows, ablation.limit)
    batch = positions(job, ablation.batch_tokens)
    values, said = _values(work, store, staging, reporter, batch)
    total = int(windows.offsets[-1]) * (1 + len(work.targets))
    title = f"ablate {job.loaded.info.model}"
    with reporter.meter(title, total, "tokens", staging.beat) as meter:
        done = measure(
            job, windows, work.targets, values, ablation.keep_tokens, batch, meter.advance
        )
    staging.write(
        "effects", effect_rows(work.named, ablation.mode, values, work.targets, done.effects)
    )
    tokens = token_rows(work.named, work.targets, done.effects)
    if len(tokens):
        staging.write("token_effects", tokens)
    starts = "at the first replaced layer" if done.replays else "at the first layer"
    said = f"{done.passes} passes of up to {batch} positions, begun {starts}{said}"
    reporter.say(f"{job.loaded.info.model}: {said}, {done.passes / done.seconds:,.1f} a second")
    return done, work.row | {"token_count": done.effects[0].n, "batching": said}


def _values(
    work: Work, store: Store, staging: Staging, reporter: Reporter, batch: int
) -> tuple[dict[Neuron, float], str]:
    """Return what neurons are replaced with, and words on where means are from."""
    ablation, neurons = work.ablation, work.neurons
    if ablation.mode != "mean":
        return dict.fromkeys(neurons, ablation.value or 0.0), ""
    values = _stored_means(work, store)
    said = ", means from neuron_stats"
    if any(neuron not in values for neuron in neurons):
        windows = work.job.tokenization.windows
        said = ", means from a pass of their own, for neuron_stats holds none of this dataset"
        reporter.say(f"{work.job.loaded.info.model}{said}")
        total = int(windows.offsets[-1])
        title = f"means {work.job.loaded.info.model}"
        with reporter.meter(title, total, "tokens", staging.beat) as meter:
            values = mean_values(work.job, windows, neurons, batch, meter.advance)
    for layer, neuron in neurons:
        if not math.isfinite(values[layer, neuron]):
            raise ModelError(f"neuron {layer}/{neuron} has no finite value, and so no mean")
    return {neuron: values[neuron] for neuron in neurons}, said


def _stored_means(work: Work, store: Store) -> dict[Neuron, float]:
    """Return the means in neuron_stats of the same model on the same tokens."""
    with connect(store.root, udfs=False) as con:
        rows = con.execute(
            "SELECT s.layer, s.neuron, s.mean FROM neuron_stats AS s JOIN runs AS r USING (run)"
            " WHERE s.model = $model AND s.dataset = $dataset AND s.site = $site"
            " AND s.mean IS NOT NULL"
            " AND list_contains(r.parents, $model_run) AND list_contains(r.parents, $tokens_run)",
            {
                **{name: work.named[name] for name in ("model", "dataset", "site")},
                "model_run": work.job.runs["model"],
                "tokens_run": work.job.runs["tokens"],
            },
        ).fetchall()
    return {(layer, neuron): mean for layer, neuron, mean in rows}
