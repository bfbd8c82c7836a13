"""Run a model over its windows, clean and with each target replaced, and measure the effects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.ablation.choice import Neuron, Target
from neuronmap_sql.ingest.ablation.effects import Effects, Summary, Tokens
from neuronmap_sql.ingest.ablation.passes import AblatedModel
from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.extraction.batching import (
    Batch,
    Shard,
    batch_tokens,
    make_batch,
    plan_shards,
)
from neuronmap_sql.ingest.extraction.runner import HalfCountedError, Runner
from neuronmap_sql.ingest.job import Job
from neuronmap_sql.ingest.models.devices import free_memory
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.numerics.predictions import Predictions

__all__ = ["Measured", "first_windows", "mean_values", "measure", "positions"]

_SHARD_TOKENS = 16_384
"""Positions of the documents whose sums are held apart."""

_LOGITS = 6
"""Copies of a batch's logits that are held at once, in float32: clean, replaced, and those of
counted tokens, with probabilities in float64."""


@dataclass(frozen=True)
class Measured:
    """What all passes of one model gave."""

    effects: list[Summary]
    """One a target."""
    passes: int
    """Forward passes, of a batch each."""
    seconds: float
    """Time of passes and measures."""
    replays: bool
    """Whether passes began at the layer of the neurons."""


def first_windows(windows: Windows, docs: int) -> Windows:
    """Return the windows of the first so many documents; 0: of all."""
    if not docs:
        return windows
    end = int(np.searchsorted(windows.doc, docs))
    last = int(windows.offsets[end])
    return Windows(
        windows.input_ids[:last], windows.tok[:last], windows.offsets[: end + 1], windows.doc[:end]
    )


def positions(job: Job, wanted: int) -> int:
    """Return the positions of a batch: what was asked for, or what memory allows."""
    if wanted:
        return wanted
    computing = job.loaded.placement.computing
    size = batch_tokens(job.loaded.info, job.hooks, computing)
    free = min(map(free_memory, computing))
    row = 4 * _LOGITS * (job.loaded.info.vocabulary or 1)
    return max(1, min(size, int(0.5 * free / row)))


def mean_values(
    job: Job,
    windows: Windows,
    neurons: Sequence[Neuron],
    batch: int,
    seen: Callable[[int], None],
) -> dict[Neuron, float]:
    """Return the mean activation of neurons over the counted tokens, from a pass of its own.

    Args:
        job: the model and its hooks, one a layer.
        windows: what it reads.
        neurons: which.
        batch: most positions in a batch.
        seen: told the positions of each batch.

    Raises:
        ModelError: the values do not fit in memory.
    """
    wanted = {hook.layer: [n for layer, n in neurons if layer == hook.layer] for hook in job.hooks}
    sums = {layer: np.zeros(len(mine)) for layer, mine in wanted.items()}
    counts = {layer: np.zeros(len(mine)) for layer, mine in wanted.items()}

    def take(hook: Hook, values: Tensor, _: Batch) -> None:
        mine = values[:, wanted[hook.layer]].double()
        finite = torch.isfinite(mine)
        counts[hook.layer] += finite.sum(0).cpu().numpy()
        sums[hook.layer] += torch.where(finite, mine, 0.0).sum(0).cpu().numpy()

    device = job.loaded.device
    try:
        with Runner(job.loaded.runs(job.hooks), job.hooks, windows, device, batch, take) as runner:
            for shard in plan_shards(windows, _SHARD_TOKENS):
                for done in runner.run(shard):
                    seen(done)
    except HalfCountedError as error:
        raise ModelError("out of memory with the means: set batch_tokens lower") from error
    return {
        (layer, neuron): float(total / count) if count else float("nan")
        for layer, mine in wanted.items()
        for neuron, total, count in zip(mine, sums[layer], counts[layer], strict=True)
    }


def measure(
    job: Job,
    windows: Windows,
    targets: Sequence[Target],
    values: Mapping[Neuron, float],
    keep: int,
    batch: int,
    seen: Callable[[int], None],
) -> Measured:
    """Measure what replacing each target changes in the predictions of the counted tokens.

    A token counts if it is a row of `tokens` and something stands before it in its window. Neurons
    are replaced at every position of the window.

    Args:
        job: the model and its hooks, one a layer.
        windows: what it reads.
        targets: what is replaced, one after another.
        values: what each neuron is replaced with.
        keep: tokens kept a target and sign.
        batch: most positions in a batch.
        seen: told the positions of each pass.
    """
    began, passes = time.monotonic(), 0
    effects = [Effects(keep) for _ in targets]
    with AblatedModel(job.loaded, job.hooks, values) as model:
        for shard in plan_shards(windows, _SHARD_TOKENS):
            for now, length in _batches(windows, shard, batch, job.loaded.device):
                places = _predicted(now)
                if not len(places):
                    seen(length * (1 + len(targets)))
                    continue
                logits = model.clean(now.input_ids, now.attention_mask)
                clean = Predictions(_before(logits, places), now.input_ids.flatten()[places])
                tokens = _tokens(now, clean)
                del logits
                seen(length)
                for target, sums in zip(targets, effects, strict=True):
                    changed = model.ablated(target, now.input_ids, now.attention_mask)
                    sums.add(tokens, clean.changes(_before(changed, places)).cpu().numpy())
                    seen(length)
                passes += 1 + len(targets)
            for sums in effects:
                sums.end_documents()
        found = [sums.result() for sums in effects]
        return Measured(found, passes, time.monotonic() - began, model.replays)


def _batches(
    windows: Windows, shard: Shard, batch: int, device: torch.device
) -> Iterator[tuple[Batch, int]]:
    """Yield the batches of a shard, and their positions without padding."""
    lengths, done = np.diff(windows.offsets), 0
    while done < len(shard.windows):
        numbers = shard.batch(done, lengths, batch)
        yield make_batch(windows, numbers, device), int(lengths[numbers].sum())
        done += len(numbers)


def _predicted(batch: Batch) -> Tensor:
    """Return the places of counted tokens in the flattened batch that have one before them."""
    return batch.rows[batch.rows % batch.input_ids.shape[1] > 0]


def _before(logits: Tensor, places: Tensor) -> Tensor:
    return logits.flatten(0, 1)[places - 1]


def _tokens(batch: Batch, clean: Predictions) -> Tokens:
    there = batch.rows % batch.input_ids.shape[1] > 0
    measured = torch.stack([clean.loss, clean.entropy, clean.rank], dim=1)
    return Tokens(
        batch.tok[there].cpu().numpy(), batch.doc[there].cpu().numpy(), measured.cpu().numpy()
    )
