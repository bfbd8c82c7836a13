"""Values from the device to the spools while the pass goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuronmap_sql.ingest.extraction.spool import Spool

__all__ = ["Transfer"]

_UNDER_WAY = 4
"""Copies under way at once: each holds one hook's values of a batch, on both sides."""


class Transfer:
    """Writes values to spools; on a GPU beside the pass, on a CPU at once.

    On a GPU values are copied into pinned memory on a stream of their own, and a thread puts them
    into the spool when they have come. A CPU has no time to give away.

    Args:
        device: where the values are.
        beside: whether to write beside the pass; by default on a GPU.
    """

    def __init__(self, device: torch.device, *, beside: bool | None = None) -> None:
        on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        self._writer = ThreadPoolExecutor(1, "neuronmap-spool") if beside or on_gpu else None
        self._under_way: list[Future[Tensor]] = []
        self._free: list[Tensor] = []

    def __enter__(self) -> Transfer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.shutdown()
        if kind is None:
            self.wait()

    def write(self, spool: Spool, values: Tensor, tok: npt.NDArray[np.int64]) -> None:
        """Write float32 `values` [rows, width] as the rows `tok`; they may change afterwards.

        Raises:
            OSError: an earlier write failed.
        """
        half = values.half()
        if self._writer is None:
            spool.write(half, tok)
            return
        while len(self._under_way) >= _UNDER_WAY:
            self._free.append(self._under_way.pop(0).result())
        host, arrived = self._copy(half)

        def put() -> Tensor:
            arrived()
            spool.write(host[: half.numel()].view(half.shape), tok)
            return host

        self._under_way.append(self._writer.submit(put))

    def wait(self) -> None:
        """Wait until all is in the spools; raises what went wrong there."""
        while self._under_way:
            self._free.append(self._under_way.pop(0).result())

    def _copy(self, half: Tensor) -> tuple[Tensor, Callable[[], None]]:
        """Begin to copy to the host; return where to, and what waits for it."""
        host = next((one for one in self._free if one.numel() >= half.numel()), None)
        if host is None:
            host = torch.empty(half.numel(), dtype=half.dtype, pin_memory=self._stream is not None)
        else:
            self._free = [one for one in self._free if one is not host]
        into = host[: half.numel()].view(half.shape)
        if self._stream is None:
            into.copy_(half)
            return host, lambda: None
        self._stream.wait_stream(torch.cuda.current_stream(half.device))
        with torch.cuda.stream(self._stream):
            into.copy_(half, non_blocking=True)
            half.record_stream(self._stream)
            arrived = torch.cuda.Event()
            arrived.record(self._stream)
        return host, arrived.synchronize
