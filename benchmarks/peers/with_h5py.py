"""transformers with hooks, and an HDF5 dataset a layer: what one writes oneself.

https://docs.h5py.org/en/stable/high/dataset.html: datasets are made with shape and dtype, and
filled by slices.
"""

from __future__ import annotations

import h5py
import numpy as np
import torch
from harness import Task, Values, measure, mlp_inputs
from transformers import AutoModel


def load(task: Task) -> torch.nn.Module:
    return AutoModel.from_pretrained(task.model).eval()


@torch.inference_mode()
def record(model: torch.nn.Module, task: Task) -> None:
    with h5py.File(task.out / "values.h5", "w") as file:
        shape = (task.tokens.size, task.width)
        sets = [file.create_dataset(f"mlp/{n}", shape, np.float16) for n in range(task.layers)]
        start = 0

        def keep(layer: int, values: torch.Tensor) -> None:
            rows = values.half().flatten(0, 1).numpy()
            sets[layer][start : start + len(rows)] = rows

        mlp_inputs(model, keep)
        for batch in task.batches():
            model(batch, use_cache=False)
            start += batch.numel()


def read(task: Task) -> Values:
    with h5py.File(task.out / "values.h5") as file:
        return np.stack([file[f"mlp/{layer}"][task.sample] for layer in range(task.layers)])


if __name__ == "__main__":
    measure(load, record, read)
