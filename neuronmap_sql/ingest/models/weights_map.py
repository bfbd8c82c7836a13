"""Read the MLP's weights and the unembedding out of a loaded model, in one orientation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError, nearest
from neuronmap_sql.ingest.models.devices import parameter
from neuronmap_sql.ingest.models.families import Family, Stack
from neuronmap_sql.ingest.models.loaded import LoadedModel

__all__ = ["MlpWeights", "Norm", "Unembedding", "mlp_weights", "neurons", "oriented", "unembedding"]


@dataclass(frozen=True)
class Norm:
    """A norm's elementwise parameters."""

    kind: str
    """layernorm (centres, then scales) or rmsnorm (only scales)."""
    gain: Tensor | None
    """What the normed state is multiplied with, [d_model]; for Gemma 1 + weight. None: nothing."""
    bias: Tensor | None
    """What is then added, [d_model]."""


@dataclass(frozen=True)
class MlpWeights:
    """Weights of one MLP layer, a row a neuron, float32 on the model's device."""

    w_in: Tensor
    """Input weights [neurons, d_model]; of the gate in a gated MLP."""
    w_up: Tensor | None
    """Up weights [neurons, d_model] of a gated MLP."""
    bias: Tensor | None
    """Input bias [neurons]; of the gate in a gated MLP."""
    w_out: Tensor
    """Output weights [neurons, d_model]."""
    norm: Norm | None
    """Norm that the MLP reads through; None: it reads the residual stream itself."""


@dataclass(frozen=True)
class Unembedding:
    """The linear map from the residual stream to the logits."""

    w_u: Tensor
    """[vocabulary, d_model], float32 on the model's device."""
    norm: Norm | None
    """Norm between the last block and the unembedding."""


def mlp_weights(loaded: LoadedModel, layer: int, site: str = "mlp") -> MlpWeights | None:
    """Return the weights of the neurons of a layer.

    Args:
        loaded: the model.
        layer: index in the stack; layers that share weights give the same.
        site: `mlp`, or `encoder.mlp`, `decoder.mlp`.

    Returns:
        None if the model's family maps no such weights (experts), or is not known.

    Raises:
        ModelError: the map names a module that is not there.
    """
    backbone, family = loaded.backbone, loaded.family
    stack = _stack(family, site)
    if family is None or stack is None or not stack.weights.w_out:
        return None
    w_in, w_up, bias = _input(loaded, stack, layer)
    out = _module(backbone, stack, stack.weights.w_out, layer)
    path = stack.weights.norm
    norm = _norm(_module(backbone, stack, path, layer), loaded, family) if path else None
    return MlpWeights(w_in, w_up, bias, _rows(out, loaded).T, norm)


def unembedding(loaded: LoadedModel) -> Unembedding | None:
    """Return the unembedding, or None where no linear map leads from the stream to the logits.

    That is so for models without a head, masked language models (their head has a layer of its
    own) and models that project to another width before the head (OPT-350m).
    """
    family = loaded.family
    if loaded.head is None or family is None or family.head == "none":
        return None
    w_u = _rows(loaded.head, loaded)
    if loaded.info.d_model not in (None, w_u.shape[1]):
        return None
    stack = family.stacks[-1]
    path = stack.weights.final_norm
    norm = _norm(_module(loaded.backbone, stack, path, 0), loaded, family) if path else None
    return Unembedding(w_u, norm)


def neurons(backbone: nn.Module, family: Family) -> int | None:
    """Return the neurons of an MLP layer of the last stack; also of a model without weights."""
    stack = family.stacks[-1]
    path = stack.weights.w_out
    return oriented(_module(backbone, stack, path, 0)).shape[1] if path else None


def _stack(family: Family | None, site: str) -> Stack | None:
    stacks = family.stacks if family else ()
    return next((s for s in stacks if any(m.name == site for m in s.sites)), None)


def _input(
    loaded: LoadedModel, stack: Stack, layer: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    backbone = loaded.backbone
    if stack.weights.gate_up:
        fused = _module(backbone, stack, stack.weights.gate_up, layer)
        gate, both = _rows(fused, loaded).chunk(2), parameter(fused, "bias", loaded.device)
        return gate[0], gate[1], None if both is None else both.chunk(2)[0]
    module = _module(backbone, stack, stack.weights.w_in, layer)
    path = stack.weights.w_up
    up = _rows(_module(backbone, stack, path, layer), loaded) if path else None
    return _rows(module, loaded), up, parameter(module, "bias", loaded.device)


def _module(backbone: nn.Module, stack: Stack, path: str, layer: int) -> nn.Module:
    path = path.replace("{layer}", str(layer))
    names = [name for name, _ in backbone.named_modules() if name]
    pattern = re.compile(re.escape(path).replace(r"\*", r"\d+"))
    found = [name for name in names if pattern.fullmatch(name)]
    if not found:
        raise ModelError(
            f"weights: {type(backbone).__name__} has no module {path!r}{nearest(path, names)}"
        )
    # Layers that share modules (*) are divided evenly among them, in order: ALBERT's groups.
    count = int(getattr(backbone.config, stack.layers)) if len(found) > 1 else 1
    return backbone.get_submodule(found[layer * len(found) // count if len(found) > 1 else 0])


def oriented(module: nn.Module) -> Tensor:
    """Return the weight as [output, input], which transformers' Conv1D keeps transposed."""
    return _turned(module, cast("Tensor", module.weight))


def _turned(module: nn.Module, weight: Tensor) -> Tensor:
    return weight.T if type(module).__name__ == "Conv1D" else weight


def _rows(module: nn.Module, loaded: LoadedModel) -> Tensor:
    weight = parameter(module, "weight", loaded.device)
    return _turned(module, cast("Tensor", weight))


def _norm(module: nn.Module, loaded: LoadedModel, family: Family) -> Norm:
    gain = parameter(module, "weight", loaded.device)
    if family.norm == "rmsnorm1" and gain is not None:
        gain = torch.ones_like(gain) + gain
    return Norm(family.norm.removesuffix("1"), gain, parameter(module, "bias", loaded.device))
