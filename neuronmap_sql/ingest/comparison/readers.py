"""Values of one model, some documents at a time: from forward passes, or from the disk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.comparison.units import Ints
from neuronmap_sql.ingest.extraction.batching import Batch, shard_of
from neuronmap_sql.ingest.extraction.runner import HalfCountedError, Runner
from neuronmap_sql.ingest.extraction.spool import Spool
from neuronmap_sql.ingest.job import Job
from neuronmap_sql.ingest.models.forward import Hook

__all__ = ["LiveReader", "Reader", "SpooledReader", "pooled", "spool_values"]


class Reader(Protocol):
    """Gives the values of one model."""

    hooks: list[Hook]
    """Places, in forward order."""

    def tokens(self, first_doc: int, end_doc: int) -> slice:
        """Return the documents' tokens."""

    def values(self, first_doc: int, end_doc: int) -> list[Tensor]:
        """Return float32 values [tokens, width] of the documents' counted tokens, hook by hook."""


class LiveReader:
    """Runs the model; within a `with` block it is hooked."""

    def __init__(self, job: Job, batch_tokens: int, seen: Callable[[int], None]) -> None:
        """Make ready.

        Args:
            job: model, tokens and hooks.
            batch_tokens: most positions in a batch.
            seen: told the positions of each batch.
        """
        loaded, windows = job.loaded, job.tokenization.windows
        self.hooks = job.hooks
        self._windows = windows
        self._doc = job.tokenization.table["doc"].to_numpy()
        self._seen = seen
        self._held: dict[Hook, Tensor] = {}
        self._first, self._tokens = 0, 0
        self._runner = Runner(
            loaded.runs(job.hooks), job.hooks, windows, loaded.device, batch_tokens, self._take
        )
        self._open = ExitStack()

    def __enter__(self) -> LiveReader:
        self._open.enter_context(self._runner)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def values(self, first_doc: int, end_doc: int) -> list[Tensor]:
        """See `Reader`.

        Raises:
            ModelError: the values do not fit in memory.
        """
        rows = self.tokens(first_doc, end_doc)
        self._first, self._tokens, self._held = rows.start, rows.stop - rows.start, {}
        try:
            for positions in self._runner.run(shard_of(self._windows, first_doc, end_doc)):
                self._seen(positions)
        except HalfCountedError as error:
            raise ModelError(
                "out of memory with the values of some documents: set work.memory lower"
            ) from error
        held, self._held = self._held, {}
        return [held[hook] if hook in held else torch.empty(0, hook.width) for hook in self.hooks]

    def tokens(self, first_doc: int, end_doc: int) -> slice:
        """See `Reader`."""
        return _tokens(self._doc, first_doc, end_doc)

    def _take(self, hook: Hook, values: Tensor, batch: Batch) -> None:
        if hook not in self._held:
            self._held[hook] = torch.empty(self._tokens, hook.width, device=values.device)
        self._held[hook][batch.tok - self._first] = values


class SpooledReader:
    """Reads what `spool_values` wrote."""

    def __init__(self, hooks: list[Hook], doc: Ints, files: list[Path], device: torch.device):
        """Open the files.

        Args:
            hooks: places.
            doc: [tokens] document of each token.
            files: one a hook.
            device: where values are wanted.
        """
        self.hooks = hooks
        self._doc = doc
        self._device = device
        self._spools = [
            Spool(path, len(doc), hook.width, dtype=np.dtype(np.float32))
            for path, hook in zip(files, hooks, strict=True)
        ]

    def tokens(self, first_doc: int, end_doc: int) -> slice:
        """See `Reader`."""
        return _tokens(self._doc, first_doc, end_doc)

    def values(self, first_doc: int, end_doc: int) -> list[Tensor]:
        """See `Reader`."""
        rows = self.tokens(first_doc, end_doc)
        return [
            torch.from_numpy(np.array(spool.values[rows])).to(self._device)
            for spool in self._spools
        ]


def spool_values(reader: LiveReader, cuts: Ints, doc: Ints, files: list[Path]) -> None:
    """Write all values of a model as float32 [tokens, width], one file a hook.

    Args:
        reader: the model, hooked.
        cuts: [parts + 1] documents at which the work is cut.
        doc: [tokens] document of each token.
        files: one a hook.

    Raises:
        StoreError: the disk has no room for them.
    """
    spools = [
        Spool(path, len(doc), hook.width, dtype=np.dtype(np.float32))
        for path, hook in zip(files, reader.hooks, strict=True)
    ]
    for first_doc, end_doc in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        rows = reader.tokens(first_doc, end_doc)
        for spool, values in zip(spools, reader.values(first_doc, end_doc), strict=True):
            spool.values[rows] = values.cpu().numpy()
    for spool in spools:
        spool.flush()


def _tokens(doc: Ints, first_doc: int, end_doc: int) -> slice:
    first, end = np.searchsorted(doc, [first_doc, end_doc]).tolist()
    return slice(first, end)


def pooled(values: Tensor, unit: Ints, first: int, units: int) -> Tensor:
    """Average values over the tokens of each unit.

    Args:
        values: [tokens, width].
        unit: [tokens] their units; -1: left out.
        first: first of the units.
        units: how many.

    Returns:
        [units, width] float32; `values` itself where units are tokens.
    """
    if units == len(unit) and np.array_equal(unit, np.arange(first, first + units)):
        return values
    inside = np.flatnonzero(unit >= 0)
    at = torch.from_numpy(unit[inside] - first).to(values.device)
    total = torch.zeros(units, values.shape[1], device=values.device)
    total.index_add_(0, at, values[torch.from_numpy(inside).to(values.device)])
    return total / torch.bincount(at, minlength=units)[:, None]
