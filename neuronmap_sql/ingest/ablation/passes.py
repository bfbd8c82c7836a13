"""Forward passes with and without some neurons: the logits of one batch, target by target."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType

import torch
from torch import Tensor

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.ablation.choice import Neuron, Target
from neuronmap_sql.ingest.ablation.replay import Replay, blocks_of
from neuronmap_sql.ingest.models.forward import Hook, forward, watch
from neuronmap_sql.ingest.models.loaded import LoadedModel

__all__ = ["AblatedModel", "refuse_unpredictive"]

_PROBE = 5
"""Positions of the probe for causality."""

_log = logging.getLogger(__name__)


def refuse_unpredictive(loaded: LoadedModel) -> None:
    """Make sure that a model predicts the next token, and does not see it.

    Raises:
        ModelError: it has no language modelling head, or later tokens change its predictions.
    """
    name = loaded.info.model
    if loaded.info.causal is False or (loaded.full is None and loaded.head is None):
        raise ModelError(
            f"{name} predicts no next token: an ablation measures the loss of a causal language"
            f" model with its head, and this is a {loaded.info.architecture}"
        )
    ids = torch.arange(_PROBE, device=loaded.device)[None] % (loaded.info.vocabulary or _PROBE)
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % (loaded.info.vocabulary or _PROBE)
    with torch.inference_mode():
        one, two = (_logits(loaded, each, torch.ones_like(each))[0, :-1] for each in (ids, other))
    spread = float(one.std().nan_to_num())
    if not torch.allclose(one, two, rtol=1e-3, atol=1e-3 * spread, equal_nan=True):
        raise ModelError(
            f"{name} sees the tokens that it would have to predict (an encoder reads all of a"
            " text): the loss of the next token means nothing for it"
        )


def _logits(loaded: LoadedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    found = forward(loaded.full or loaded.backbone, input_ids, attention_mask)
    logits = getattr(found, "logits", found)
    if not isinstance(logits, Tensor) or logits.shape[:2] != input_ids.shape:
        raise ModelError(f"{loaded.info.model}: its forward pass returns no logits of tokens")
    return logits


class AblatedModel:
    """A model whose neurons can be replaced; within a `with` block it is hooked."""

    def __init__(
        self, loaded: LoadedModel, hooks: Sequence[Hook], values: Mapping[Neuron, float]
    ) -> None:
        """Make ready.

        Args:
            loaded: the model, with its head.
            hooks: the site's, one a layer.
            values: what each neuron is replaced with.
        """
        self._loaded = loaded
        self._hooks = list(hooks)
        self._values = values
        model = loaded.full or loaded.backbone
        alone = all(hook.call is None for hook in hooks)
        blocks = blocks_of(model, hooks) if alone else []
        self._replay = Replay(blocks, (hook.layer for hook in hooks))
        self._tried = False
        self._now: dict[int, tuple[Tensor, Tensor]] = {}
        self._open = ExitStack()

    def __enter__(self) -> AblatedModel:
        self._open.enter_context(
            watch(self._loaded.full or self._loaded.backbone, self._hooks, self._put)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @property
    def replays(self) -> bool:
        """Whether passes begin at the layer of the neurons."""
        return bool(self._replay.layers)

    @torch.inference_mode()
    def clean(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits [batch, position, vocabulary] of the model as it is."""
        with self._replay.recording():
            logits = _logits(self._loaded, input_ids, attention_mask)
        if not self._tried:
            self._tried = True
            self._try_replay(logits, input_ids, attention_mask)
        return logits

    @torch.inference_mode()
    def ablated(self, target: Target, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits with a target's neurons replaced, after `clean` of the same batch."""
        for layer in {layer for layer, _ in target.neurons}:
            mine = [n for where, n in target.neurons if where == layer]
            values = torch.tensor([self._values[layer, n] for n in mine], dtype=torch.float64)
            self._now[layer] = torch.tensor(mine), values
        try:
            with self._replay.beginning(target.first_layer):
                return _logits(self._loaded, input_ids, attention_mask)
        finally:
            self._now = {}

    def _put(self, hook: Hook, tensor: Tensor) -> None:
        """Replace neurons in the tensor itself, which is what the module goes on with."""
        if hook.layer in self._now:
            neurons, values = self._now[hook.layer]
            tensor[..., neurons.to(tensor.device)] = values.to(tensor)

    def _try_replay(self, logits: Tensor, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Give replaying up unless it gives the same bits, from every layer and once more."""
        for layer in (*self._replay.layers, *self._replay.layers[-1:]):
            with self._replay.beginning(layer):
                again = _logits(self._loaded, input_ids, attention_mask)
            if not torch.equal(again, logits):
                _log.warning("blocks cannot be replayed in this model: every pass is a whole one")
                self._replay = Replay([], [])
                return
