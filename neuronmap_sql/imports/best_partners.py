"""The best partners of the rows and of the columns of a matrix, in one pass over its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.imports.matrices import refuse_beyond

__all__ = ["RANKINGS", "Found", "best_partners"]

RANKINGS = ("signed", "absolute")
"""By what partners are ranked: values of `ranked_by`."""

_BLOCK = 1 << 22
"""Values looked at at once."""


@dataclass(frozen=True)
class Found:
    """What was found for the neurons along one axis."""

    partner: dict[str, NDArray[np.int64]]
    """[neurons, k] by ranking: which neuron of the other axis, -1 where there is none."""
    r: dict[str, NDArray[np.float64]]
    """[neurons, k] by ranking: the correlation with it."""
    max_r: NDArray[np.float64]
    """[neurons], the largest correlation; -inf without any."""
    min_r: NDArray[np.float64]
    """[neurons], the smallest correlation; inf without any."""

    @classmethod
    def empty(cls, neurons: int, k: int) -> Found:
        """Begin with nothing."""
        return cls(
            {by: np.full((neurons, k), -1, np.int64) for by in RANKINGS},
            {by: np.full((neurons, k), -np.inf) for by in RANKINGS},
            np.full(neurons, -np.inf),
            np.full(neurons, np.inf),
        )

    def bound(self, block: NDArray[np.float64], part: slice) -> None:
        """Take in correlations [neurons of `part`, some of the other axis]; NaN is none."""
        highest = np.where(np.isnan(block), -np.inf, block).max(axis=1)
        lowest = np.where(np.isnan(block), np.inf, block).min(axis=1)
        np.maximum(self.max_r[part], highest, out=self.max_r[part])
        np.minimum(self.min_r[part], lowest, out=self.min_r[part])

    def take(self, by: str, gathered: Any, part: slice) -> None:
        """Take over the partners that were gathered for some neurons."""
        self.partner[by][part] = gathered.column.numpy()
        self.r[by][part] = gathered.value.numpy()


def best_partners(path: Path, matrix: NDArray[Any], k: int) -> tuple[Found, Found]:
    """Return the k best partners of each row among the columns, and the other way round.

    Args:
        path: the file that the matrix is from, for messages.
        matrix: [rows, columns] correlations, NaN where there is none.
        k: partners at most.

    Raises:
        DataError: a value is beyond 1.
    """
    import torch

    from neuronmap_sql.numerics.partners import Partners

    def begun(neurons: int, others: int, by: str) -> Partners:
        return Partners(neurons, min(k, others), torch.device("cpu"), absolute=by == "absolute")

    rows, columns = matrix.shape
    found = Found.empty(rows, min(k, columns)), Found.empty(columns, min(k, rows))
    across = {by: begun(columns, rows, by) for by in RANKINGS}
    step = max(1, _BLOCK // columns)
    for first in range(0, rows, step):
        block = np.array(matrix[first : first + step], dtype=np.float64)
        refuse_beyond(path, block, first)
        np.clip(block, -1, 1, out=block)
        part, values = slice(first, first + len(block)), torch.from_numpy(block)
        found[0].bound(block, part)
        found[1].bound(block.T, slice(None))
        for by, gathered in across.items():
            along = begun(len(block), columns, by)
            along.update(values, 0)
            found[0].take(by, along, part)
            gathered.update(values.T, first)
    for by, gathered in across.items():
        found[1].take(by, gathered, slice(None))
    return found
