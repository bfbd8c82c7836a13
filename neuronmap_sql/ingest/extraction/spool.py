"""Values on their way to the disk: one token-major file a site and layer."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.files import flush

__all__ = ["Spool"]

_HALF = np.dtype(np.float16)


class Spool:
    """A memory-mapped matrix [tokens, width], in float16 by default, kept with an unfinished run.

    Rows are assigned, never added to, so that a resumed ingest may write some of them again.
    """

    def __init__(
        self,
        path: Path,
        tokens: int,
        width: int,
        *,
        reserve: bool = True,
        dtype: np.dtype[Any] = _HALF,
    ) -> None:
        """Open the file, or make it.

        Args:
            path: the file.
            tokens: rows.
            width: columns.
            reserve: take all its room on the disk now.
            dtype: number format.

        Raises:
            StoreError: the disk has no room for all values.
        """
        self.path = path
        size = tokens * width * dtype.itemsize
        if not path.exists() or path.stat().st_size != size:
            _make(path, size, reserve)
        self.values: npt.NDArray[Any] = np.memmap(
            path, dtype=dtype, mode="r+", shape=(tokens, width)
        )

    def write(self, values: Tensor, tok: npt.NDArray[np.int64]) -> None:
        """Store float16 `values` [rows, width], which are on the host, as the rows `tok`."""
        half = values.numpy()
        # Runs of consecutive tokens, as windows give them, are copied whole.
        cuts = np.flatnonzero(np.diff(tok) != 1) + 1
        for start, end in zip([0, *cuts], [*cuts, len(tok)], strict=True):
            if end > start:
                self.values[tok[start] : tok[start] + end - start] = half[start:end]

    def flush(self) -> None:
        """Put on the disk what was written so far; other threads go on meanwhile."""
        flush(self.path)
        if sys.platform != "linux" and isinstance(self.values, np.memmap):
            self.values.flush()  # elsewhere fsync need not see what was written to memory


def _make(path: Path, size: int, reserve: bool) -> None:
    """Make a file of zeros. Without room on the disk, writing to mapped memory kills the process.

    Raises:
        StoreError: there is no room; the file is not left behind.
    """
    path.unlink(missing_ok=True)
    try:
        with path.open("wb") as file:
            if reserve and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StoreError(
            f"{path.parent}: no room for {size / 1e9:,.1f} GB of values ({error.strerror}): free"
            " some, or keep fewer sites, layers or tables; `--dry-run` says what is needed"
        ) from error
