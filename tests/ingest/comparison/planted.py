"""Models with planted neurons: rows of a table, by token and position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronmap_sql.content import folder
from neuronmap_sql.ingest.comparison.recipe import parse_comparison
from neuronmap_sql.ingest.comparison.settings import Comparison
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import given

ROWS = 4096


class Table(nn.Module):
    """Layers of neurons whose values are independent from token to token."""

    def __init__(self, *layers: Tensor) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Embedding.from_pretrained(layer) for layer in layers)

    def forward(self, input_ids: Tensor) -> list[Tensor]:
        # By position too: a text has so few frequent tokens that strangers would look alike.
        position = torch.arange(input_ids.shape[1])
        at = (input_ids + 4099 * position) % ROWS
        return [layer(at) for layer in self.layers]


def neurons(width: int, seed: int) -> Tensor:
    """Return rare, positive neurons, as MLPs have them: [rows, width]."""
    random = torch.Generator().manual_seed(seed)
    return torch.relu(torch.randn(ROWS, width, generator=random) - 1)


def comparison(names: list[str], docs: int = 30, **sections: Any) -> Comparison:
    """Return the recipe of a comparison of modules on the demo's text."""
    raw: dict[str, Any] = {
        "models": [{"source": name, "family": "auto"} for name in names],
        "data": {"path": "text.jsonl.gz", "limit": docs, "context": 256},
        "sites": {"use": [], "acts": {"module": "layers.{layer}"}},
    }
    return parse_comparison(raw | sections, "test", folder("demo"))


def loaded(recipe: Comparison, tokenizer: Any, *models: nn.Module) -> list[LoadedModel]:
    """Return modules as the models of a recipe."""
    return [
        given(model, settings.settings, tokenizer)
        for model, settings in zip(models, recipe.models, strict=True)
    ]
