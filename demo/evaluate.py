"""Measure the demo models: held-out loss, and how far their neurons agree, beside untrained ones.

    python demo/evaluate.py

Prints JSON: held-out loss of every model in `demo/models/` and of an untrained one, and the
excess correlation of the three seeds and of three untrained models. Excess correlation follows
Gurnee et al. (arXiv 2401.12181): for a neuron, the mean over the other models of its largest
Pearson correlation with any of their neurons, less the largest with any neuron of the model after
a random rotation of each layer.
"""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from train import CONTEXT, HERE, heldout_loss, new_model, tokens, unigram_entropy
from transformers import GPT2LMHeadModel

WINDOWS = 240
SEEDS = ("demo-a", "demo-b", "demo-c")


@torch.inference_mode()
def activations(model: GPT2LMHeadModel, windows: Tensor) -> Tensor:
    """MLP neurons of all layers, standardised: [tokens, layers * neurons]."""
    found: list[list[Tensor]] = [[] for _ in model.transformer.h]
    handles = [
        block.mlp.c_proj.register_forward_pre_hook(
            lambda _, args, into=into: into.append(args[0].reshape(-1, args[0].shape[-1]))
        )
        for block, into in zip(model.transformer.h, found, strict=True)
    ]
    for batch in windows.split(16):
        model.transformer(batch, use_cache=False)
    for handle in handles:
        handle.remove()
    values = torch.cat([torch.cat(parts) for parts in found], dim=1)
    return values - values.mean(0)


def rotated(values: Tensor, layers: int, generator: torch.Generator) -> Tensor:
    """Each layer's neurons mixed by a random orthogonal matrix."""
    parts = []
    for part in values.chunk(layers, dim=1):
        square = torch.randn(part.shape[1], part.shape[1], generator=generator)
        parts.append(part @ torch.linalg.qr(square).Q)
    return torch.cat(parts, dim=1)


def largest(one: Tensor, other: Tensor) -> Tensor:
    """The largest correlation of each column of `one` with any column of `other`."""
    one, other = one / one.norm(dim=0), other / other.norm(dim=0)
    return (one.T @ other).max(dim=1).values


def excess(models: list[GPT2LMHeadModel], windows: Tensor) -> dict[str, float]:
    values = [activations(model, windows) for model in models]
    generator = torch.Generator().manual_seed(0)
    layers = len(models[0].transformer.h)
    gain: dict[int, list[Tensor]] = {number: [] for number in range(len(models))}
    for one, other in permutations(range(len(models)), 2):
        baseline = largest(values[one], rotated(values[other], layers, generator))
        gain[one].append(largest(values[one], values[other]) - baseline)
    found = torch.stack([torch.stack(parts).mean(0) for parts in gain.values()]).numpy()
    return {
        "mean": round(float(found.mean()), 3),
        **{f"over {limit}": round(float((found > limit).mean()), 4) for limit in (0.2, 0.3, 0.5)},
    }


def main() -> None:
    ids = tokens("heldout").astype(np.int64)
    windows = torch.from_numpy(ids[: len(ids) // CONTEXT * CONTEXT].reshape(-1, CONTEXT))
    folders = sorted(path for path in (HERE / "models").iterdir() if path.is_dir())
    models = {path.name: GPT2LMHeadModel.from_pretrained(path).float().eval() for path in folders}
    untrained = [new_model(seed).eval() for seed in (1, 2, 3)]
    print(json.dumps({
        "heldout tokens": windows.numel(),
        "unigram entropy": round(unigram_entropy(), 4),
        "loss": {name: round(heldout_loss(model, "cpu"), 4) for name, model in models.items()}
        | {"untrained": round(heldout_loss(untrained[0], "cpu"), 4)},
        "excess correlation": {
            "tokens": WINDOWS * CONTEXT,
            "trained": excess([models[name] for name in SEEDS], windows[:WINDOWS]),
            "untrained": excess(untrained, windows[:WINDOWS]),
        },
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
