"""What is known of a model: from its configuration alone, or once it is loaded."""

from __future__ import annotations

import json
import re
from typing import Any

from torch import nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.data.vocabulary import definition, definition_hash
from neuronmap_sql.ingest.models.configuration import choose_family, read_config, read_tokenizer
from neuronmap_sql.ingest.models.devices import stored_dtype
from neuronmap_sql.ingest.models.families import Family
from neuronmap_sql.ingest.models.loaded import ModelInfo
from neuronmap_sql.ingest.models.skeleton import skeleton, split
from neuronmap_sql.ingest.models.source import Source, find
from neuronmap_sql.ingest.models.weights_map import neurons
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["describe", "information", "tokenizer_hash"]

_USUAL = {
    "d_model": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
    "activation": "hidden_act",
}
"""Attributes of transformers' configurations, where a family file does not say otherwise."""


def describe(settings: ModelSettings) -> ModelInfo:
    """Describe a model from its configuration, without reading its weights.

    Raises:
        ModelError: its files cannot be found or understood.
    """
    source = find(settings, weights=False)
    config = read_config(source, settings)
    family = choose_family(settings, config)
    model = skeleton(settings, config, family, source.gguf is not None)
    tokenizer = read_tokenizer(source, settings)
    return information(settings, source, config, family, model, tokenizer)


def information(
    settings: ModelSettings,
    source: Source,
    config: Any,
    family: Family | None,
    model: nn.Module,
    tokenizer: Any,
    weights_hash: str = "",
) -> ModelInfo:
    """Put together a row of `models`; `model` may be on the meta device."""
    facts = _facts(config, family)
    backbone, _ = split(model, config)
    dtype = stored_dtype(config) or stored_in(source)
    return ModelInfo(
        model=settings.key,
        name=settings.key.removesuffix(f"@{settings.revision}"),
        revision=settings.revision or None,
        step=_step(settings.revision),
        family=family.name if family else "none",
        architecture=type(backbone).__name__,
        source=settings.source,
        weights_format=source.weights_format,
        parameters=sum(p.numel() for p in model.parameters()),
        layers=layer_count(config, family),
        d_mlp=neurons(backbone, family) if family else None,
        gated=_gated(family),
        causal=family.causal if family else None,
        weights_hash=weights_hash,
        tokenizer_hash=tokenizer_hash(tokenizer),
        config=_json(config),
        dtype=str(dtype).removeprefix("torch.") if dtype else None,
        files=source.files,
        **facts,
    )


def layer_count(config: Any, family: Family | None) -> int:
    """Return the blocks of all stacks."""
    names = [stack.layers for stack in family.stacks] if family else ["num_hidden_layers"]
    return sum(int(getattr(config, name, 0) or 0) for name in names)


def tokenizer_hash(tokenizer: Any) -> str | None:
    """Return the hash of a tokenizer's definition; None without one, or for one in Python."""
    if tokenizer is None:
        return None
    try:
        return definition_hash(definition(tokenizer))
    except ModelError:
        return None


def _facts(config: Any, family: Family | None) -> dict[str, Any]:
    names = _USUAL | dict(family.config if family else {})
    reserved = names.pop("positions_reserved", 0)
    facts = {key: getattr(config, name, None) if name else None for key, name in names.items()}
    if names["kv_heads"] and facts["kv_heads"] is None:
        facts["kv_heads"] = facts["heads"]
    if facts["context"]:
        facts["context"] -= reserved
    return facts


def _gated(family: Family | None) -> bool | None:
    if family is None or not family.stacks[-1].weights.w_out:
        return None
    weights = family.stacks[-1].weights
    return bool(weights.w_up or weights.gate_up)


def stored_in(source: Source) -> str | None:
    """Return the number format of the first weight file's first tensor, from its header."""
    if source.weights_format != "safetensors" or not (source.folder / source.weights[0]).exists():
        return None  # still in the hub
    with (source.folder / source.weights[0]).open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    kinds = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
    found = (kinds.get(t["dtype"]) for key, t in header.items() if key != "__metadata__")
    return next((kind for kind in found if kind), None)


def _step(revision: str) -> int | None:
    match = re.search(r"step[-_=]?(\d+)", revision)
    return int(match[1]) if match else None


def _json(config: Any) -> str:
    # The place that it was loaded from is in `source`, and would name folders of this machine.
    known = config.to_dict() if hasattr(config, "to_dict") else {}
    content = {key: value for key, value in known.items() if key != "_name_or_path"}
    return json.dumps(content, sort_keys=True, default=str)
