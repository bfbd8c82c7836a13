"""One comparison: from a recipe to a committed run.

    documents ──> run docs ──> runs tokens ─┐
    models ─────> runs model ───────────────┴─> run comparison

Each model reads the text once. Where the sums of products do not fit in memory at once, the values
wait on the disk, and are swept over as often as is needed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch

from neuronmap_sql.ingest.comparison.passes import Pass
from neuronmap_sql.ingest.comparison.rows import Named, tables
from neuronmap_sql.ingest.comparison.settings import Comparison
from neuronmap_sql.ingest.comparison.work import SHARED, Work, ready
from neuronmap_sql.ingest.job import Job
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.pipeline import Ingested, Maker, logged
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.numerics.products import tokens_in_float32
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.provenance import made_with
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store

__all__ = ["compare"]


_log = logging.getLogger(__name__)


def compare(
    comparison: Comparison,
    store: Store,
    *,
    loaded: Sequence[LoadedModel] = (),
    replace: bool = False,
    with_children: bool = False,
    reporter: Reporter | None = None,
) -> Ingested:
    """Compare the neurons of some models, and commit what the warehouse lacks.

    Args:
        comparison: what to compare.
        store: the warehouse.
        loaded: the models, in the recipe's order, if they are in memory already.
        replace: let the new runs take the place of runs that hold the same names.
        with_children: let other runs go too that were computed from those.
        reporter: shows progress; silent if left out.

    Raises:
        UsageError: the warehouse holds rows of the same names from another recipe; or the sums do
            not fit into the memory that the recipe grants.
        RecipeError, DataError, ModelError, StoreError: as an ingest.
    """
    began = time.monotonic()
    reporter = reporter or Reporter(show=False)
    work = ready(comparison, reporter, loaded)
    runs, keys = work.runs, work.keys
    new = {run: found for run, found in keys.items() if not store.has(run)}
    made: list[str] = []
    with ExitStack() as stack:
        together = store.leaving(new, replace=replace, with_children=with_children)
        maker = Maker(work.jobs[0], store, reporter, stack)
        for job in work.jobs:
            maker.job = job
            for kind in SHARED:
                if job.runs[kind] not in made and maker.make(kind, job.runs[kind], job.runs):
                    made.append(job.runs[kind])
            if not together:
                maker.enter()
        run = runs["comparison"]
        if store.has(run):
            reporter.say(f"{run}: already in the warehouse")
        else:
            staging = stack.enter_context(store.stage(run))
            with logged(store.root / "logs", run), disk_errors(store.root):
                _log.info("run %s of recipe:\n%s", run, to_toml(comparison))
                row = _write(work, staging, reporter)
                _log.info("complete")
            row |= {"seconds": time.monotonic() - began}
            maker.staged.append((staging, row, keys[run]))
            made.append(run)
        maker.enter(replace=replace, with_children=with_children)
    return Ingested(runs, tuple(made), len(work.units), time.monotonic() - began)


def _write(work: Work, staging: Staging, reporter: Reporter) -> dict[str, Any]:
    """Run the models, sum, and stage every table; return the row of `runs`."""
    comparison, jobs = work.comparison, work.jobs
    device = _device(jobs)
    run = tokens_in_float32(len(work.units), device, comparison.work.precision)
    findings, spread = Pass(work, staging, reporter, device, run).findings()
    if not work.given and not work.spooled:
        for job in jobs:
            job.loaded.unload()
    named = Named(
        [job.loaded.info.model for job in jobs],
        comparison.data.name,
        [[hook.site for hook in job.hooks] for job in jobs],
        work.layers,
        [len(job.tokenization.table) for job in jobs],
        work.pairs,
    )
    for table, rows, part in tables(findings, named, work.units, spread, comparison.seed):
        staging.write(table, rows, shard=part)
    return {
        "kind": "comparison",
        "title": comparison.title or None,
        "dataset": comparison.data.name,
        "data_hash": jobs[0].documents.hash,
        "parents": list(dict.fromkeys(job.runs[kind] for job in jobs for kind in SHARED[1:])),
        "recipe": to_toml(comparison),
        **made_with(),
        "token_count": len(work.units),
        "device": str(device),
        "dtype": ", ".join(dict.fromkeys(str(job.loaded.dtype)[6:] for job in jobs)),
        "batching": f"{len(work.cuts) - 1} chunks, {len(work.sweeps)} sweeps, products in"
        f" {f'float32 over {run} tokens, then float64' if run else 'float64'}",
    }


def _device(jobs: list[Job]) -> torch.device:
    return next(
        (job.loaded.device for job in jobs if job.loaded.device.type == "cuda"),
        jobs[0].loaded.device,
    )
