"""What is known of a model, and a model in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from neuronmap_sql.ingest.models.devices import Placement, release
from neuronmap_sql.ingest.models.families import Family
from neuronmap_sql.ingest.models.forward import Hook, forward

__all__ = ["LoadedModel", "ModelInfo"]


@dataclass(frozen=True)
class ModelInfo:
    """A row of the table `models`, less its run, with the weights' dtype and the files."""

    model: str
    """Name or name@revision."""
    name: str
    """Name without the revision."""
    revision: str | None
    """Revision or checkpoint."""
    step: int | None
    """Training step that the revision names."""
    family: str
    """Family file; `find` for the generic finder, `none` if no family is known."""
    architecture: str
    """Class that computes the model, without its head."""
    source: str
    """Folder, file or hub id."""
    weights_format: str
    """safetensors, gguf, pickle or module."""
    parameters: int
    """Parameters of the loaded model, tied ones once."""
    layers: int
    """Blocks, in all stacks."""
    d_model: int | None
    """Width of the residual stream."""
    d_mlp: int | None
    """Neurons of one MLP layer (of the decoder, where there are two stacks)."""
    heads: int | None
    """Attention heads of one layer."""
    kv_heads: int | None
    """Key and value heads of one layer."""
    vocabulary: int | None
    """Rows of the token embedding."""
    context: int | None
    """Longest input in tokens; None: no bound."""
    activation: str | None
    """Activation function of the MLP."""
    gated: bool | None
    """Whether a neuron is act(gate) * up."""
    causal: bool | None
    """Whether a token sees only earlier tokens."""
    weights_hash: str
    """SHA-256 of the weight files; empty while they have not been read."""
    tokenizer_hash: str | None
    """SHA-256 of the tokenizer's definition."""
    config: str
    """Configuration as JSON."""
    dtype: str | None = None
    """Number format of the stored weights, as the configuration says."""
    files: tuple[tuple[str, int], ...] = ()
    """The model's files: names and bytes."""


@dataclass
class LoadedModel:
    """A model ready to be hooked."""

    backbone: nn.Module
    """The model without its head; paths of hooks are relative to it."""
    head: nn.Module | None
    """Output embedding of a language model that has one: computed only when it is a site."""
    tokenizer: Any
    """Tokenizer of transformers, or None if the model comes without one."""
    config: Any
    """Configuration of transformers, or None."""
    family: Family | None
    """Family with the variant that the configuration asks for."""
    info: ModelInfo
    """What goes into the table `models`."""
    placement: Placement
    """Where it is."""
    dtype: torch.dtype
    """Number format of the forward pass."""
    attention: str
    """Attention kernel in use."""
    full: nn.Module | None = None
    """The model with its head, of the same weights; None where there is no more than `backbone`."""

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return self.placement.inputs

    def runs(self, hooks: Iterable[Hook]) -> nn.Module:
        """Return the module to run for hooks: with the head only where one lies outside."""
        inside = {path for path, _ in self.backbone.named_modules()}
        outside = any(hook.module not in inside for hook in hooks)
        return self.full if outside and self.full is not None else self.backbone

    def unload(self) -> tuple[int, int]:
        """Let the weights go, whoever still holds the model; it cannot run any more.

        Returns:
            Memory of its devices in use before and after, in bytes: of the process on a CPU.
        """
        before = _in_use(self.placement)
        if self.head is not None:
            release(self.head)
        release(self.full or self.backbone)
        return before, _in_use(self.placement)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Run one forward pass of the backbone, without gradients.

        Args:
            input_ids: token ids [batch, position], padded on the right.
            attention_mask: 1 for tokens, 0 for padding, same shape.
        """
        with torch.no_grad():
            return forward(self.backbone, input_ids, attention_mask)


def _in_use(placement: Placement) -> int:
    gpus = [device for device in placement.computing if device.type == "cuda"]
    if gpus:
        return sum(int(torch.cuda.memory_reserved(device)) for device in gpus)
    return int(psutil.Process().memory_info().rss)
