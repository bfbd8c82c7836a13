"""Without a neuron's activation a model predicts what it does without its output weights."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import config, randomise
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.pytorch_utils import Conv1D

from neuronmap_sql.ingest.ablation.ablate import ablate
from neuronmap_sql.ingest.ablation.recipe import parse_ablation
from neuronmap_sql.ingest.models.loading import given
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import ModelSettings, SiteSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

CASES = (
    "gpt2", "gpt_neo", "gptj", "gpt_neox", "codegen", "opt", "bloom", "falcon", "falcon-new",
    "phi", "phi3", "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "olmo2",
)  # fmt: skip
TEXTS = ("the cat sat on the mat, and so it was", "he said no", "and so it was that the cat sat")
LAYER, NEURON = 1, 11


def without_weights(model: nn.Module, path: str) -> nn.Module:
    changed = copy.deepcopy(model)
    part = changed.base_model.get_submodule(path)  # type: ignore[operator]
    with torch.no_grad():
        if isinstance(part, Conv1D):
            part.weight[NEURON] = 0
        else:
            part.weight[:, NEURON] = 0
    return changed


def losses(model: nn.Module, tokenizer: Any) -> Tensor:
    """Loss of every predicted token, each text alone."""
    found = []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(ids).logits[0, :-1].double()
        found.append(nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
    return torch.cat(found)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_neuron_without_activation_is_one_without_weights(
    case: str, demo_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo_model)
    torch.manual_seed(0)
    model = randomise(AutoModelForCausalLM.from_config(config(case, vocab_size=4096)).eval())
    loaded = given(model, ModelSettings(source="m"), tokenizer)
    hooks = resolve(loaded.backbone, loaded.family, SiteSettings(layers=str(LAYER)))
    (tmp_path / "t.txt").write_text("\n".join(TEXTS))
    raw = {
        "neurons": f"SELECT 'm' AS model, {LAYER} AS layer, {NEURON} AS neuron",
        "data": {"path": "t.txt", "format": "lines", "special": "none"},
        "controls": 0,
    }
    with caplog.at_level(logging.WARNING, "neuronmap_sql"):
        recipe = parse_ablation(raw, "test", tmp_path)
        ablate(recipe, Store.create(tmp_path / "wh"), loaded={"m": loaded})
    assert "cannot be replayed" not in caplog.text
    with connect(tmp_path / "wh") as con:
        (row,) = con.sql("SELECT clean_loss, loss_change, n FROM effects").fetchall()
        (said,) = con.sql("SELECT batching FROM runs WHERE kind = 'ablation'").fetchall()
    clean = losses(model, tokenizer)
    change = losses(without_weights(model, hooks[0].module), tokenizer) - clean
    assert "begun at the first replaced layer" in said[0]
    assert row[2] == len(clean)
    assert row[0] == pytest.approx(float(clean.mean()), rel=1e-5)
    assert row[1] == pytest.approx(float(change.mean()), rel=1e-3, abs=1e-4)
    assert float(change.abs().max()) > 1e-3  # the neuron matters
