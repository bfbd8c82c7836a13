"""Build a model without its weights, to see its class, its parameters and its modules."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.configuration import loading
from neuronmap_sql.ingest.models.families import Family
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["pooling", "skeleton", "split"]

_HEADS = {"causal": AutoModelForCausalLM, "seq2seq": AutoModelForSeq2SeqLM}
_WITH_HEAD = ("LMHeadModel", "ForCausalLM", "ForConditionalGeneration")


def skeleton(settings: ModelSettings, config: Any, family: Family | None, gguf: bool) -> nn.Module:
    """Build the model on the meta device: no memory, no weights.

    It has a language modelling head if the family has one that is linear and the checkpoint says
    that it holds one. Poolers, which only serve classification, are left out.

    Raises:
        ModelError: transformers cannot build it, or not with the attention kernel asked for.
    """
    with loading(settings), torch.device("meta"):
        options: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
        if settings.attention != "auto":
            options["attn_implementation"] = settings.attention
        model: Any = _auto(config, family, gguf).from_config(config, **options)
        if pooling(type(model)):
            kernel = {key: options[key] for key in ("attn_implementation",) if key in options}
            model = type(model)._from_config(config, **kernel, **pooling(type(model)))
    built: nn.Module = model
    return built


def pooling(kind: type[nn.Module]) -> dict[str, Any]:
    """Return the argument that leaves a pooler out, for a class of models that may have one."""
    known = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if known else {}


def _auto(config: Any, family: Family | None, gguf: bool) -> Any:
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if not gguf and not architecture.endswith(_WITH_HEAD):
        return AutoModel
    if family is None:
        return AutoModelForCausalLM if architecture.endswith(_WITH_HEAD[:2]) else AutoModel
    return _HEADS.get(family.head, AutoModel)


def split(model: Any, config: Any) -> tuple[nn.Module, nn.Module | None]:
    """Return the backbone and the output embedding (or None) of a model, sharing its weights."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    backbone: nn.Module = getattr(model, "base_model", model)
    if head is not None and backbone is model:
        backbone = _beside(model, config)
    return backbone, head


def _beside(model: nn.Module, config: Any) -> nn.Module:
    """Return the backbone of a model whose blocks hang on the model with the head itself (T5)."""
    with torch.device("meta"):
        backbone: nn.Module = AutoModel.from_config(config)
    theirs = dict(model.named_children())
    for name, _ in list(backbone.named_children()):
        if name not in theirs:
            raise ModelError(f"{type(model).__name__} has no part {name!r} of its backbone")
        setattr(backbone, name, theirs[name])
    return backbone.eval()
