"""What the scripts of this folder share: the task, the clock, peak memory, and the report.

`peers.py` runs each script in its own environment, as `SCRIPT TASK OUT`. TASK is a folder with
`tokens.npy` [windows, positions], `sample.npy` (tokens to read back) and `task.json`; into the
empty folder OUT go the values, beside it the report and the values that were read back.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Task", "measure", "mlp_inputs"]

Loaded = TypeVar("Loaded")
Values = NDArray[np.float16]


@dataclass(frozen=True)
class Task:
    """What all are asked to do, and where."""

    folder: Path
    """Folder of the task."""
    out: Path
    """Folder for the values."""
    model: Path
    """Folder of a GPT-2."""
    tokens: NDArray[np.int64]
    """Token ids, shape [windows, positions]: no padding, no special tokens."""
    batch: int
    """Windows of one forward pass; it divides the number of windows."""
    sample: NDArray[np.int64]
    """Tokens to read back, ascending, numbered through all windows."""
    layers: int
    """Layers of the model."""
    width: int
    """MLP neurons of a layer."""

    @classmethod
    def open(cls, folder: Path, out: Path) -> Task:
        told = json.loads((folder / "task.json").read_text())
        arrays = (np.load(folder / f"{name}.npy") for name in ("tokens", "sample"))
        tokens, sample = arrays
        return cls(
            folder, out, Path(told["model"]), tokens, told["batch"], sample,
            told["layers"], told["width"],
        )  # fmt: skip

    def batches(self) -> Iterator[torch.Tensor]:
        """Yield token ids, shape [batch, positions]."""
        yield from torch.from_numpy(self.tokens).split(self.batch)

    @property
    def batch_tokens(self) -> int:
        return self.batch * self.tokens.shape[1]

    def sampled(self, batch: int) -> NDArray[np.int64]:
        """Return which tokens of a batch are in the sample, numbered within the batch."""
        first = batch * self.batch_tokens
        inside = (self.sample >= first) & (self.sample < first + self.batch_tokens)
        return self.sample[inside] - first


def measure(
    load: Callable[[Task], Loaded],
    record: Callable[[Loaded, Task], None],
    read: Callable[[Task], Values],
) -> None:
    """Time loading the model and recording all values, then read some back from the disk.

    Args:
        load: loads the model.
        record: runs it over all batches, and writes all MLP neurons into `task.out`.
        read: returns the sample's values as they were written, shape [layers, sample, width].
    """
    task = Task.open(Path(sys.argv[1]), Path(sys.argv[2]))
    memory = _Memory()
    begun = time.perf_counter()
    loaded = load(task)
    ready = time.perf_counter()
    record(loaded, task)
    report = {"load": ready - begun, "seconds": time.perf_counter() - ready, **memory.peaks()}
    np.save(task.out.with_suffix(".npy"), read(task))
    task.out.with_suffix(".json").write_text(json.dumps(report))


def mlp_inputs(model: torch.nn.Module, into: Callable[[int, torch.Tensor], None]) -> None:
    """Hook the MLP neurons of a GPT-2 of transformers: the input of each down projection."""

    def hook(layer: int) -> Callable[..., None]:
        return lambda _module, inputs: into(layer, inputs[0])

    for layer, block in enumerate(model.base_model.h):
        block.mlp.c_proj.register_forward_pre_hook(hook(layer))


class _Memory:
    """Watches the process's memory: all that was resident, and what of it is no mapped file."""

    def __init__(self) -> None:
        self._anonymous, self._stop = 0, threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._anonymous = max(self._anonymous, _status("RssAnon"))

    def peaks(self) -> dict[str, float]:
        """Return the peaks so far in MB, and stop watching."""
        self._stop.set()
        self._watcher.join()
        # not getrusage: its peak begins with that of the process that started this one
        return {"resident": _status("VmHWM") / 1e3, "anonymous": self._anonymous / 1e3}


def _status(key: str) -> int:
    """Return a line of the kernel's account of this process, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
