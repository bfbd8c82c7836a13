"""Small models with random weights, one for each family and variant of a family."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

COMMON = {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
PLAIN = COMMON | {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
MLP = {"intermediate_size": 72}
GROUPED = PLAIN | MLP | {"num_key_value_heads": 2, "head_dim": 12}
GPT2 = COMMON | {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "n_inner": 72}
T5 = COMMON | {
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 72,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BART = COMMON | {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_ffn_dim": 72,
    "decoder_ffn_dim": 80,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "max_position_embeddings": 64,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 2,
}
DEBERTA = PLAIN | MLP | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
MOE = PLAIN | {"num_key_value_heads": 2}

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt_neo": (
        "gpt_neo",
        COMMON
        | {"hidden_size": 32, "num_layers": 2, "attention_types": [[["global", "local"], 1]]}
        | {"num_heads": 4, "intermediate_size": 72, "max_position_embeddings": 64},
    ),
    "gptj": ("gptj", GPT2 | {"rotary_dim": 4}),
    "gpt_neox": ("gpt_neox", PLAIN | MLP),
    "gpt_neox-sequential": ("gpt_neox", PLAIN | MLP | {"use_parallel_residual": False}),
    "codegen": ("codegen", GPT2 | {"rotary_dim": 4}),
    "opt": (
        "opt",
        PLAIN | {"ffn_dim": 72, "word_embed_proj_dim": 32},
    ),
    "opt-postnorm": (
        "opt",
        PLAIN | {"ffn_dim": 72, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "bloom": ("bloom", COMMON | {"hidden_size": 32, "n_layer": 3, "n_head": 4}),
    "falcon": ("falcon", PLAIN | {"ffn_hidden_size": 72}),
    "falcon-new": (
        "falcon",
        PLAIN | {"new_decoder_architecture": True, "num_kv_heads": 2, "ffn_hidden_size": 72},
    ),
    "falcon-sequential": (
        "falcon",
        PLAIN | {"parallel_attn": False, "alibi": True, "multi_query": False, "bias": True},
    ),
    "phi": ("phi", PLAIN | MLP),
    "bert": ("bert", PLAIN | MLP),
    "roberta": ("roberta", PLAIN | MLP),
    "xlm_roberta": ("xlm-roberta", PLAIN | MLP),
    "distilbert": (
        "distilbert",
        COMMON
        | {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 72}
        | {"max_position_embeddings": 64},
    ),
    "albert": ("albert", PLAIN | MLP | {"embedding_size": 16}),
    "albert-groups": (
        "albert",
        PLAIN
        | MLP
        | {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2}
        | {"inner_group_num": 1},
    ),
    "electra": ("electra", PLAIN | MLP | {"embedding_size": 16}),
    "deberta": ("deberta", DEBERTA),
    "deberta_v2": ("deberta-v2", DEBERTA | {"position_buckets": 8, "share_att_key": True}),
    "modernbert": (
        "modernbert",
        PLAIN | MLP | {"global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "t5": ("t5", T5 | {"feed_forward_proj": "relu"}),
    "t5-gated": ("t5", T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("mt5", T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "bart": ("bart", BART),
    "llama": ("llama", GROUPED),
    "llama-bias": ("llama", GROUPED | {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", GROUPED),
    "qwen2": ("qwen2", MOE | MLP),
    "qwen3": ("qwen3", GROUPED),
    "gemma": ("gemma", GROUPED),
    "gemma2": ("gemma2", GROUPED | {"sliding_window": 8}),
    "gemma3": ("gemma3_text", GROUPED | {"sliding_window": 8}),
    "phi3": ("phi3", MOE | MLP),
    "olmo2": ("olmo2", MOE | MLP),
    "mixtral": ("mixtral", MOE | MLP | {"num_local_experts": 4}),
    "qwen2_moe": (
        "qwen2_moe",
        MOE
        | MLP
        | {"moe_intermediate_size": 24, "shared_expert_intermediate_size": 40}
        | {"num_experts": 4, "num_experts_per_tok": 2},
    ),
    "qwen3_moe": (
        "qwen3_moe",
        MOE | MLP | {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
    ),
    "gpt_oss": (
        "gpt_oss",
        GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 8},
    ),
}


def config(case: str, **changes: Any) -> Any:
    """Return the small configuration of a case."""
    model_type, settings = CONFIGS[case]
    return AutoConfig.for_model(model_type, **(settings | changes))


def backbone(case: str, **changes: Any) -> nn.Module:
    """Return a small model without its head, biases and norms randomised too."""
    torch.manual_seed(0)
    model = AutoModel.from_config(config(case, **changes)).eval()
    return randomise(model)


def language_model(case: str) -> nn.Module:
    """Return a small model with its language modelling head."""
    torch.manual_seed(0)
    small = config(case)
    kind = AutoModelForSeq2SeqLM if small.is_encoder_decoder else AutoModelForCausalLM
    return randomise(kind.from_config(small).eval())


@torch.no_grad()
def randomise(model: nn.Module) -> nn.Module:
    """Give zero biases and constant gains random values, so that a forgotten one shows."""
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1) * 0.2)
    return model
