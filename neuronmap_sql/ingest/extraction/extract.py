"""One pass of a model over a dataset: every reduction of every site, resumable between shards."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.data.tokenization import Tokenization
from neuronmap_sql.ingest.extraction.batching import Batch, Shard, make_batch, plan_shards
from neuronmap_sql.ingest.extraction.hooks import Extractor, extractor
from neuronmap_sql.ingest.extraction.pools import Pooler
from neuronmap_sql.ingest.extraction.reducers import Reduced, SiteReducer
from neuronmap_sql.ingest.extraction.rows import Place, vector_rows
from neuronmap_sql.ingest.extraction.saved import SavedState
from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.ingest.extraction.transfer import Transfer
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.progress import Meter
from neuronmap_sql.ingest.settings import KeepSettings
from neuronmap_sql.warehouse.staging import Partition, Staging

__all__ = ["REDUCED", "Extraction", "Work"]

_SPOOLED = frozenset({"activations", "firings", "matrices"})
"""What is made from all values, after the pass."""

REDUCED = frozenset({"stats", "top", "samples"})
"""What the reducers gather, by what `keep.tables` calls it."""

_SAVE_SECONDS = 20.0
"""Least time between two saved states, unless the recipe sets the shards."""

_PATIENCE = 8
"""Half the batches that must go well before they grow again; it doubles each time they do not."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """What a pass needs to know."""

    model: nn.Module
    """The backbone, on its device, in evaluation mode."""
    hooks: list[Hook]
    """Places to record, in forward order."""
    tokenization: Tokenization
    """Tokens and windows."""
    keep: KeepSettings
    """What is wanted."""
    sample_tok: npt.NDArray[np.int64]
    """Sampled tokens, ascending."""
    device: torch.device
    """Where the model takes its inputs."""
    batch_tokens: int
    """Most positions in a batch."""
    shard_tokens: int
    """Least positions in a shard."""
    save_every_shard: bool
    """Save the state after each shard, however short."""
    dataset: str
    """Dataset name."""
    model_name: str
    """Model key."""

    def place(self, hook: Hook) -> Place:
        """The keys of a hook's rows."""
        key = self.tokenization.key
        return Place(self.model_name, self.dataset, key, hook.site, hook.layer)

    def partition(self, hook: Hook) -> Partition:
        """The path of a hook's large tables."""
        return Partition(self.model_name, self.dataset, hook.site, hook.layer)


class _HalfCountedError(RuntimeError):
    """Memory ran out inside a reduction, which may have counted a part of the batch."""


class Extraction:
    """The pass: what it has gathered, where it stands, and how it goes on."""

    def __init__(self, work: Work, staging: Staging, *, reserve: bool = True) -> None:
        """Begin, or go on from the last saved state.

        Args:
            work: what to do.
            staging: the run.
            reserve: take the room for all values on the disk now; a trial needs none.

        Raises:
            StoreError: the disk has no room for all values.
        """
        self.work = work
        self.staging = staging
        self.seconds = 0.0
        self.batch_tokens = work.batch_tokens
        self._calm, self._patience = 0, _PATIENCE
        self.shard_tokens = work.shard_tokens
        self._reduced = work.hooks if REDUCED & set(work.keep.tables) else []
        self._reducers: dict[Hook, SiteReducer] = {}
        self._restored: dict[Hook, dict[str, Tensor]] = {}
        self._saved = SavedState(staging.state("reducers"))
        if not self._saved.path.exists():
            staging.reset()  # what an ingest left before its first saved state may be cut otherwise
        self._restore()
        tokens = len(work.tokenization.table)
        self.spools = {
            hook: Spool(staging.state(f"spool-{number}"), tokens, hook.width, reserve=reserve)
            for number, hook in enumerate(work.hooks)
            if _SPOOLED & set(work.keep.tables)
        }
        self._transfer = Transfer()
        self._poolers: dict[Hook, Pooler] = {}
        self._batches: dict[torch.device, Batch] = {}
        self._spans = _document_spans(work.tokenization.table)

    @property
    def resumed(self) -> int:
        """Tokens in the shards that an earlier ingest has done, padding left out."""
        shards = plan_shards(self.work.tokenization.windows, self.shard_tokens)
        return sum(shard.tokens for shard in shards[: self._next_shard])

    def run(self, meter: Meter) -> None:
        """Go through the shards that are left.

        Raises:
            ModelError: a hook failed, or one window alone does not fit in memory.
        """
        shards = plan_shards(self.work.tokenization.windows, self.shard_tokens)
        meter.advance(self.resumed)
        saved = began = time.monotonic()
        before = self.seconds
        with (
            self._saved,
            self._transfer,
            extractor(self.work.model, self.work.hooks, self._receive) as passes,
        ):
            while self._next_shard < len(shards):
                try:
                    self._shard(passes, self._next_shard, shards[self._next_shard], meter)
                except _HalfCountedError:
                    _log.warning("memory ran out in a reduction: back to the last saved state")
                    self._restore()
                    continue
                self.seconds = before + time.monotonic() - began
                self._next_shard += 1
                if self._next_shard == len(shards):
                    break
                if self.work.save_every_shard:
                    self._save()
                    self._saved.wait()
                elif time.monotonic() - saved > _SAVE_SECONDS and not self._saved.busy:
                    self._save()
                    saved = time.monotonic()

    def results(self) -> Iterator[tuple[Hook, Reduced]]:
        """Yield what the reducers found, hook by hook."""
        for hook in self._reduced:
            yield hook, self._reducer(hook, self.work.device).result()

    def _shard(self, passes: Extractor, number: int, shard: Shard, meter: Meter) -> None:
        windows = self.work.tokenization.windows
        self._poolers, self._pooled = {}, shard
        lengths, done = np.diff(windows.offsets), 0
        while done < len(shard.windows):
            numbers = shard.batch(done, lengths, self.batch_tokens)
            self._batch(passes, numbers, self.work.hooks)
            self._grow()
            done += len(numbers)
            size = int(lengths[numbers].sum())
            meter.advance(size, size * 2 * sum(hook.width for hook in self.work.hooks))
        for hook, pooler in self._poolers.items():
            rows = vector_rows(self.work.place(hook), shard.first_doc, *pooler.result())
            self.staging.write("vectors", rows, self.work.partition(hook), f"{number:06d}")

    def _batch(self, passes: Extractor, numbers: npt.NDArray[np.int64], hooks: list[Hook]) -> None:
        """Run one batch; where memory runs out, run its halves for the hooks still missing."""
        now = make_batch(self.work.tokenization.windows, numbers, self.work.device)
        self._batches = {self.work.device: now}
        self._rows_host = now.tok.cpu().numpy()
        self._taken: set[Hook] = set()
        try:
            passes.run(now.input_ids, now.attention_mask, hooks)
            return
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            self._shrink(len(numbers), now.input_ids.shape[1], error)
            if isinstance(error, _HalfCountedError):
                raise
        missing = [hook for hook in hooks if hook not in self._taken]
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(numbers) // 2
        for half in (numbers[:middle], numbers[middle:]):
            self._batch(passes, half, missing)

    def _shrink(self, windows: int, length: int, error: RuntimeError) -> None:
        """Halve the batches, until many have gone well."""
        if windows == 1:
            raise ModelError(
                f"out of memory with a single window of {length} tokens: set data.context lower,"
                " hook fewer layers, or use another device"
            ) from error
        self.batch_tokens = max(1, windows // 2 * length)
        self._calm, self._patience = 0, 2 * self._patience
        _log.warning("out of memory: batches are now %d tokens", self.batch_tokens)

    def _grow(self) -> None:
        """Try larger batches again after some that went well: others may have let memory go."""
        self._calm += 1
        if self.batch_tokens < self.work.batch_tokens and self._calm >= self._patience:
            self.batch_tokens = min(2 * self.batch_tokens, self.work.batch_tokens)
            self._calm = 0

    def _receive(self, hook: Hook, tensor: Tensor) -> None:
        try:
            self._reduce(hook, tensor)
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise _HalfCountedError from error
            raise
        self._taken.add(hook)

    def _reduce(self, hook: Hook, tensor: Tensor) -> None:
        batch = self._batch_on(tensor.device)
        values = tensor.reshape(-1, hook.width)
        if len(batch.rows) < len(values):
            values = values[batch.rows]
        values = values.float()
        if hook in self._reduced:
            self._reducer(hook, tensor.device).update(values, batch.tok)
        if "vectors" in self.work.keep.tables:
            self._pooler(hook, tensor.device).update(values, batch)
        if hook in self.spools:
            self._transfer.write(self.spools[hook], values, self._rows_host)

    def _batch_on(self, device: torch.device) -> Batch:
        """The batch on the device of a layer: a model may be spread over several."""
        if device not in self._batches:
            self._batches[device] = self._batches[self.work.device].to(device)
        return self._batches[device]

    def _reducer(self, hook: Hook, device: torch.device) -> SiteReducer:
        """The reducer of a hook, with its saved state; it stays on the device of its layer."""
        if hook not in self._reducers:
            work = self.work
            sample_tok = torch.from_numpy(work.sample_tok)
            reducer = SiteReducer(hook.width, work.keep, sample_tok, device)
            if hook in self._restored:
                reducer.restore(self._restored.pop(hook))
            self._reducers[hook] = reducer
        return self._reducers[hook]

    def _pooler(self, hook: Hook, device: torch.device) -> Pooler:
        if hook not in self._poolers:
            pools = self.work.keep.pool
            self._poolers[hook] = Pooler(hook.width, pools, self._pooled, self._spans, device)
        return self._poolers[hook]

    def _save(self) -> None:
        """Begin to put the state on the disk."""
        self._transfer.wait()
        tensors = {
            f"{number}.{name}": tensor
            for number, hook in enumerate(self._reduced)
            for name, tensor in self._reducers[hook].state().items()
        }
        where = {
            "next_shard": self._next_shard,
            "shard_tokens": self.shard_tokens,
            "seconds": self.seconds,
        }
        self._saved.save(tensors, where, list(self.spools.values()))

    def _restore(self) -> None:
        """Go back to the last saved state, or to the beginning."""
        self._reducers, self._restored = {}, {}
        self._next_shard = 0
        if (saved := self._saved.load()) is None:
            return
        where, tensors = saved
        for number, hook in enumerate(self._reduced):
            names = [name for name in tensors if name.startswith(f"{number}.")]
            self._restored[hook] = {name.partition(".")[2]: tensors[name] for name in names}
        # The shards are those of the interrupted ingest, whatever the recipe says now.
        self.shard_tokens, self._next_shard = where["shard_tokens"], where["next_shard"]
        self.seconds = where["seconds"]
        _log.info("resumed at shard %d", self._next_shard)


def _document_spans(tokens: pa.Table) -> Tensor:
    """[2, documents] first and last token of each document; -1 where it has none."""
    doc = tokens["doc"].to_numpy()
    spans = np.full((2, int(doc.max(initial=-1)) + 1), -1, dtype=np.int64)
    tok = np.arange(len(doc))
    spans[1, doc] = tok
    spans[0, doc[::-1]] = tok[::-1]
    return torch.from_numpy(spans)


def _is_out_of_memory(error: RuntimeError) -> bool:
    kinds = (torch.OutOfMemoryError, _HalfCountedError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
