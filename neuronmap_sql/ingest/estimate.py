"""What an ingest will take: tokens, bytes, time and memory, from a few timed batches."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.extraction.extract import Extraction, Work
from neuronmap_sql.ingest.extraction.weight_rows import mlp_places, seconds_a_neuron
from neuronmap_sql.ingest.job import Job, prepare, work_of
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.settings import Recipe
from neuronmap_sql.numerics.bins import BINS
from neuronmap_sql.warehouse.store import Store

__all__ = ["Estimate", "estimate"]

# Bytes on the disk, measured on the demo models and text.
_STATS_BYTES = 700
"""Of one neuron in `neuron_stats`, mostly its histogram."""
_RANKED_BYTES = 9
"""Of one row of `top_activations` or `activation_samples`."""
_FIRING_BYTES = 4
"""Of one row of `firings`."""
_WEIGHTS_BYTES = 100
"""Of one neuron in `neuron_weights`, besides its output weights."""
_TOKEN_BYTES = 11
"""Of one row of `tokens`."""
_TEXT_SHARE = 0.45
"""Of the bytes of the texts, compressed."""
_TURNED_BYTES = 400e6
"""Bytes of all values that become blocks in a second (docs/benchmarks.md, Layout)."""


@dataclass(frozen=True)
class Estimate:
    """What to expect of an ingest."""

    model: str
    """Model."""
    dataset: str
    """Dataset."""
    documents: int
    """Documents."""
    tokens: int
    """Counted tokens."""
    positions: int
    """Positions that the model sees, special tokens and overlaps included."""
    neurons: int
    """Units of all hooks."""
    hooks: int
    """Hooked places."""
    seconds: float
    """Time of the pass, of the weights, and of writing all values."""
    disk_bytes: int
    """Bytes that the runs will take."""
    staging_bytes: int
    """Bytes that the unfinished run takes besides."""
    memory_bytes: int
    """Memory of the process."""

    def text(self) -> str:
        """Say it in lines."""
        mega = 1e6
        return "\n".join(
            [
                f"model      {self.model}",
                f"dataset    {self.dataset}: {self.documents:,} documents",
                f"tokens     {self.tokens:,} counted, {self.positions:,} shown to the model",
                f"recorded   {self.neurons:,} neurons at {self.hooks} places",
                f"time       about {self.seconds:,.1f} s",
                f"disk       about {self.disk_bytes / mega:,.1f} MB"
                f" ({self.staging_bytes / mega:,.1f} MB more until it is committed)",
                f"memory     about {self.memory_bytes / mega:,.1f} MB",
            ]
        )


def estimate(recipe: Recipe, reporter: Reporter) -> Estimate:
    """Load, tokenize and time a few batches; no warehouse is touched.

    Raises:
        RecipeError, DataError, ModelError: as an ingest would.
    """
    job = prepare(recipe, reporter)
    positions = int(job.tokenization.windows.offsets[-1])
    tokens = len(job.tokenization.table)
    neurons = sum(hook.width for hook in job.hooks)
    spooled = tokens * neurons * 2 if _spooled(recipe) else 0
    seconds, memory = _timed(job, reporter) if job.hooks else (0.0, _memory())
    return Estimate(
        model=job.loaded.info.model,
        dataset=recipe.data.name,
        documents=len(job.documents.table),
        tokens=tokens,
        positions=positions,
        neurons=neurons,
        hooks=len(job.hooks),
        seconds=seconds * positions + _weights_seconds(job) + spooled / _TURNED_BYTES,
        disk_bytes=_shared(job) + _disk(recipe, tokens, neurons, len(job.documents.table)),
        staging_bytes=spooled,
        memory_bytes=memory,
    )


def _weights_seconds(job: Job) -> float:
    if "weights" not in job.recipe.keep.tables:
        return 0.0
    neurons = len(mlp_places(job.loaded)) * (job.loaded.info.d_mlp or 0)
    return neurons * seconds_a_neuron(job.loaded, job.recipe.weights) if neurons else 0.0


def _spooled(recipe: Recipe) -> bool:
    return bool({"activations", "firings", "int8", "matrices"} & set(recipe.keep.tables))


def _shared(job: Job) -> int:
    """Bytes of what further ingests of the same model or text find there: docs, tokens, weights."""
    texts = sum(len(text.encode()) for text in job.documents.table["text"].to_pylist())
    info, weights = job.loaded.info, 0
    if "weights" in job.recipe.keep.tables:
        places = len(mlp_places(job.loaded)) * (info.d_mlp or 0)
        weights = places * (4 * (info.d_model or 0) + _WEIGHTS_BYTES)
    return int(texts * _TEXT_SHARE) + len(job.tokenization.table) * _TOKEN_BYTES + weights


def _disk(recipe: Recipe, tokens: int, neurons: int, documents: int) -> int:
    keep = recipe.keep
    ranked = 2 * keep.top_k * neurons * _RANKED_BYTES
    samples = keep.sample_bins * keep.samples_per_bin * neurons * _RANKED_BYTES
    sizes = {
        "stats": neurons * _STATS_BYTES,
        "top": ranked,
        "samples": samples,
        "activations": tokens * neurons * 2,
        "int8": tokens * neurons,
        "matrices": tokens * neurons * 2,
        "firings": int(tokens * neurons * keep.firings_fraction * _FIRING_BYTES),
        "vectors": documents * neurons * 4 * len(keep.pool),
    }
    return sum(sizes.get(kind, 0) for kind in keep.tables)


def _timed(job: Job, reporter: Reporter) -> tuple[float, int]:
    """Run a few batches into a warehouse that is thrown away: seconds a position, and memory."""
    work = work_of(job)
    few = replace(work, tokenization=replace(work.tokenization, windows=_first(work)))
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "warehouse")
        seconds = []
        # The first pass warms up.
        for name in ("warm", "timed"):
            with (
                store.stage(name) as staging,
                reporter.meter("trial", int(few.tokenization.windows.offsets[-1]), "tokens") as bar,
            ):
                extraction = Extraction(few, staging, reserve=False)
                extraction.run(bar)
                seconds.append(extraction.seconds)
    per_position = seconds[-1] / float(few.tokenization.windows.offsets[-1])
    reducers = sum(hook.width for hook in job.hooks) * 4 * (BINS + len(work.sample_tok))
    return per_position, _memory() + reducers


def _first(work: Work) -> Windows:
    """The first windows, of two batches at least."""
    windows = work.tokenization.windows
    count = int(np.searchsorted(windows.offsets, 2 * work.batch_tokens))
    count = min(max(count, 1), len(windows))
    end = windows.offsets[count]
    return Windows(
        windows.input_ids[:end],
        windows.tok[:end],
        windows.offsets[: count + 1],
        windows.doc[:count],
    )


def _memory() -> int:
    return int(psutil.Process().memory_info().rss)
