"""The best partners of each neuron among many, gathered block by block."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Partners", "histogram"]

BINS = 200


class Partners:
    """The k columns with the largest correlations of each row; ties go to the earlier column."""

    def __init__(self, rows: int, k: int, device: torch.device, *, absolute: bool = False) -> None:
        """Begin with none.

        Args:
            rows: neurons.
            k: partners of each.
            device: where.
            absolute: whether the magnitude counts.
        """
        self._absolute = absolute
        self.value = torch.full((rows, k), -torch.inf, dtype=torch.float64, device=device)
        """[rows, k] correlations, best first."""
        self.column = torch.full((rows, k), -1, dtype=torch.int64, device=device)
        """[rows, k] their columns; -1: there are no more."""

    def update(self, values: Tensor, first: int) -> None:
        """Take in the correlations with further columns.

        Args:
            values: [rows, columns] float64; NaN never enters.
            first: number of the first column; blocks come in any order.
        """
        k = self.value.shape[1]
        score = self._score(values)
        bar = score.topk(min(k, score.shape[1]), dim=1).values[:, -1:]
        # All that reach the bar: topk alone leaves it open which of equals it takes.
        row, column = ((score >= bar) & (score > -torch.inf)).nonzero(as_tuple=True)
        old = (self.column >= 0).nonzero(as_tuple=True)
        rows = torch.cat([old[0], row])
        found = torch.cat([self.value[old], values[row, column]])
        columns = torch.cat([self.column[old], column + first])
        order = _by_rank(rows, self._score(found), columns)
        rows, found, columns = rows[order], found[order], columns[order]
        rank = torch.arange(len(rows), device=rows.device) - torch.searchsorted(rows, rows)
        kept = rank < k
        self.value[rows[kept], rank[kept]] = found[kept]
        self.column[rows[kept], rank[kept]] = columns[kept]

    def _score(self, values: Tensor) -> Tensor:
        score = values.abs() if self._absolute else values
        return torch.where(values.isnan(), -torch.inf, score)


def _by_rank(rows: Tensor, score: Tensor, columns: Tensor) -> Tensor:
    """Return the order by row, then falling score, then column."""
    order = columns.argsort(stable=True)
    order = order[score[order].argsort(descending=True, stable=True)]
    return order[rows[order].argsort(stable=True)]


def histogram(correlations: Tensor) -> Tensor:
    """Count correlations in bins of width 0.01 from -1; 1 itself belongs to the last.

    Args:
        correlations: any shape; NaN is left out.

    Returns:
        [200] int64.
    """
    found = correlations[~correlations.isnan()]
    bins = ((found + 1) * (BINS / 2)).floor_().clamp_(0, BINS - 1).long()
    return torch.bincount(bins, minlength=BINS)
