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
    """Writes values to spools; those on a GPU beside the pass, those on a CPU at once.

    From a GPU values are copied into pinned memory on a stream of their own, and a thread puts them
    into the spool when they have come. A CPU has no time to give away.

    Args:
        beside: write values on a CPU beside the pass too.
    """

    def __init__(self, *, beside: bool = False) -> None:
        self._beside = beside
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._writer = ThreadPoolExecutor(1, "neuronmap-spool")
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
        self._writer.shutdown()
        if kind is None:
            self.wait()

    def write(self, spool: Spool, values: Tensor, tok: npt.NDArray[np.int64]) -> None:
        """Write float32 `values` [rows, width] as the rows `tok`; they may change afterwards.

        Raises:
            OSError: an earlier write failed.
        """
        half = values.half()
        if half.device.type == "cpu" and not self._beside:
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
        on_gpu = half.device.type == "cuda"
        host = next((one for one in self._free if one.numel() >= half.numel()), None)
        if host is None:
            host = torch.empty(half.numel(), dtype=half.dtype, pin_memory=on_gpu)
        else:
            self._free = [one for one in self._free if one is not host]
        into = host[: half.numel()].view(half.shape)
        if not on_gpu:
            into.copy_(half)
            return host, lambda: None
        if half.device not in self._streams:
            self._streams[half.device] = torch.cuda.Stream(half.device)
        stream = self._streams[half.device]
        stream.wait_stream(torch.cuda.current_stream(half.device))
        with torch.cuda.stream(stream):
            into.copy_(half, non_blocking=True)
            half.record_stream(stream)
            arrived = torch.cuda.Event()
            arrived.record(stream)
        return host, arrived.synchronize
