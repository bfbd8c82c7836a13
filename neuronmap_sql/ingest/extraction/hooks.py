"""Run forward passes that hand over every hooked tensor and end after the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.forward import Hook, forward, watch

__all__ = ["Extractor", "Sink", "extractor"]

Sink = Callable[[Hook, Tensor], None]
"""Takes a hook and its values [batch, position, width]: the model's own tensor, not a copy."""


class _Enough(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    pass


class Extractor:
    """Forward passes of one model, each of which calls the sink once a hook."""

    def __init__(self, model: nn.Module, hooks: Sequence[Hook], sink: Sink) -> None:
        self._model = model
        self._hooks = hooks
        self._sink = sink
        self._shape = (0, 0)
        self._wanted: set[Hook] = set()

    @torch.inference_mode()
    def run(
        self, input_ids: Tensor, attention_mask: Tensor, hooks: Sequence[Hook] | None = None
    ) -> None:
        """Run one batch; layers after the last hook, and the head, are not computed.

        Args:
            input_ids: token ids [batch, position], padded on the right.
            attention_mask: 1 for tokens, 0 for padding, of the same shape.
            hooks: those of the hooks that are wanted of this batch; all, if left out.

        Raises:
            ModelError: a hooked module was not called, or gave a tensor of another shape.
        """
        self._shape = (input_ids.shape[0], input_ids.shape[1])
        self._wanted = set(self._hooks if hooks is None else hooks)
        try:
            forward(self._model, input_ids, attention_mask)
        except _Enough:
            return
        missing = next(hook for hook in self._hooks if hook in self._wanted)
        raise ModelError(
            f"the forward pass did not call {missing.module!r} of {missing.site} layer"
            f" {missing.layer}: hook another module"
        )

    def receive(self, hook: Hook, tensor: Tensor) -> None:
        """Check and pass on one hooked tensor; stop the pass once all are there."""
        if hook not in self._wanted:
            return
        batch, position = self._shape
        if tensor.numel() != batch * position * hook.width:
            raise ModelError(
                f"{hook.module!r}: its {hook.capture} has shape {tuple(tensor.shape)}, not"
                f" {(batch, position, hook.width)} (batch, position, width)"
            )
        # Some models (OPT) hand their MLP batch and position as one axis.
        self._sink(hook, tensor.reshape(batch, position, hook.width))
        self._wanted.remove(hook)
        if not self._wanted:
            raise _Enough


@contextmanager
def extractor(model: nn.Module, hooks: Sequence[Hook], sink: Sink) -> Iterator[Extractor]:
    """Hook a model for as long as the `with` block lasts."""
    passes = Extractor(model, hooks, sink)
    with watch(model, list(hooks), passes.receive):
        yield passes
