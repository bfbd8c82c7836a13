"""Reduce stripes of neurons side by side: on a CPU, one thread each.

The operations of a reduction are short, so that they stay in the cache. Split over torch's own
threads, each would wait for the slowest of them; a thread that does all of a stripe waits once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from threading import Barrier

import torch

__all__ = ["each_stripe", "stripes"]

_NEURONS = 768
"""Most neurons of a stripe on a CPU: with 128 tokens, in float64, they fit a core's cache."""

_KEPT_BYTES = 31 << 20
"""Just below the largest piece that glibc's malloc learns from (DEFAULT_MMAP_THRESHOLD_MAX)."""


def stripes(neurons: int, device: torch.device) -> list[slice]:
    """Cut neurons for `each_stripe`: one stripe on a GPU, at least one a thread on a CPU."""
    parts = 1
    if device.type == "cpu":
        parts = max(min(torch.get_num_threads(), neurons), -(-neurons // _NEURONS))
    bounds = [neurons * part // parts for part in range(parts + 1)]
    return [slice(low, high) for low, high in pairwise(bounds)]


def each_stripe(work: Callable[[int], None], count: int, device: torch.device) -> None:
    """Call `work` with 0 to `count` - 1; return, or raise what one of them raised, after all ended.

    Gradients are off in `work`, which must not touch the tensors of another stripe.
    """
    if device.type != "cpu":
        for number in range(count):
            _inference(work, number)
        return
    tasks = [_pool(torch.get_num_threads()).submit(_inference, work, n) for n in range(count)]
    wait(tasks)
    for task in tasks:
        task.result()


@torch.inference_mode()
def _inference(work: Callable[[int], None], number: int) -> None:
    # The mode belongs to a thread, so that each has to enter it.
    work(number)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # glibc gives freed memory back to the system, and takes it anew page by page, until a large
    # piece was freed once; without this, reductions take up to twice as long.
    torch.empty(_KEPT_BYTES, dtype=torch.uint8)
    ready = Barrier(threads + 1)

    def alone() -> None:
        # Asked first, because a thread's first question sets it to what holds for all.
        torch.get_num_threads()
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "neuronmap-reduce", initializer=alone)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    # torch takes the last setting for all threads still to come, not for those that have one.
    torch.set_num_threads(threads)
    return pool
