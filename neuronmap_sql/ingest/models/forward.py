"""Run a model on token ids, and read the tensors that go into and out of its modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from neuronmap_sql.errors import ModelError

__all__ = ["Hook", "Receiver", "forward", "watch"]


@dataclass(frozen=True)
class Hook:
    """One hooked place in one layer: a row of the table `sites`."""

    site: str
    """The column `site`."""
    layer: int
    """Index of the block in its stack."""
    module: str
    """Resolved module path in the backbone, or in the full model where that alone has it."""
    capture: Literal["input", "output"]
    """The module's first input, or its (first) output."""
    width: int
    """Units, measured."""
    heads: int | None
    """For head_out: heads that lie side by side."""
    kind: str
    """mlp, residual, attention or custom."""
    alias: str | None
    """TransformerLens name."""
    call: int | None = None
    """Which call in a forward pass, from 0, for a module that several layers share."""
    flat: bool = False
    """The tensor comes as [batch * position, width], not [batch, position, width]."""


Receiver = Callable[[Hook, Tensor], None]
"""Called in the forward pass with a hook and its tensor; must copy or reduce it at once, because
some models (Falcon) change it in place afterwards."""


def forward(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Any:
    """Run one forward pass and return what the model returns.

    An encoder-decoder model reads the same tokens in its decoder, not shifted, so that row t of
    every stack is the state on reading token t.

    Args:
        model: a model without its head, or any module that takes token ids.
        input_ids: token ids [batch, position], padded on the right.
        attention_mask: 1 for tokens, 0 for padding, of the same shape.
    """
    known = inspect.signature(model.forward).parameters
    given: dict[str, Any] = {"attention_mask": attention_mask, "use_cache": False}
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        given |= {"decoder_input_ids": input_ids, "decoder_attention_mask": attention_mask}
    given = {key: value for key, value in given.items() if key in known}
    return model(input_ids, **given)


@contextmanager
def watch(model: nn.Module, hooks: list[Hook], receive: Receiver) -> Iterator[None]:
    """Hand `receive` the tensor of every hook during the forward passes in this context.

    Args:
        model: the backbone, or the full model (`LoadedModel.runs`) where a hook is in its head.
        hooks: what to hand over.
        receive: takes it.
    """
    taps: dict[tuple[str, str], _Tap] = {}
    for hook in hooks:
        taps.setdefault((hook.module, hook.capture), _Tap(receive)).add(hook)
    handles = [model.register_forward_pre_hook(lambda *_: _restart(taps))]
    try:
        for (path, capture), tap in taps.items():
            handles.append(attach(_submodule(model, path), capture, tap.take))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _submodule(model: nn.Module, path: str) -> nn.Module:
    # Paths start from the backbone, which a full model holds under a name of its own.
    try:
        backbone: nn.Module = getattr(model, "base_model", model)
        return backbone.get_submodule(path)
    except AttributeError:
        return model.get_submodule(path)


def _restart(taps: Mapping[Any, _Tap]) -> None:
    # Counts start again with each pass: a pass that was stopped early leaves them anywhere.
    for tap in taps.values():
        tap.calls = 0


class _Tap:
    """Counts the calls of one module in a pass, and hands its tensor to the hook of the call."""

    def __init__(self, receive: Receiver) -> None:
        self.receive = receive
        self.calls = 0
        self.hooks: list[Hook] = []

    def add(self, hook: Hook) -> None:
        self.hooks.append(hook)

    def take(self, tensor: Tensor) -> None:
        for hook in self.hooks:
            if hook.call is None or hook.call == self.calls:
                self.receive(hook, tensor)
        self.calls += 1


def attach(module: nn.Module, capture: str, take: Callable[[Tensor], None]) -> Any:
    """Hook one module's first input or output; returns torch's handle to remove it."""

    # A hook that returns something replaces the activation: these return None.
    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        take(_first_input(module, args, kwargs))

    def after(_: nn.Module, __: Any, output: Any) -> None:
        take(_first_output(module, output))

    if capture == "input":
        return module.register_forward_pre_hook(before, with_kwargs=True)
    return module.register_forward_hook(after)


def _first_input(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    # Newer models pass the residual stream by keyword, beside masks and position embeddings.
    for value in (*args, kwargs.get("hidden_states"), *kwargs.values()):
        if isinstance(value, Tensor):
            return value
    raise ModelError(f"a {type(module).__name__} was called without any tensor to record")


def _first_output(module: nn.Module, output: Any) -> Tensor:
    # Blocks return a tensor, a tuple that starts with it, or a mapping, by version of transformers.
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output
    if isinstance(values, tuple | list) or isinstance(output, Mapping):
        for value in values:
            if isinstance(value, Tensor):
                return value
    raise ModelError(f"a {type(module).__name__} returned no tensor to record")
