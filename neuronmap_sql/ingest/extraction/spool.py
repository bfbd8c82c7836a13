"""Values on their way to the disk: one token-major float16 file a site and layer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

__all__ = ["Spool"]


class Spool:
    """A memory-mapped matrix [tokens, width] in float16, kept with an unfinished run.

    Rows are assigned, never added to, so that a resumed ingest may write some of them again.
    """

    def __init__(self, path: Path, tokens: int, width: int) -> None:
        size = tokens * width * 2
        mode: Literal["r+", "w+"] = "r+" if path.exists() and path.stat().st_size == size else "w+"
        self.values: npt.NDArray[np.float16] = np.memmap(
            path, dtype=np.float16, mode=mode, shape=(tokens, width)
        )

    def write(self, values: Tensor, tok: npt.NDArray[np.int64]) -> None:
        """Store float32 `values` [rows, width] as the rows `tok`; overflow becomes infinity."""
        half = values.half().cpu().numpy()
        # Runs of consecutive tokens, as windows give them, are copied whole.
        cuts = np.flatnonzero(np.diff(tok) != 1) + 1
        for start, end in zip([0, *cuts], [*cuts, len(tok)], strict=True):
            if end > start:
                self.values[tok[start] : tok[start] + end - start] = half[start:end]

    def flush(self) -> None:
        """Put on the disk what was written so far."""
        if isinstance(self.values, np.memmap):
            self.values.flush()
