"""The finder's proposals against the curated maps."""

from __future__ import annotations

import tomllib

import pytest
import tiny
import torch
from recording import everything, record
from torch import nn

from neuronmap_sql.errors import ModelError, UnknownNameError
from neuronmap_sql.ingest.models.families import parse
from neuronmap_sql.ingest.models.finder import propose, to_toml
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import SiteSettings

SHARED = ("albert", "albert-groups")
EXPERTS = ("mixtral", "qwen3_moe", "gpt_oss")
NORM_AFTER = ("gemma2", "gemma3", "olmo2")
FOUND = [case for case in tiny.CONFIGS if case not in (*SHARED, *EXPERTS, "qwen2_moe")]


@pytest.mark.parametrize("case", FOUND)
def test_the_proposal_is_the_curated_map(case: str) -> None:
    model, family, _, _ = everything(case)
    curated = {site.name: (site.module, site.capture) for site in family.sites}
    for site in propose(model).sites:
        if case in NORM_AFTER and site.name in ("mlp_out", "attn_out"):
            continue  # the finder gives the projection, the curated map what the norm makes of it
        assert curated[site.name] == (site.module, site.capture)
    names = {site.name.rpartition(".")[2] for site in propose(model).sites}
    assert {"mlp", "mlp_out", "resid_pre", "resid_post", "attn_out", "head_out"} <= names


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


def test_a_model_without_blocks_is_refused() -> None:
    with pytest.raises(ModelError, match="0 stacks of blocks"):
        propose(nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 4)))
