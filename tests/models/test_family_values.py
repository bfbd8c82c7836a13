"""Every site of every family against an independent computation.

The tables here are written from the models' source code, not from the family files.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import tiny
import torch
import torch.nn.functional as F
from recording import IDS, MASK, everything, modules_of, record
from torch import Tensor, nn

from neuronmap_sql.ingest.models.families import families

Activation = Callable[[Tensor], Tensor]


def gelu_new(x: Tensor) -> Tensor:
    return (
        0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))
    )


def gelu_bloom(x: Tensor) -> Tensor:
    return x * 0.5 * (1.0 + torch.tanh(0.79788456 * x * (1 + 0.044715 * x * x)))


def gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


# case: stack prefix, path of the input projection, activation
BERT = [("", "encoder.layer.{}.intermediate.dense", F.gelu)]
NEOX = [("", "layers.{}.mlp.dense_h_to_4h", F.gelu)]
FALCON = [("", "h.{}.mlp.dense_h_to_4h", F.gelu)]
OPT = [("", "decoder.layers.{}.fc1", F.relu)]
FF = "block.{}.layer.{}.DenseReluDense"
PLAIN: dict[str, list[tuple[str, str, Activation]]] = {
    "gpt2": [("", "h.{}.mlp.c_fc", gelu_new)],
    "gpt_neo": [("", "h.{}.mlp.c_fc", gelu_new)],
    "gptj": [("", "h.{}.mlp.fc_in", gelu_new)],
    "codegen": [("", "h.{}.mlp.fc_in", gelu_new)],
    "gpt_neox": NEOX,
    "gpt_neox-sequential": NEOX,
    "opt": OPT,
    "opt-postnorm": OPT,
    "bloom": [("", "h.{}.mlp.dense_h_to_4h", gelu_bloom)],
    "falcon": FALCON,
    "falcon-new": FALCON,
    "falcon-sequential": FALCON,
    "phi": [("", "layers.{}.mlp.fc1", gelu_new)],
    "bert": BERT,
    "roberta": BERT,
    "xlm_roberta": BERT,
    "electra": BERT,
    "deberta": BERT,
    "deberta_v2": BERT,
    "distilbert": [("", "transformer.layer.{}.ffn.lin1", F.gelu)],
    "t5": [
        ("encoder.", "encoder.block.{}.layer.1.DenseReluDense.wi", F.relu),
        ("decoder.", "decoder.block.{}.layer.2.DenseReluDense.wi", F.relu),
    ],
    "bart": [
        ("encoder.", "encoder.layers.{}.fc1", F.gelu),
        ("decoder.", "decoder.layers.{}.fc1", F.gelu),
    ],
}
T5_GATED = [
    ("encoder.", "encoder.block.{}.layer.1.DenseReluDense.", "wi_0", "wi_1", gelu_new),
    ("decoder.", "decoder.block.{}.layer.2.DenseReluDense.", "wi_0", "wi_1", gelu_new),
]
LLAMA = [("", "layers.{}.mlp.", "gate_proj", "up_proj", F.silu)]
GEMMA = [("", "layers.{}.mlp.", "gate_proj", "up_proj", gelu_tanh)]
GATED: dict[str, list[tuple[str, str, str, str, Activation]]] = {
    **dict.fromkeys(("llama", "llama-bias", "mistral", "qwen2", "qwen3", "olmo2"), LLAMA),
    **dict.fromkeys(("gemma", "gemma2", "gemma3"), GEMMA),
    **dict.fromkeys(("t5-gated", "mt5"), T5_GATED),
}
FUSED = {
    "phi3": ("layers.{}.mlp.gate_up_proj", F.silu),
    "modernbert": ("layers.{}.mlp.Wi", F.gelu),
}
SHARED = {"albert": (3, 1), "albert-groups": (4, 2)}
EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss")


def projected(module: nn.Module, x: Tensor) -> Tensor:
    """Apply a projection's raw weights, as its own source code does."""
    weight, bias = module.weight, module.bias
    if type(module).__name__ == "Conv1D":
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).reshape(*x.shape[:-1], -1)
    if type(module).__name__ == "FalconLinear":
        return x @ weight.T if bias is None else x @ weight.T + bias
    return F.linear(x, weight, bias)


def layers_of(case: str, site: str) -> list[int]:
    return sorted(layer for name, layer in everything(case)[3] if name == site)


def same(found: Tensor, expected: Tensor) -> bool:
    return torch.equal(found, expected.reshape(found.shape))


def test_every_family_file_and_every_small_model_is_tested() -> None:
    tested = {*PLAIN, *GATED, *FUSED, *SHARED, *EXPERTS}
    assert tested == {*tiny.CONFIGS}
    assert {everything(case)[1].name for case in tested} == {*families()}


@pytest.mark.parametrize("case", PLAIN)
def test_mlp_is_the_activation_of_the_input_projection(case: str) -> None:
    model, _, _, values = everything(case)
    for prefix, path, act in PLAIN[case]:
        layers = layers_of(case, f"{prefix}mlp")
        inputs = modules_of(model, [path.format(n) for n in layers], "input")
        for n in layers:
            x = inputs[path.format(n)][0]
            expected = act(projected(model.get_submodule(path.format(n)), x))
            assert same(values[f"{prefix}mlp", n], expected)
            assert not same(values[f"{prefix}mlp", (n + 1) % len(layers)], expected)


@pytest.mark.parametrize("case", GATED)
def test_mlp_is_the_activated_gate_times_up(case: str) -> None:
    model, _, _, values = everything(case)
    for prefix, path, gate, up, act in GATED[case]:
        layers = layers_of(case, f"{prefix}mlp")
        inputs = modules_of(model, [path.format(n) + gate for n in layers], "input")
        for n in layers:
            x = inputs[path.format(n) + gate][0]
            gates = projected(model.get_submodule(path.format(n) + gate), x)
            ups = projected(model.get_submodule(path.format(n) + up), x)
            assert same(values[f"{prefix}mlp", n], act(gates) * ups)
            assert not same(values[f"{prefix}mlp", n], gates * act(ups))


@pytest.mark.parametrize("case", FUSED)
def test_fused_projections_hold_the_gate_first(case: str) -> None:
    model, _, _, values = everything(case)
    path, act = FUSED[case]
    layers = layers_of(case, "mlp")
    inputs = modules_of(model, [path.format(n) for n in layers], "input")
    for n in layers:
        both = projected(model.get_submodule(path.format(n)), inputs[path.format(n)][0])
        gate, up = both.chunk(2, dim=-1)
        assert same(values["mlp", n], act(gate) * up)
        assert not same(values["mlp", n], gate * act(up))


@pytest.mark.parametrize("case", SHARED)
def test_layers_that_share_modules_are_told_apart_by_call(case: str) -> None:
    model, _, hooks, values = everything(case)
    layers, groups = SHARED[case]
    paths = [f"encoder.albert_layer_groups.{g}.albert_layers.0.ffn" for g in range(groups)]
    inputs = modules_of(model, paths, "input")
    assert layers_of(case, "mlp") == list(range(layers))
    for n in range(layers):
        group, call = n * groups // layers, n % (layers // groups)
        expected = gelu_new(
            projected(model.get_submodule(paths[group]), inputs[paths[group]][call])
        )
        assert same(values["mlp", n], expected)
    last = next(hook for hook in hooks if (hook.site, hook.layer) == ("mlp", layers - 1))
    only = record(model, [last])
    assert torch.equal(only["mlp", layers - 1], values["mlp", layers - 1])


def test_the_shared_expert_is_a_gated_mlp() -> None:
    model, _, _, values = everything("qwen2_moe")
    path = "layers.1.mlp.shared_expert.gate_proj"
    x = modules_of(model, [path], "input")[path][0]
    expert = model.get_submodule("layers.1.mlp.shared_expert")
    expected = F.silu(projected(expert.gate_proj, x)) * projected(expert.up_proj, x)
    assert same(values["shared_mlp", 1], expected)


@pytest.mark.parametrize("case", tiny.CONFIGS)
def test_the_residual_stream_is_the_models_hidden_states(case: str) -> None:
    model, family, _, values = everything(case)
    for stack, states in hidden_states(model).items():
        prefix = "" if stack == "blocks" else f"{stack}."
        count = len(layers_of(case, f"{prefix}resid_pre"))
        assert len(states) == count + 1
        for n in range(count):
            assert torch.equal(values[f"{prefix}resid_pre", n], states[n])
            if n < count - 1:
                assert torch.equal(values[f"{prefix}resid_post", n], states[n + 1])
                assert torch.equal(
                    values[f"{prefix}resid_post", n], values[f"{prefix}resid_pre", n + 1]
                )
    assert len(family.stacks) == len(hidden_states(model))


def hidden_states(model: nn.Module) -> dict[str, tuple[Tensor, ...]]:
    both = model.config.is_encoder_decoder
    second = {"decoder_input_ids": IDS, "decoder_attention_mask": MASK} if both else {}
    with torch.no_grad():
        out = model(IDS, attention_mask=MASK, output_hidden_states=True, **second)
    if both:
        return {"encoder": out.encoder_hidden_states, "decoder": out.decoder_hidden_states}
    return {"blocks": out.hidden_states}


@pytest.mark.parametrize("case", tiny.CONFIGS)
def test_what_the_sublayers_write_adds_up(case: str) -> None:
    _, family, _, values = everything(case)
    sites = {site.name for site in family.sites}
    for stack in family.stacks:
        prefix = "" if stack.name == "blocks" else f"{stack.name}."
        for n in layers_of(case, f"{prefix}resid_pre"):
            v = {site: values[prefix + site, n] for site in short(sites, prefix)}
            for state, written, sum_ in additions(v):
                torch.testing.assert_close(state + written, sum_)


def short(sites: set[str], prefix: str) -> list[str]:
    own = [site for site in sites if site.startswith(prefix)]
    return [site.removeprefix(prefix) for site in own]


def additions(v: dict[str, Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (state, what is added, sum) for one layer, in sequence or side by side."""
    if "resid_mid" not in v:
        return [(v["resid_pre"] + v["attn_out"], v["mlp_out"], v["resid_post"])]
    mid, post = v.get("resid_mid_sum", v["resid_mid"]), v.get("resid_post_sum", v["resid_post"])
    steps = [(v["resid_pre"], v["attn_out"], mid)]
    last = v["resid_mid"]
    if "resid_mid_cross" in v:
        crossed = v.get("resid_mid_cross_sum", v["resid_mid_cross"])
        steps.append((last, v["cross_attn_out"], crossed))
        last = v["resid_mid_cross"]
    return [*steps, (last, v["mlp_out"], post)]


POST_NORM = {
    "bert": ("encoder.layer.{}.attention.output.LayerNorm", "encoder.layer.{}.output.LayerNorm"),
    "distilbert": (
        "transformer.layer.{}.sa_layer_norm",
        "transformer.layer.{}.output_layer_norm",
    ),
    "opt-postnorm": (
        "decoder.layers.{}.self_attn_layer_norm",
        "decoder.layers.{}.final_layer_norm",
    ),
}


@pytest.mark.parametrize("case", POST_NORM)
def test_post_norm_states_are_the_normed_sums(case: str) -> None:
    model, _, _, values = everything(case)
    for name, path in zip(("mid", "post"), POST_NORM[case], strict=True):
        norm = model.get_submodule(path.format(1))
        summed, state = values[f"resid_{name}_sum", 1], values[f"resid_{name}", 1]
        expected = F.layer_norm(summed, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        torch.testing.assert_close(state, expected)
        assert not torch.allclose(summed, state)


OUTPUT_NORM = {
    "gemma2": "layers.{}.post_attention_layernorm",
    "gemma3": "layers.{}.post_attention_layernorm",
    "olmo2": "layers.{}.post_attention_layernorm",
}


@pytest.mark.parametrize("case", tiny.CONFIGS)
def test_head_out_goes_through_the_output_projection(case: str) -> None:
    model, _, hooks, values = everything(case)
    for hook in hooks:
        if not hook.site.endswith("head_out"):
            continue
        assert hook.heads == 4
        assert hook.width % hook.heads == 0
        out = projected(model.get_submodule(hook.module), values[hook.site, hook.layer])
        if case in OUTPUT_NORM:
            out = model.get_submodule(OUTPUT_NORM[case].format(hook.layer))(out)
        wanted = hook.site.replace("head_out", "attn_out")
        torch.testing.assert_close(values[wanted, hook.layer], out)


@pytest.mark.parametrize("case", ["gpt2", "llama", "bert", "gpt_neox"])
def test_heads_lie_side_by_side_in_the_order_of_the_attention_weights(case: str) -> None:
    model = tiny.backbone(case, attn_implementation="eager")
    _, _, hooks, _ = everything(case)
    values = record(model, hooks)
    with torch.no_grad():
        out = model(IDS, attention_mask=MASK, output_attentions=True)
    pattern = out.attentions[1]
    v = value_vectors(case, model)
    expected = torch.einsum("bhqk,bkhd->bqhd", pattern, v).flatten(2)
    torch.testing.assert_close(values["head_out", 1], expected)
    assert not torch.allclose(values["head_out", 1], expected.flip(-1))


def value_vectors(case: str, model: nn.Module) -> Tensor:
    """Return the values [batch, position, head, width] of layer 1, by the model's own split."""
    path = {
        "gpt2": "h.1.attn.c_attn",
        "llama": "layers.1.self_attn.v_proj",
        "bert": "encoder.layer.1.attention.self.value",
        "gpt_neox": "layers.1.attention.query_key_value",
    }[case]
    out = modules_of(model, [path], "output")[path][0]
    if case == "gpt2":
        return out.chunk(3, -1)[2].unflatten(-1, (4, -1))
    if case == "gpt_neox":
        return out.unflatten(-1, (4, -1)).chunk(3, -1)[2]
    if case == "llama":  # two query heads share a key and value head
        return out.unflatten(-1, (2, -1)).repeat_interleave(2, dim=2)
    return out.unflatten(-1, (4, -1))


@pytest.mark.parametrize("case", tiny.CONFIGS)
def test_padding_on_the_right_changes_nothing(case: str) -> None:
    model, _, hooks, values = everything(case)
    alone = record(model, hooks, IDS[1:, :4], MASK[1:, :4])
    for place, value in alone.items():
        torch.testing.assert_close(values[place][1:, :4], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", ["t5", "bart"])
def test_the_decoder_reads_the_tokens_unshifted_and_causally(case: str) -> None:
    model, _, hooks, _ = everything(case)
    changed = IDS.clone()
    changed[0, -1] = 90
    # With the encoder's states as they were, only the row of the changed token differs.
    one, other = (decoder_rows(model, hooks, ids) for ids in (IDS, changed))
    assert torch.equal(one[0, :-1], other[0, :-1])
    assert not torch.allclose(one[0, -1], other[0, -1])


def decoder_rows(model: nn.Module, hooks: list, ids: Tensor) -> Tensor:
    first = [hook for hook in hooks if (hook.site, hook.layer) == ("decoder.resid_mid", 0)]
    return record(model, first, ids, MASK)["decoder.resid_mid", 0]
