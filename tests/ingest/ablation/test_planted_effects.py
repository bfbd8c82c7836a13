"""Models that were made so that the effect of a neuron is known before it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.ablation.ablate import ablate
from neuronmap_sql.ingest.ablation.recipe import parse_ablation
from neuronmap_sql.ingest.models.loading import given
from neuronmap_sql.ingest.settings import ModelSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

PLANTED = (1, 5)
SMALL = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 4096}


@pytest.fixture(scope="module")
def tokenizer(demo_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(demo_model)


@pytest.fixture
def small() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**SMALL)).eval()


def effects(
    root: Path, model: torch.nn.Module, tokenizer: Any, neuron: tuple[int, int] = PLANTED,
    texts: str | None = None, **keys: Any,
) -> tuple[pl.DataFrame, pl.DataFrame]:  # fmt: skip
    path = root / "texts.txt"
    path.write_text(texts or "\n".join(["the cat sat on the mat"] * 2 + ["so it was, he said"]))
    raw = {
        "neurons": f"SELECT 'm' AS model, {neuron[0]} AS layer, {neuron[1]} AS neuron",
        "data": {"path": str(path), "format": "lines"},
    }
    loaded = {"m": given(model, ModelSettings(source="m"), tokenizer)}
    ablate(parse_ablation(raw | keys, "test", root), Store.create(root / "wh"), loaded=loaded)
    with connect(root / "wh") as con:
        found = con.sql("FROM effects ORDER BY unit, control").pl()
        return found, con.sql("FROM token_effects JOIN tokens USING (tok)").pl()


def test_a_dead_neuron_changes_nothing_at_all(
    small: GPT2LMHeadModel, tokenizer: Any, tmp_path: Path
) -> None:
    layer, neuron = PLANTED
    with torch.no_grad():
        small.transformer.h[layer].mlp.c_proj.weight[neuron] = 0
    found, tokens = effects(tmp_path, small, tokenizer)
    dead = found.row(0, named=True)
    for name in ("loss_change", "entropy_change", "rank_change", "log_rank_change", "kl"):
        assert dead[name] == dead[f"{name}_se"] == 0
        assert (found[name][1:] != 0).any()  # the controls' weights are there
    assert 0 not in set(tokens["control"])
    assert {1, 2, 3} <= set(tokens["control"])


def test_the_mean_of_a_constant_neuron_changes_nothing(
    small: GPT2LMHeadModel, tokenizer: Any, tmp_path: Path
) -> None:
    layer, neuron = PLANTED
    with torch.no_grad():
        small.transformer.h[layer].mlp.c_fc.weight[:, neuron] = 0
        small.transformer.h[layer].mlp.c_fc.bias[neuron] = 0.7
    found, _ = effects(tmp_path, small, tokenizer, mode="mean")
    assert found["kl"][0] == found["loss_change"][0] == 0
    assert (found["kl"][1:] > 0).all()
    (tmp_path / "zero").mkdir()
    zero, _ = effects(tmp_path / "zero", small, tokenizer)
    assert zero["kl"][0] > 1e-8  # it is not dead


def test_a_neuron_that_writes_a_token_is_found_and_its_controls_are_not(
    small: GPT2LMHeadModel, tokenizer: Any, tmp_path: Path
) -> None:
    """Without it the loss of its token rises by what it adds to the logit, that of others falls."""
    layer, neuron = PLANTED
    (the,) = tokenizer(" the", add_special_tokens=False).input_ids[-1:]
    with torch.no_grad():
        small.transformer.h[layer].mlp.c_fc.weight[:, neuron] = 0
        small.transformer.h[layer].mlp.c_fc.bias[neuron] = 1.0
        direction = small.lm_head.weight[the] - small.lm_head.weight.mean(0)
        small.transformer.h[layer].mlp.c_proj.weight[neuron] = 20 * direction / direction.norm()
    found, tokens = effects(tmp_path, small, tokenizer, controls=8)
    planted, controls = found.row(0, named=True), found[1:]
    mine = tokens.filter(control=0)
    raised, lowered = mine.filter(side="raised"), mine.filter(side="lowered")
    most = raised.sort("rank")["token_id"].to_list()
    assert most.count(the) == 2
    assert most[:2] == [the] * 2
    assert (raised.filter(token_id=the)["rank_change"] > 0).all()
    assert len(lowered)
    assert the not in set(lowered["token_id"])
    assert planted["kl"] > 100 * controls["kl"].max()  # type: ignore[operator]
    assert abs(planted["loss_change"]) > 20 * controls["loss_change"].abs().max()  # type: ignore[operator]


def test_tokens_without_one_before_them_are_not_predicted(
    small: GPT2LMHeadModel, tokenizer: Any, tmp_path: Path
) -> None:
    ids = tokenizer("the cat sat on the mat", add_special_tokens=False).input_ids
    found, _ = effects(
        tmp_path, small, tokenizer, texts="the cat sat on the mat\nthe cat sat on the mat"
    )
    assert found["n"][0] == 2 * (len(ids) - 1)


def test_a_model_without_finite_logits_has_no_effect(
    small: GPT2LMHeadModel, tokenizer: Any, tmp_path: Path
) -> None:
    """NaN never reaches the store: tokens are counted and left out."""
    with torch.no_grad():
        small.transformer.h[1].mlp.c_proj.weight[PLANTED[1]] = 1e38
    found, _ = effects(tmp_path, small, tokenizer, mode="value", value=1e30)
    assert found["n"][0] == 0
    assert found["nonfinite"][0] > 0
    assert found["loss_change"][0] is None


def test_encoders_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    size = {"vocab_size": 4096, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    bert = BertForMaskedLM(BertConfig(**size, num_attention_heads=2)).eval()
    with pytest.raises(ModelError, match=r"predicts no next token.*causal"):
        effects(tmp_path, bert, tokenizer)


def test_models_that_see_what_they_predict_are_refused(tokenizer: Any, tmp_path: Path) -> None:
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=4096, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=2)
    ).eval()
    with pytest.raises(ModelError, match="sees the tokens that it would have to predict"):
        effects(tmp_path, t5, tokenizer, site="decoder.mlp")
