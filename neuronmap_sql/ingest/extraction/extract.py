"""One pass of a model over a dataset: every reduction of every site, resumable between shards."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from neuronmap_sql.ingest.data.tokenization import Tokenization
from neuronmap_sql.ingest.extraction.batching import Batch, Shard, plan_shards
from neuronmap_sql.ingest.extraction.pools import Pooler
from neuronmap_sql.ingest.extraction.reducers import Reduced, SiteReducer
from neuronmap_sql.ingest.extraction.rows import Place, vector_rows
from neuronmap_sql.ingest.extraction.runner import HalfCountedError, Runner
from neuronmap_sql.ingest.extraction.saved import SavedState
from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.ingest.extraction.transfer import Transfer
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.progress import Meter
from neuronmap_sql.ingest.settings import KeepSettings
from neuronmap_sql.warehouse.staging import Partition, Staging

__all__ = ["REDUCED", "Extraction", "Work"]

_SPOOLED = frozenset({"activations", "firings", "int8", "matrices"})
"""What is made from all values, after the pass."""

REDUCED = frozenset({"stats", "top", "samples"})
"""What the reducers gather, by what `keep.tables` calls it."""

_SAVE_SECONDS = 20.0
"""Least time between two saved states, unless the recipe sets the shards."""

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
            self._runner() as runner,
        ):
            while self._next_shard < len(shards):
                try:
                    self._shard(runner, self._next_shard, shards[self._next_shard], meter)
                except HalfCountedError:
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

    def _runner(self) -> Runner:
        work = self.work
        windows = work.tokenization.windows
        return Runner(work.model, work.hooks, windows, work.device, work.batch_tokens, self._reduce)

    def _shard(self, runner: Runner, number: int, shard: Shard, meter: Meter) -> None:
        self._poolers, self._pooled = {}, shard
        for size in runner.run(shard):
            meter.advance(size, size * 2 * sum(hook.width for hook in self.work.hooks))
        for hook, pooler in self._poolers.items():
            rows = vector_rows(self.work.place(hook), shard.first_doc, *pooler.result())
            self.staging.write("vectors", rows, self.work.partition(hook), f"{number:06d}")

    def _reduce(self, hook: Hook, values: Tensor, batch: Batch) -> None:
        if hook in self._reduced:
            self._reducer(hook, values.device).update(values, batch.tok)
        if "vectors" in self.work.keep.tables:
            self._pooler(hook, values.device).update(values, batch)
        if hook in self.spools:
            self._transfer.write(self.spools[hook], values, batch.host_tok)

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
