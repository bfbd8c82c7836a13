"""A PyTorch module of one's own, handed over from Python."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer

import neuronmap_sql as nm


class Tower(nn.Module):
    """Not a transformers model: no configuration, no family."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(4096, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        state: torch.Tensor = self.embed(ids)
        for block in self.blocks:
            state = block(state)
        return state


def test_any_module_is_recorded_at_the_paths_that_the_recipe_names(
    tmp_path: Path, demo_model: Path
) -> None:
    (tmp_path / "text.jsonl").write_text(json.dumps({"text": "In the beginning was the word."}))
    (tmp_path / "tower.toml").write_text(
        '[model]\nsource = "tower"\n[data]\npath = "text.jsonl"\n'
        '[sites.step]\nmodule = "blocks.{layer}.1"\n[keep]\ntables = ["stats", "matrices"]\n'
    )
    tower, tokenizer = Tower(), AutoTokenizer.from_pretrained(demo_model)
    wh = nm.create(tmp_path / "wh")
    wh.ingest(tmp_path / "tower.toml", module=tower, tokenizer=tokenizer, progress=False)

    ids = torch.tensor([tokenizer("In the beginning was the word.")["input_ids"]])
    with torch.inference_mode():
        expected = tower(ids)[0].half().numpy()
    np.testing.assert_array_equal(wh.matrix("tower", 2, site="step"), expected)
    assert wh.sql("SELECT weights_format, family FROM models").fetchall() == [("module", "none")]
    assert wh.sql("SELECT count(*) FROM layer_stats").fetchall() == [(3,)]
