"""nnsight: `tracer.cache` of the down projections' inputs, a torch file a batch.

It has no format on the disk either. Its cache casts as it records (`dtype`), and it wraps any
module of transformers (`TransformersModel`).
"""

from __future__ import annotations

import numpy as np
import torch
from harness import Task, Values, measure
from nnsight import TransformersModel


def load(task: Task) -> TransformersModel:
    return TransformersModel(str(task.model), task="text-generation", dispatch=True)


@torch.inference_mode()
def record(model: TransformersModel, task: Task) -> None:
    places = [block.mlp.c_proj for block in model.transformer.h]
    for number, batch in enumerate(task.batches()):
        with model.trace({"input_ids": batch}) as tracer:
            cache = tracer.cache(
                modules=places, dtype=torch.float16, include_output=False, include_inputs=True
            )
            _ = places[-1].input
            tracer.stop()  # the rest, with the head, need not run
        kept = {str(layer): cache[place.path].input for layer, place in enumerate(places)}
        torch.save(kept, task.out / f"{number}.pt")


def read(task: Task) -> Values:
    found = []
    for number in range(len(task.tokens) // task.batch):
        cache, rows = torch.load(task.out / f"{number}.pt"), task.sampled(number)
        found.append([values.flatten(0, 1)[rows].numpy() for values in cache.values()])
    return np.concatenate([np.stack(layers) for layers in found], axis=1)


if __name__ == "__main__":
    measure(load, record, read)
