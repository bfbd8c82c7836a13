"""How one prediction of the next token differs from another: loss, entropy, rank, divergence.

All in float64, some rows at a time: means of small effects are sums of many small differences.
Where the logits are the same bits, every change is exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["MEASURES", "Predictions"]

MEASURES = ("loss", "entropy", "rank", "log_rank", "kl")
"""What `changes` measures, in order: losses, entropies and divergences in nats."""

_CHUNK = 1 << 17
"""Logits of the rows that are looked at together: in float64 1 MB, which stays in the cache."""


class Predictions:
    """Predictions of the next token at some places, and what was there."""

    def __init__(self, logits: Tensor, target: Tensor) -> None:
        """Take them.

        Args:
            logits: [tokens, vocabulary], any float type.
            target: [tokens] ids of the tokens that follow.
        """
        self._target = target
        parts = [_measure(rows, ids) for rows, ids in self._chunks(logits)]
        columns = map(torch.cat, zip(*parts, strict=True))
        self._probability, self._log_z, self._expected, self._true, self.rank = columns

    @property
    def entropy(self) -> Tensor:
        """[tokens] float64: of the distribution of the next token, in nats."""
        return self._log_z - self._expected

    @property
    def loss(self) -> Tensor:
        """[tokens] float64: minus the log probability of what was there, in nats."""
        return self._log_z - self._true

    def changes(self, logits: Tensor) -> Tensor:
        """Measure how other predictions at the same places differ.

        Args:
            logits: [tokens, vocabulary].

        Returns:
            [tokens, 5] float64: the other's loss, entropy, rank (1: the likeliest token) and log
            rank of what was there, each less this one's, and the divergence KL(this || other) of
            Kullback and Leibler, at least 0. Not finite where a logit is not.
        """
        found, first = [], 0
        for other, ids in self._chunks(logits):
            rows = slice(first, first + len(ids))
            found.append(self._changes(rows, other, ids))
            first += len(ids)
        return torch.cat(found)

    def _changes(self, rows: slice, other: Tensor, ids: Tensor) -> Tensor:
        _, log_z, expected, true, rank = _measure(other, ids)
        moved = log_z - self._log_z[rows]
        mine = torch.linalg.vecdot(self._probability[rows], other.double())
        changes = [
            moved - (true - self._true[rows]),
            moved - (expected - self._expected[rows]),
            rank - self.rank[rows],
            torch.log(rank) - torch.log(self.rank[rows]),
            (moved - (mine - self._expected[rows])).clamp_min(0),
        ]
        return torch.stack(changes, dim=1)

    def _chunks(self, logits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        size = max(1, _CHUNK // logits.shape[1])
        yield from zip(logits.split(size), self._target.split(size), strict=True)


def _measure(logits: Tensor, target: Tensor) -> tuple[Tensor, ...]:
    """Return probabilities, log of the normaliser, mean logit, logit and rank of the target."""
    true = logits.gather(1, target[:, None])
    rank = 1.0 + (logits > true).sum(1).double()
    logits = logits.double()
    largest = logits.amax(1, keepdim=True)
    probability = (logits - largest).exp_()
    total = probability.sum(1, keepdim=True)
    log_z = (largest + torch.log(total))[:, 0]
    expected = torch.linalg.vecdot(probability.div_(total), logits)
    return probability, log_z, expected, true[:, 0].double(), rank
