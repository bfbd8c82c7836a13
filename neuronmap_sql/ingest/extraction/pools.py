"""Pooled vectors of documents: mean, last, first and max over a document's counted tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuronmap_sql.ingest.extraction.batching import Batch, Shard

__all__ = ["Pooler"]


class Pooler:
    """Pools of one site and layer for the documents of one shard."""

    def __init__(
        self, width: int, pools: tuple[str, ...], shard: Shard, spans: Tensor, device: torch.device
    ) -> None:
        """Begin a shard.

        Args:
            width: units of the site.
            pools: which of mean, last, first, max.
            shard: the documents.
            spans: [2, docs of the dataset] first and last token of each document.
            device: where the values are.
        """
        self._first_doc = shard.first_doc
        self._spans = spans.to(device)
        fill = {"mean": 0.0, "first": torch.nan, "last": torch.nan, "max": -torch.inf}
        kind = {"mean": torch.float64}
        self._held = {
            pool: torch.full(
                (shard.docs, width), fill[pool], dtype=kind.get(pool, torch.float32), device=device
            )
            for pool in pools
        }
        self._count = torch.zeros(shard.docs, dtype=torch.int64, device=device)

    def update(self, values: Tensor, batch: Batch) -> None:
        """Take in float32 `values` [counted tokens, width] of a batch."""
        doc = batch.doc - self._first_doc
        self._count += torch.bincount(doc, minlength=len(self._count))
        for pool, held in self._held.items():
            if pool == "mean":
                held.index_add_(0, doc, values.double())
            elif pool == "max":
                held.scatter_reduce_(0, doc[:, None].expand_as(values), values, "amax")
            else:
                edge = self._spans[0 if pool == "first" else 1]
                hit = batch.tok == edge[batch.doc]
                held[doc[hit]] = values[hit]

    def result(self) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.float32]]]:
        """Return tokens pooled [docs], and [docs, width] a pool."""
        out = dict(self._held)
        if "mean" in out:
            out["mean"] = out["mean"] / self._count[:, None]
        return self._count.cpu().numpy(), {
            pool: held.float().cpu().numpy() for pool, held in out.items()
        }
