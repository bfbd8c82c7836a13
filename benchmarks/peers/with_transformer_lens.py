"""TransformerLens: `run_with_cache` on a bridge to the local model, a torch file a batch.

It has no format on the disk: its cache is a dict of tensors, which `torch.save` takes. The README
of 4.3 says how models are booted; `names_filter` is the documented way to cache few hooks.
"""

from __future__ import annotations

import numpy as np
import torch
from harness import Task, Values, measure
from transformer_lens.model_bridge import TransformerBridge


def load(task: Task) -> TransformerBridge:
    return TransformerBridge.boot_transformers(str(task.model), device="cpu")


def names(task: Task) -> list[str]:
    return [f"blocks.{layer}.mlp.hook_post" for layer in range(task.layers)]


@torch.inference_mode()
def record(bridge: TransformerBridge, task: Task) -> None:
    for number, batch in enumerate(task.batches()):
        _, cache = bridge.run_with_cache(batch, names_filter=names(task), return_type=None)
        torch.save({name: cache[name].half() for name in names(task)}, task.out / f"{number}.pt")


def read(task: Task) -> Values:
    found = []
    for number in range(len(task.tokens) // task.batch):
        cache = torch.load(task.out / f"{number}.pt")
        rows = task.sampled(number)
        found.append([cache[name].flatten(0, 1)[rows].numpy() for name in names(task)])
    return np.concatenate([np.stack(layers) for layers in found], axis=1)


if __name__ == "__main__":
    measure(load, record, read)
