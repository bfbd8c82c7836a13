"""Trace one short forward pass: each call of a module, with what went in and what came out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from neuronmap_sql.ingest.models.probing import probe

__all__ = ["Call", "block_lists", "linear", "same", "trace"]


@dataclass
class Call:
    """One call of a module in the probe."""

    path: str
    """Module path."""
    module: nn.Module
    """What was called."""
    given: Tensor | None
    """The first tensor that went in."""
    result: Tensor | None
    """The first tensor that came out."""

    @property
    def width(self) -> int:
        """Units of the result; 0 if it gave no tensor."""
        return self.result.shape[-1] if self.result is not None else 0


def trace(model: nn.Module) -> list[Call]:
    """Return all module calls of one pass, in the order in which they end."""
    calls: list[Call] = []

    def note(path: str, module: nn.Module, args: Any, output: Any) -> None:
        calls.append(Call(path, module, next(_tensors(args), None), next(_tensors(output), None)))

    handles = [
        module.register_forward_hook(
            lambda m, args, kwargs, out, path=path: note(path, m, (*args, *kwargs.values()), out),
            with_kwargs=True,
        )
        for path, module in model.named_modules()
    ]
    try:
        probe(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two traced tensors are one, or views of one: a reshape, a part of a fused output.

    Values cannot tell: a map is also proposed for a model whose weights were not read.
    """
    if one is None or other is None:
        return False
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def linear(module: nn.Module) -> bool:
    """Whether a module is a projection."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def block_lists(model: nn.Module, calls: list[Call]) -> list[str]:
    """Return the outermost module lists whose items are each called once and keep the shape."""
    often: dict[str, list[Call]] = {}
    for call in calls:
        often.setdefault(call.path, []).append(call)
    found: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(f"{p}.") for p in found):
            continue
        items = [often.get(f"{path}.{index}", []) for index in range(len(module))]
        if items and all(len(item) == 1 and _keeps_shape(item[0]) for item in items):
            found.append(path)
    return found


def _keeps_shape(call: Call) -> bool:
    if call.given is None or call.result is None:
        return False
    return call.given.ndim == 3 and call.given.shape == call.result.shape
