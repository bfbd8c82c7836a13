"""Run a model over its windows in batches that fit in memory, whatever else takes of it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.extraction.batching import Batch, Shard, make_batch
from neuronmap_sql.ingest.extraction.hooks import Extractor, extractor
from neuronmap_sql.ingest.models.forward import Hook

__all__ = ["HalfCountedError", "Runner", "Take"]

Take = Callable[[Hook, Tensor, Batch], None]
"""Takes float32 values [counted tokens, width] of a hook, and their batch on the same device."""

_PATIENCE = 8
"""Half the batches that must go well before they grow again; it doubles each time they do not."""

_log = logging.getLogger(__name__)


class HalfCountedError(RuntimeError):
    """Memory ran out in what takes the values, which may have counted a part of a batch."""


class Runner:
    """A hooked model: batches are halved where memory runs out, and grow when it is back."""

    def __init__(
        self,
        model: nn.Module,
        hooks: Sequence[Hook],
        windows: Windows,
        device: torch.device,
        batch_tokens: int,
        take: Take,
    ) -> None:
        """Make ready; the model is hooked within a `with` block.

        Args:
            model: the backbone, or the full model where a hook is in its head.
            hooks: places to record.
            windows: model inputs.
            device: where the model takes them.
            batch_tokens: most positions in a batch.
            take: called once a batch and hook.
        """
        self._model = model
        self._hooks = list(hooks)
        self._windows = windows
        self._lengths = np.diff(windows.offsets)
        self._device = device
        self._most = self._batch_tokens = batch_tokens
        self._take = take
        self._calm, self._patience = 0, _PATIENCE
        self._batches: dict[torch.device, Batch] = {}
        self._taken: set[Hook] = set()
        self._hooked = ExitStack()

    def __enter__(self) -> Runner:
        watched = extractor(self._model, self._hooks, self._receive)
        self._passes: Extractor = self._hooked.enter_context(watched)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hooked.close()

    def run(self, shard: Shard) -> Iterator[int]:
        """Run a shard, batch by batch; yields the positions of each, padding left out.

        Raises:
            ModelError: a hook failed, or one window alone does not fit in memory.
            HalfCountedError: what has been taken of the shard is not to be used.
        """
        done = 0
        while done < len(shard.windows):
            numbers = shard.batch(done, self._lengths, self._batch_tokens)
            self._batch(numbers, self._hooks)
            self._grow()
            done += len(numbers)
            yield int(self._lengths[numbers].sum())

    def _batch(self, numbers: npt.NDArray[np.int64], hooks: list[Hook]) -> None:
        """Run one batch; where memory runs out, run its halves for the hooks still missing."""
        now = make_batch(self._windows, numbers, self._device)
        self._batches = {self._device: now}
        self._taken = set()
        try:
            self._passes.run(now.input_ids, now.attention_mask, hooks)
            return
        except RuntimeError as error:
            if not _is_out_of_memory(error):
                raise
            self._shrink(len(numbers), now.input_ids.shape[1], error)
            if isinstance(error, HalfCountedError):
                raise
        missing = [hook for hook in hooks if hook not in self._taken]
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        middle = len(numbers) // 2
        for half in (numbers[:middle], numbers[middle:]):
            self._batch(half, missing)

    def _shrink(self, windows: int, length: int, error: RuntimeError) -> None:
        """Halve the batches, until many have gone well."""
        if windows == 1:
            raise ModelError(
                f"out of memory with a single window of {length} tokens: set data.context lower,"
                " hook fewer layers, or use another device"
            ) from error
        self._batch_tokens = max(1, windows // 2 * length)
        self._calm, self._patience = 0, 2 * self._patience
        _log.warning("out of memory: batches are now %d tokens", self._batch_tokens)

    def _grow(self) -> None:
        """Try larger batches again after some that went well: others may have let memory go."""
        self._calm += 1
        if self._batch_tokens < self._most and self._calm >= self._patience:
            self._batch_tokens = min(2 * self._batch_tokens, self._most)
            self._calm = 0

    def _receive(self, hook: Hook, tensor: Tensor) -> None:
        try:
            batch = self._batch_on(tensor.device)
            values = tensor.reshape(-1, hook.width)
            if len(batch.rows) < len(values):
                values = values[batch.rows]
            self._take(hook, values.float(), batch)
        except RuntimeError as error:
            if _is_out_of_memory(error):
                raise HalfCountedError from error
            raise
        self._taken.add(hook)

    def _batch_on(self, device: torch.device) -> Batch:
        """The batch on the device of a layer: a model may be spread over several."""
        if device not in self._batches:
            self._batches[device] = self._batches[self._device].to(device)
        return self._batches[device]


def _is_out_of_memory(error: RuntimeError) -> bool:
    kinds = (torch.OutOfMemoryError, HalfCountedError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
