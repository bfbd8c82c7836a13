"""The finder's proposals against the curated maps."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tiny
import torch
from recording import everything, record
from torch import nn
from transformers import AutoConfig, AutoModel

from neuronmap_sql.errors import ModelError, UnknownNameError
from neuronmap_sql.ingest.models.families import Family, parse
from neuronmap_sql.ingest.models.finder import propose, to_toml
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import SiteSettings

SHARED = ("albert", "albert-groups")
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss")
NORM_AFTER = ("gemma2", "gemma3", "olmo2")
FOUND = [case for case in tiny.CONFIGS if case not in (*SHARED, *EXPERTS)]

GROUPED = tiny.PLAIN | tiny.MLP | {"num_key_value_heads": 2}
RECURRENT = tiny.COMMON | {"hidden_size": 32, "num_hidden_layers": 3}
UNMAPPED: dict[str, dict[str, Any]] = {
    "granite": GROUPED | {"residual_multiplier": 0.5},
    "cohere": GROUPED,
    "apertus": GROUPED | {"hidden_act": "xielu"},
    "recurrent_gemma": GROUPED | {"head_dim": 8, "block_types": ["recurrent"]},
    "rwkv": RECURRENT | {"intermediate_size": 72, "context_length": 64},
    "mamba": RECURRENT | {"state_size": 4},
    "mamba2": RECURRENT | {"state_size": 4, "num_heads": 8, "head_dim": 8, "n_groups": 1},
}
"""Architectures without a family file, by model type."""


def unmapped(model_type: str) -> nn.Module:
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(model_type, **UNMAPPED[model_type]))
    return tiny.randomise(model.eval())


def places(family: Family) -> dict[str, tuple[str, str]]:
    return {site.name: (site.module, site.capture) for site in family.sites}


@pytest.mark.parametrize("case", FOUND)
def test_the_proposal_is_the_curated_map(case: str) -> None:
    model, family, _, _ = everything(case)
    curated, proposed = places(family), places(propose(model))
    for name, place in proposed.items():
        if case in NORM_AFTER and name in ("mlp_out", "attn_out"):
            continue  # the finder gives the projection, the curated map what the norm makes of it
        assert curated[name] == place
    names = {name.rpartition(".")[2] for name in proposed}
    assert {"mlp", "mlp_out", "resid_pre", "resid_post", "attn_out", "head_out"} <= names
    # The state between attention and MLP is found where a norm reads it.
    read = {name for name, place in curated.items() if read_by_a_norm(name, *place)}
    assert read == {name for name in proposed if "resid_mid" in name}


def read_by_a_norm(name: str, module: str, capture: str) -> bool:
    norm = "norm" in module or module.endswith("ln_2")
    return "resid_mid" in name and not name.endswith("_sum") and capture == "input" and norm


@pytest.mark.parametrize("case", ["gpt2", "llama", "t5-gated", "bart"])
def test_the_proposal_as_a_file_is_a_family(case: str) -> None:
    model, family, _, values = everything(case)
    again = parse(tomllib.loads(to_toml(propose(model))), "proposal", "mine")
    hooks = resolve(model, again, SiteSettings(tuple(site.name for site in again.sites)))
    seen = record(model, hooks)
    assert all(torch.equal(seen[place], values[place]) for place in seen)
    for proposed, curated in zip(again.stacks, family.stacks, strict=True):
        assert proposed.weights.w_in == curated.weights.w_in
        assert proposed.weights.w_up == curated.weights.w_up
        assert proposed.layers == curated.layers


@pytest.mark.parametrize("case", EXPERTS)
def test_fused_experts_are_left_out_with_a_reason(case: str) -> None:
    model, _, _, values = everything(case)
    family = propose(model)
    with pytest.raises(UnknownNameError, match="no site 'mlp': the finder sees no activation"):
        resolve(model, family, SiteSettings(("mlp",)))
    seen = record(model, resolve(model, family, SiteSettings(("head_out", "resid_post"))))
    assert all(torch.equal(seen[place], values[place]) for place in seen)


@pytest.mark.parametrize("case", SHARED)
def test_shared_layers_are_refused(case: str) -> None:
    with pytest.raises(ModelError, match=r"0 stacks of blocks.*\[sites.NAME\]"):
        propose(everything(case)[0])


def test_a_sequential_block_has_a_state_between_attention_and_mlp() -> None:
    model = unmapped("granite")
    family = propose(model)
    assert places(family)["resid_mid"] == ("layers.{layer}.post_attention_layernorm", "input")
    names = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
    seen = record(model, resolve(model, family, SiteSettings(names)))
    pre, attn, mid, mlp, post = (seen[name, 1] for name in names)
    torch.testing.assert_close(mid, pre + 0.5 * attn)
    torch.testing.assert_close(post, mid + 0.5 * mlp)


def test_a_parallel_block_has_none() -> None:
    found = places(propose(unmapped("cohere")))
    assert {"mlp", "attn_out"} <= set(found)
    assert "resid_mid" not in found


def test_a_token_shift_is_no_activation_function() -> None:
    """RWKV shifts tokens with a ZeroPad2d; its activation function is no module."""
    model = unmapped("rwkv")
    family = propose(model)
    assert places(family) == {
        "resid_pre": ("blocks.{layer}", "input"),
        "resid_post": ("blocks.{layer}", "output"),
        "attn_out": ("blocks.{layer}.attention.output", "output"),
    }
    with pytest.raises(UnknownNameError, match="no site 'mlp': the finder sees no activation"):
        resolve(model, family, SiteSettings())
    resolve(model, family, SiteSettings(tuple(places(family))))


@pytest.mark.parametrize("model_type", ["mamba", "mamba2"])
def test_a_mixer_is_no_attention_and_has_no_neurons(model_type: str) -> None:
    assert set(places(propose(unmapped(model_type)))) == {"resid_pre", "resid_post"}


def test_the_neurons_are_those_of_the_last_activation_function() -> None:
    """RecurrentGemma has one in its recurrent layer too, before a projection of fitting shape."""
    found = places(propose(unmapped("recurrent_gemma")))
    assert found["mlp"] == ("layers.{layer}.mlp_block.down_proj", "input")
    assert "attn_out" not in found


def test_an_activation_function_with_parameters_is_seen() -> None:
    found = places(propose(unmapped("apertus")))
    assert found["mlp"] == ("layers.{layer}.mlp.down_proj", "input")


def test_the_reason_for_an_absent_site_is_in_the_file() -> None:
    again = parse(tomllib.loads(to_toml(propose(unmapped("rwkv")))), "proposal", "mine")
    assert "the finder sees no activation function" in again.stacks[0].absent["mlp"]


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="0 stacks of blocks"):
        propose(nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 4)))
