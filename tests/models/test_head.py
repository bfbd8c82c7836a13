"""The output head as a site: run only when it is asked for, and then as the full model runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from recording import IDS, MASK, record
from torch import Tensor
from transformers import BertForMaskedLM

from neuronmap_sql.errors import ModelError, RecipeError
from neuronmap_sql.ingest.extraction.hooks import extractor
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import given, load
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import CustomSite, ModelSettings, SiteSettings

# T5 scales the state before its head, so that head(state) would not be its logits.
CASES = ("gpt2", "gpt_neox", "llama", "opt-postnorm", "phi", "bart", "t5")


def logits(module: str, *use: str) -> SiteSettings:
    return SiteSettings(use, custom=(CustomSite("logits", module),))


def handed_over(case: str) -> LoadedModel:
    return given(tiny.language_model(case), ModelSettings("x"))


def hooks_of(model: LoadedModel, sites: SiteSettings) -> list[Hook]:
    return resolve(model.backbone, model.family, sites, model.full)


@pytest.mark.parametrize("case", CASES)
def test_the_logits_are_the_full_models(case: str) -> None:
    model = handed_over(case)
    both = model.config.is_encoder_decoder
    use = ("decoder.mlp", "encoder.resid_post") if both else ("mlp", "resid_post")
    hooks = hooks_of(model, logits("lm_head", *use))
    assert (hooks[-1].module, hooks[-1].width, hooks[-1].layer) == ("lm_head", 97, 0)
    seen = record(model.runs(hooks), hooks)
    decoder = {"decoder_input_ids": IDS, "decoder_attention_mask": MASK} if both else {}
    with torch.no_grad():
        expected = tiny.language_model(case)(IDS, attention_mask=MASK, **decoder).logits
    assert torch.equal(seen["logits", 0], expected)
    # The other sites have the same bits as without the head.
    alone = hooks_of(model, SiteSettings(use))
    assert alone == hooks[:-1]
    assert model.runs(alone) is model.backbone
    without = record(model.backbone, alone)
    assert all(torch.equal(seen[place], values) for place, values in without.items())


def test_a_loaded_model_and_an_extraction(tmp_path: Path) -> None:
    tiny.language_model("gpt2").save_pretrained(tmp_path)
    model = load(ModelSettings(str(tmp_path)))
    hooks = hooks_of(model, logits("lm_head"))
    seen: list[Tensor] = []
    with extractor(model.runs(hooks), hooks, lambda _, x: seen.append(x.clone())) as passes:
        passes.run(IDS, MASK)
        passes.run(IDS, MASK)
    with torch.no_grad():
        expected = tiny.language_model("gpt2")(IDS, attention_mask=MASK).logits
    assert [torch.equal(one, expected) for one in seen] == [True, True]


def test_any_module_of_a_head_is_known_by_its_name_in_the_full_model() -> None:
    full = tiny.randomise(BertForMaskedLM(tiny.config("bert")).eval())
    model = given(full, ModelSettings("x"))
    hooks = hooks_of(model, logits("cls.predictions.decoder"))
    with torch.no_grad():
        expected = full(IDS, attention_mask=MASK).logits
    assert torch.equal(record(model.runs(hooks), hooks)["logits", 0], expected)


def test_the_head_is_not_run_unless_it_is_a_site() -> None:
    model = handed_over("gpt2")
    called: list[bool] = []
    model.head.register_forward_hook(lambda *_: called.append(True))  # type: ignore[union-attr]
    hooks = hooks_of(model, SiteSettings(("resid_post",)))
    record(model.runs(hooks), hooks)
    assert not called


def test_a_spelling_of_the_full_model_still_means_the_backbone() -> None:
    model = handed_over("gpt2")
    sites = SiteSettings((), custom=(CustomSite("mine", "transformer.wte"),))
    hooks = hooks_of(model, sites)
    assert hooks[0].module == "wte"
    assert model.runs(hooks) is model.backbone


def test_where_there_is_no_head_or_the_name_is_taken() -> None:
    bare = given(tiny.backbone("gpt2"), ModelSettings("x"))
    assert bare.full is None
    with pytest.raises(ModelError, match="GPT2Model has no module 'lm_head'"):
        hooks_of(bare, logits("lm_head"))
    model = handed_over("gpt2")
    clash = SiteSettings(("mlp",), custom=(CustomSite("mlp", "lm_head"),))
    with pytest.raises(RecipeError, match="the name is taken"):
        hooks_of(model, clash)
