"""The run of a pass: reductions and values, staged as tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from neuronmap_sql.ingest.extraction.extract import Extraction, Work
from neuronmap_sql.ingest.extraction.large_rows import (
    block_rows,
    firing_rows,
    int8_rows,
    token_rows,
)
from neuronmap_sql.ingest.extraction.rows import (
    layer_stats,
    neuron_stats,
    sample_rows,
    site_rows,
    top_rows,
)
from neuronmap_sql.ingest.extraction.tolerance import measure_tolerance
from neuronmap_sql.ingest.job import Job, work_of
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.parquet import conform
from neuronmap_sql.warehouse.staging import Staging

__all__ = ["write_activations"]

_WRITERS = 2
"""Files written at once: one more than the disk keeps busy, each with some stripes in memory."""


def write_activations(job: Job, staging: Staging, reporter: Reporter) -> dict[str, Any]:
    """Run the pass, or the rest of it, and stage every table that the recipe keeps.

    Returns:
        The columns of `runs` that the pass determines.
    """
    work, before = work_of(job), time.monotonic()
    tolerance = measure_tolerance(
        work.model, work.hooks, work.tokenization.windows, work.device, job.recipe.seed
    )
    extraction = Extraction(work, staging)
    resumed = extraction.seconds
    windows = work.tokenization.windows
    if done := extraction.resumed:
        reporter.say(
            f"{staging.run}: goes on after {done:,} of {int(windows.offsets[-1]):,} tokens"
        )
    title = f"activations {work.model_name}"
    with reporter.meter(title, int(windows.offsets[-1]), "tokens", staging.beat) as meter:
        extraction.run(meter)
    nonfinite = _write_reduced(job, staging, work, extraction)
    quantization_error = _write_spooled(staging, work, extraction, reporter)
    staging.write("sites", site_rows(work.model_name, work.hooks))
    counted = len(work.tokenization.table)
    loaded = job.loaded
    return {
        "token_count": counted,
        "tokens_per_second": counted / max(extraction.seconds, 1e-9),
        "seconds": resumed + time.monotonic() - before,
        "device": loaded.placement.text,
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "attention": loaded.attention,
        "batching": f"up to {work.batch_tokens} positions a batch, padded on the right,"
        f" windows sorted by length within shards of {extraction.shard_tokens} positions",
        "tolerance": tolerance if np.isfinite(tolerance) else None,
        "nonfinite": nonfinite,
        "quantization_error": quantization_error,
    }


def _write_reduced(job: Job, staging: Staging, work: Work, extraction: Extraction) -> int:
    """Write the tables made by the reducers; return the non-finite values met."""
    keep, tokens = work.keep, work.tokenization.table
    found: dict[str, list[pa.Table]] = {}
    nonfinite = 0
    for hook, reduced in extraction.results():
        place = work.place(hook)
        nonfinite += int(reduced.nonfinite.sum())
        if "stats" in keep.tables:
            found.setdefault("neuron_stats", []).append(neuron_stats(place, reduced))
            found.setdefault("layer_stats", []).append(layer_stats(place, reduced))
        if "top" in keep.tables:
            found.setdefault("top_activations", []).append(top_rows(place, reduced, tokens))
        if "samples" in keep.tables:
            rows = sample_rows(place, reduced, work.sample_tok, tokens, keep, job.recipe.seed)
            found.setdefault("activation_samples", []).append(rows)
    for table, parts in found.items():
        staging.write(table, pa.concat_tables(parts))
    return nonfinite


def _write_spooled(
    staging: Staging, work: Work, extraction: Extraction, reporter: Reporter
) -> float | None:
    """Turn the spool into the large tables, some hooks side by side.

    Turning, encoding and writing give up Python's lock, and while one thread waits for the disk
    another turns.

    Returns:
        The largest error of a neuron in `activations_int8`, if that is kept.
    """
    spools = extraction.spools
    if not spools:
        return None
    total = sum(spool.values.nbytes for spool in spools.values())
    errors: list[float] = []

    def write(hook: Hook) -> int:
        values, place = spools[hook].values, work.place(hook)
        makers = {
            "activations": ("activations", block_rows(place, values)),
            "int8": ("activations_int8", _noting(errors, int8_rows(place, values))),
            "firings": ("firings", firing_rows(place, values, work.keep)),
            "matrices": ("token_matrices", token_rows(place, values)),
        }
        for kind, (table, groups) in makers.items():
            if kind in work.keep.tables:
                _write_groups(staging, work, hook, table, groups)
        return values.nbytes

    with (
        reporter.meter("write values", total, "bytes", staging.beat) as meter,
        ThreadPoolExecutor(_WRITERS, "neuronmap-write") as pool,
    ):
        try:
            for written in pool.map(write, spools):
                meter.advance(written)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return max(errors, default=None)


def _noting(errors: list[float], groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Pass rows on, and note the largest error of each group."""
    for rows in groups:
        errors.append(pc.max(rows["rms_error"]).as_py())
        yield rows


def _write_groups(
    staging: Staging, work: Work, hook: Hook, table: str, groups: Iterator[pa.Table]
) -> None:
    with staging.writer(table, work.partition(hook)) as writer:
        for rows in groups:
            whole = conform(table, rows, staging.run)
            writer.write_table(whole, row_group_size=max(1, len(whole)))
