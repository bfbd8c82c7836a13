"""A warehouse with three planted models beside each other, and what was planted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from neuronmap_sql.ingest.comparison.compare import compare
from neuronmap_sql.warehouse.store import Store

sys.path.insert(0, str(Path(__file__).parent / "ingest" / "comparison"))

from planted import Table, comparison, loaded, neurons

WIDTH = 40
COPIED = 30
"""Neurons of each layer of `original` that `copy` has too, moved and noised."""
IN_ALL = 15
"""Those that `twin` has as well."""
KEEP = {"baselines": ["gaussian", "standardised"], "matchings": ["mutual", "hungarian"]}


def noised(layer: torch.Tensor, kept: int, seed: int) -> torch.Tensor:
    """A layer whose last neurons are the first of another, in reverse and noised."""
    random = torch.Generator().manual_seed(seed)
    made = neurons(WIDTH, seed)
    taken = layer[:, :kept].flip(1)
    made[:, WIDTH - kept :] = taken + 0.2 * torch.randn(taken.shape, generator=random)
    return made


def compare_planted(root: Path, tokens: Path) -> Path:
    """Write the warehouse: `original` with one dead neuron, `copy`, and `twin`.

    Args:
        root: folder of the warehouse.
        tokens: folder of the tokenizer.
    """
    original = [neurons(WIDTH, 1), neurons(WIDTH, 2)]
    original[0][:, WIDTH - 1] = 0
    copy = [noised(layer, COPIED, seed) for layer, seed in zip(original, (3, 4), strict=True)]
    twin = [noised(layer, IN_ALL, seed) for layer, seed in zip(original, (5, 6), strict=True)]
    recipe = comparison(["original", "copy", "twin"], keep=KEEP)
    tokenizer: Any = AutoTokenizer.from_pretrained(tokens)
    models = [Table(*layers) for layers in (original, copy, twin)]
    compare(recipe, Store.create(root), loaded=loaded(recipe, tokenizer, *models))
    return root
