"""Cut windows into shards of whole documents, and shards into batches of like length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.models.devices import free_memory
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.models.loaded import ModelInfo

__all__ = ["Batch", "Shard", "batch_tokens", "make_batch", "plan_shards", "shard_of"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shard:
    """Consecutive whole documents: what is done, or not done, when an ingest is resumed."""

    windows: Indices
    """Window numbers, longest first, so that the first batch needs the most memory."""
    first_doc: int
    """First document."""
    docs: int
    """Documents."""
    tokens: int
    """Positions that the model sees."""

    def batch(self, first: int, lengths: Indices, tokens: int) -> Indices:
        """Return the windows of the batch that begins at the shard's window `first`.

        Args:
            first: how many of the shard's windows are done.
            lengths: positions of each window of the dataset.
            tokens: most positions of the batch, padding included; one window may have more.
        """
        return self.windows[first : first + max(1, tokens // int(lengths[self.windows[first]]))]


@dataclass(frozen=True)
class Batch:
    """One model input, padded on the right."""

    input_ids: Tensor
    """Token ids [batch, position]."""
    attention_mask: Tensor
    """1 for tokens, 0 for padding [batch, position]."""
    rows: Tensor
    """[counted] places of the counted tokens in the flattened batch, ascending."""
    tok: Tensor
    """[counted] their rows in `tokens`."""
    doc: Tensor
    """[counted] their documents."""
    host_tok: Indices
    """[counted] `tok` on the host."""

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: held.to(device) for name, held in vars(self).items() if isinstance(held, Tensor)
        }
        return replace(self, **moved)


def plan_shards(windows: Windows, shard_tokens: int) -> list[Shard]:
    """Cut after the first document that fills `shard_tokens` positions, again and again."""
    starts = np.flatnonzero(np.diff(windows.doc, prepend=-1))
    shards, first = [], 0
    for at, end in zip(starts, [*starts[1:], len(windows.doc)], strict=True):
        size = int(windows.offsets[end] - windows.offsets[first])
        if size >= shard_tokens or end == len(windows.doc):
            first_doc, last_doc = int(windows.doc[first]), int(windows.doc[at])
            shards.append(shard_of(windows, first_doc, last_doc + 1))
            first = end
    return shards


def shard_of(windows: Windows, first_doc: int, end_doc: int) -> Shard:
    """Return the shard of some consecutive documents."""
    first, end = np.searchsorted(windows.doc, [first_doc, end_doc])
    lengths = np.diff(windows.offsets[first : end + 1])
    order = np.argsort(-lengths, kind="stable")
    return Shard(first + order, first_doc, end_doc - first_doc, int(lengths.sum()))


def make_batch(windows: Windows, numbers: Indices, device: torch.device) -> Batch:
    """Gather windows into one padded batch on the device."""
    starts, ends = windows.offsets[numbers], windows.offsets[numbers + 1]
    lengths = ends - starts
    steps = np.arange(int(lengths.max()))
    inside = steps[None, :] < lengths[:, None]
    at = np.where(inside, starts[:, None] + steps[None, :], 0)
    tok = np.where(inside, windows.tok[at], -1).reshape(-1)
    rows = np.flatnonzero(tok >= 0)
    doc = np.repeat(windows.doc[numbers], len(steps))

    def on_device(values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

    return Batch(
        # Padding repeats a real id: any id of the vocabulary will do behind the mask.
        input_ids=on_device(windows.input_ids[at]),
        attention_mask=on_device(inside),
        rows=on_device(rows),
        tok=on_device(tok[rows]),
        doc=on_device(doc[rows]),
        host_tok=tok[rows],
    )


def batch_tokens(info: ModelInfo, hooks: list[Hook], devices: Sequence[torch.device]) -> int:
    """Choose the positions of a batch from the memory that is free now on the fullest device.

    A position takes about 24 residual-stream and 8 MLP vectors of a layer in the forward pass,
    and the reducers' copies of one hook. On a CPU more than 2,048 positions are slower, for they
    leave the cache; on a GPU 65,536 fill it.
    """
    widest = max((hook.width for hook in hooks), default=0)
    floats = 24 * (info.d_model or widest) + 8 * (info.d_mlp or widest) + 16 * widest
    most = 65_536 if devices[0].type == "cuda" else 2_048
    free = min(map(free_memory, devices))
    return int(min(most, max(256, 0.5 * free / (4 * max(floats, 1)))))
