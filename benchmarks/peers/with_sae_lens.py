"""SAELens: `CacheActivationsRunner`, which writes a Hugging Face dataset a hook.

It caches one hook, so that the model is loaded and run once a layer, as far as that layer. Tokens
come from a dataset with a column `input_ids`, here in memory; `shuffle` is off, to compare them.
"""

from __future__ import annotations

import os

import numpy as np
from datasets import Dataset, load_from_disk
from harness import Task, Values, measure
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig


def name(layer: int) -> str:
    return f"blocks.{layer}.mlp.hook_post"


def runner(task: Task, layer: int) -> CacheActivationsRunner:
    tokens = Dataset.from_dict({"input_ids": task.tokens.tolist()})
    whole = task.tokens.size * task.width * 2 / 1e9
    config = CacheActivationsRunnerConfig(
        dataset_path="in memory",
        model_name=task.model.name,
        model_batch_size=task.batch,
        hook_name=name(layer),
        d_in=task.width,
        training_tokens=task.tokens.size,
        context_size=task.tokens.shape[1],
        new_cached_activations_path=str(task.out / str(layer)),
        shuffle=False,
        dtype="float16",
        device="cpu",
        buffer_size_gb=whole,
        prepend_bos=False,
        streaming=False,
    )
    return CacheActivationsRunner(config, override_dataset=tokens)


def load(task: Task) -> CacheActivationsRunner:
    # TransformerLens 3 takes the names on its list, no paths; a folder of that name comes first
    os.chdir(task.model.parent)
    return runner(task, 0)


def record(first: CacheActivationsRunner, task: Task) -> None:
    first.run()
    for layer in range(1, task.layers):
        runner(task, layer).run()


def read(task: Task) -> Values:
    window, pos = np.divmod(task.sample, task.tokens.shape[1])
    found = []
    for layer in range(task.layers):
        kept = load_from_disk(task.out / str(layer)).with_format("numpy")
        found.append(kept[window][name(layer)][np.arange(len(pos)), pos])
    return np.stack(found)


if __name__ == "__main__":
    measure(load, record, read)
