"""Load models: a folder, a GGUF file, or a hub id, as a backbone that can be hooked.

Weights are read once. A language model is loaded with its head, so that tied embeddings are right,
but the head is only run where it is a site. Masked language models and the like are loaded without
their head.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.configuration import (
    choose_family,
    loading,
    read_config,
    read_tokenizer,
)
from neuronmap_sql.ingest.models.describe import information
from neuronmap_sql.ingest.models.devices import choose_device, choose_dtype, placement
from neuronmap_sql.ingest.models.families import Family
from neuronmap_sql.ingest.models.finder import propose
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.skeleton import pooling, skeleton, split
from neuronmap_sql.ingest.models.source import Source, find, weights_hash
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["from_module", "given", "load"]

_NOTHING = Source("module", Path(), None, (), "module", ())
"""The files of a module: none."""


def load(settings: ModelSettings) -> LoadedModel:
    """Load a model and its tokenizer.

    Raises:
        ModelError: the files, the device, the dtype or the attention kernel are not to be had
            here, the weights do not fit the model, or a package is missing; says what to do.
        UnknownNameError: no family of that name.
    """
    device = choose_device(settings.device)
    source = find(settings)
    config = read_config(source, settings)
    dtype = choose_dtype(settings, config, device)
    family = choose_family(settings, config)
    model = _read_weights(settings, source, config, family, dtype)
    if settings.device_map == "none":
        model = model.to(device)
    backbone, head = split(model, config)
    if settings.family == "find":
        family = propose(backbone)
    tokenizer = read_tokenizer(source, settings)
    info = information(settings, source, config, family, model, tokenizer, weights_hash(source))
    attention = str(getattr(backbone.config, "_attn_implementation", None) or "eager")
    return LoadedModel(
        backbone, head, tokenizer, config, family, info, placement(model), dtype, attention,
        full=None if model is backbone else model,
    )  # fmt: skip


def from_module(
    model: nn.Module, name: str, tokenizer: Any = None, family: Family | None = None
) -> LoadedModel:
    """Take a PyTorch module as a model, as it is and where it is.

    Args:
        model: takes token ids [batch, position] as its first argument.
        name: the column `model`.
        tokenizer: tokenizer of transformers, if there is one.
        family: where its sites are; without it only custom sites can be recorded.
    """
    config = getattr(model, "config", None)
    backbone, head = split(model, config)
    source, digest = _of_module(model)
    settings = ModelSettings(source=source.name, name=name)
    return LoadedModel(
        backbone=backbone.eval(),
        head=head,
        tokenizer=tokenizer,
        config=config,
        family=family,
        info=information(settings, source, config, family, model, tokenizer, digest),
        placement=placement(model),
        dtype=next(model.parameters(), torch.empty(0)).dtype,
        attention=str(getattr(config, "_attn_implementation", None) or "eager"),
        full=None if model is backbone else model.eval(),
    )


def given(model: nn.Module, settings: ModelSettings, tokenizer: Any = None) -> LoadedModel:
    """Take a PyTorch module as the model of a recipe: its name and family are the recipe's.

    A module with a configuration of transformers that a family knows is mapped by it. Without a
    tokenizer, `model.tokenizer` says where one is.

    Raises:
        ModelError: the finder is to map it, and sees no blocks in it.
        UnknownNameError: no family of that name.
    """
    config = getattr(model, "config", None)
    if settings.family == "find":
        family: Family | None = propose(split(model, config)[0])
    else:
        family = None if config is None else choose_family(settings, config)
    if tokenizer is None and settings.tokenizer:
        tokenizer = read_tokenizer(_NOTHING, settings)
    return from_module(model, settings.key, tokenizer, family)


def _read_weights(
    settings: ModelSettings, source: Source, config: Any, family: Family | None, dtype: torch.dtype
) -> nn.Module:
    plan = skeleton(settings, config, family, source.gguf is not None)
    options: dict[str, Any] = {"config": config, "dtype": dtype, "output_loading_info": True}
    if source.gguf:
        options["gguf_file"] = source.gguf
    else:
        options["use_safetensors"] = source.weights_format == "safetensors"
    if settings.attention != "auto":
        options["attn_implementation"] = settings.attention
    if settings.device_map != "none":
        options |= {"device_map": settings.device_map, "max_memory": _limits(settings)}
    with loading(settings), redirect_stderr(StringIO() if source.gguf else sys.stderr):
        # The GGUF reader draws a progress bar that nothing else turns off.
        kind: Any = type(plan)
        model, report = kind.from_pretrained(source.folder, **options, **pooling(kind))
    _refuse_missing(settings, model, report)
    loaded: nn.Module = model.eval()
    return loaded


def _limits(settings: ModelSettings) -> dict[int | str, str] | None:
    """Return `max_memory` as transformers takes it: GPUs by their numbers."""
    limits = settings.max_memory.items()
    return {int(key) if key.isdigit() else key: most for key, most in limits} or None


def _refuse_missing(settings: ModelSettings, model: nn.Module, report: dict[str, Any]) -> None:
    # transformers fills in random numbers and only logs a warning.
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{settings.source!r} lacks {len(missing)} weights of a {type(model).__name__}, such "
            f"as {missing[0]!r}: the checkpoint does not fit its config.json"
        )


def _of_module(model: nn.Module) -> tuple[Source, str]:
    """Return what stands for the files of a module: its weights have only a hash."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_content(name, value))
    return Source(type(model).__name__, Path(), None, (), "module", ()), digest.hexdigest()


def _content(name: str, value: Any) -> bytes:
    if not isinstance(value, Tensor):
        return pickle.dumps(value)  # what a module's get_extra_state gives
    if value.is_meta:
        raise ModelError(f"the weights {name!r} are on the meta device: load them first")
    dense = value.detach() if value.layout == torch.strided else value.detach().to_dense()
    # Flat, because a number alone has no bytes to view.
    return dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
