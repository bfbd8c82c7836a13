"""Weights and unembeddings, by what they compute: the recorded activations and the logits."""

from __future__ import annotations

import pytest
import tiny
import torch
from recording import IDS, MASK, everything, modules_of, record
from test_family_values import FUSED, GATED, PLAIN
from torch import Tensor

from neuronmap_sql.ingest.models.families import detect
from neuronmap_sql.ingest.models.forward import forward
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import from_module
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.models.weights_map import MlpWeights, Norm, mlp_weights, unembedding
from neuronmap_sql.ingest.settings import SiteSettings

GATE_AND_UP = {case: [(s, p + gate, act) for s, p, gate, _, act in GATED[case]] for case in GATED}
IN_ONE = {case: [("", path, act)] for case, (path, act) in FUSED.items()}
CASES = PLAIN | GATE_AND_UP | IN_ONE
CAUSAL = [case for case in tiny.CONFIGS if detect(tiny.config(case)).head == "causal"]


def loaded(case: str) -> LoadedModel:
    model, family, _, _ = everything(case)
    return from_module(model, case, family=family)


def normed(norm: Norm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True) if norm.kind == "layernorm" else x
    y = centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + 1e-6)
    y = y if norm.gain is None else y * norm.gain
    return y if norm.bias is None else y + norm.bias


@pytest.mark.parametrize("case", CASES)
def test_weights_compute_the_recorded_neurons(case: str) -> None:
    model = loaded(case)
    values = everything(case)[3]
    for prefix, path, act in CASES[case]:
        weights = mlp_weights(model, 1, f"{prefix}mlp")
        assert weights is not None
        x = modules_of(model.backbone, [path.format(1)], "input")[path.format(1)][0]
        value = values[f"{prefix}mlp", 1]
        neurons = act(x @ weights.w_in.T + (0 if weights.bias is None else weights.bias))
        if weights.w_up is not None:
            neurons = neurons * (x @ weights.w_up.T + up_bias(case, model))
        torch.testing.assert_close(neurons.reshape(value.shape), value, rtol=1e-4, atol=1e-4)
        check_written(case, weights, value, values[f"{prefix}mlp_out", 1])
        check_norm(weights, prefix, values, x.reshape(*IDS.shape, -1))


def up_bias(case: str, model: LoadedModel) -> Tensor | int:
    if case == "llama-bias":
        bias: Tensor = model.backbone.get_submodule("layers.1.mlp.up_proj").bias
        return bias
    return 0


def check_written(case: str, weights: MlpWeights, value: Tensor, out: Tensor) -> None:
    if case in ("gemma2", "gemma3", "olmo2"):  # their mlp_out is after a norm
        return
    offset = out - value @ weights.w_out  # the output bias: the same for all tokens
    assert offset.std(dim=(0, 1)).max() < 1e-4


def check_norm(weights: MlpWeights, prefix: str, values: dict, x: Tensor) -> None:
    read = [s for s in ("resid_mid_cross", "resid_mid", "resid_pre") if (prefix + s, 1) in values]
    state = values[prefix + read[0], 1]
    expected = state if weights.norm is None else normed(weights.norm, state)
    torch.testing.assert_close(x, expected, rtol=1e-3, atol=1e-3)
    assert weights.norm is None or not torch.allclose(x, state)


@pytest.mark.parametrize("case", CAUSAL)
def test_the_unembedding_computes_the_logits(case: str) -> None:
    full = tiny.language_model(case)
    model = from_module(full, case, family=detect(full.config))
    last = model.info.layers - 1
    hooks = resolve(model.backbone, model.family, SiteSettings(("resid_post",), str(last)))
    state = record(model.backbone, hooks)["resid_post", last]
    found = unembedding(model)
    if case == "opt-postnorm":  # projects to another width before the head
        assert found is None
        return
    assert found is not None
    logits = (normed(found.norm, state) if found.norm else state) @ found.w_u.T
    with torch.no_grad():
        expected = full(IDS, attention_mask=MASK).logits
    cap = getattr(full.config, "final_logit_softcapping", None)
    logits = torch.tanh(logits / cap) * cap if cap else logits
    bias = getattr(full.get_output_embeddings(), "bias", None)
    logits = logits if bias is None else logits + bias
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", ["t5", "t5-gated", "bart"])
def test_the_unembedding_of_an_encoder_decoder_model(case: str) -> None:
    full = tiny.language_model(case)
    model = from_module(full, case, family=detect(full.config))
    assert model.backbone is not full
    hooks = resolve(model.backbone, model.family, SiteSettings(("decoder.resid_post",), "-1"))
    state = record(model.backbone, hooks)["decoder.resid_post", 2]
    found = unembedding(model)
    assert found is not None
    logits = (normed(found.norm, state) if found.norm else state) @ found.w_u.T
    with torch.no_grad():
        expected = forward(full, IDS, MASK).logits
    if case == "t5":  # tied embeddings are scaled
        logits = logits * full.config.d_model**-0.5
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_models_without_a_linear_read_out_have_no_unembedding() -> None:
    for case in ("bert", "albert", "modernbert"):
        assert unembedding(loaded(case)) is None


def test_experts_have_no_weights_of_neurons() -> None:
    assert mlp_weights(loaded("mixtral"), 0) is None


def test_groups_of_shared_layers_have_their_own_weights() -> None:
    model = loaded("albert-groups")
    found = [mlp_weights(model, layer) for layer in range(4)]
    w_in = [weights.w_in for weights in found if weights is not None]
    assert torch.equal(w_in[0], w_in[1])
    assert torch.equal(w_in[2], w_in[3])
    assert not torch.equal(w_in[1], w_in[2])
