"""The forward pass alone, of the backbone without its head: what recording cannot do without."""

from __future__ import annotations

import numpy as np
import torch
from harness import Task, Values, measure
from transformers import AutoModel


def load(task: Task) -> torch.nn.Module:
    return AutoModel.from_pretrained(task.model).eval()


@torch.inference_mode()
def record(model: torch.nn.Module, task: Task) -> None:
    for batch in task.batches():
        model(batch, use_cache=False)


def read(task: Task) -> Values:
    """Nothing was written."""
    return np.full((task.layers, len(task.sample), task.width), np.nan, np.float16)


if __name__ == "__main__":
    measure(load, record, read)
