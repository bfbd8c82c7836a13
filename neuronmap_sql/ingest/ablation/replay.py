"""Begin a forward pass at a later block: those before it return what they returned before.

A neuron of layer l changes nothing before block l. So the output of block l - 1 is kept in the
clean pass, and given again in place of blocks 0 to l - 1. Whether a model allows that is tried out:
a replayed pass that changes nothing must give the very bits of the clean one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from neuronmap_sql.ingest.models.forward import Hook

__all__ = ["Replay", "blocks_of"]


def blocks_of(model: nn.Module, hooks: Iterable[Hook]) -> list[nn.Module]:
    """Return the list of blocks that hooks lie in, one a layer; empty if there is no such list.

    Args:
        model: the backbone or the full model; paths of hooks are relative to the backbone.
        hooks: hooks of one site.
    """
    backbone: nn.Module = getattr(model, "base_model", model)
    found = {
        name: part for name, part in backbone.named_modules() if isinstance(part, nn.ModuleList)
    }
    lists = {_list_of(hook, found) for hook in hooks}
    name = lists.pop() if len(lists) == 1 else None
    return [] if name is None else list(found[name])


def _list_of(hook: Hook, lists: Iterable[str]) -> str | None:
    """Return the outermost list in whose element of the hook's layer the hook lies."""
    inside = (name for name in lists if f"{hook.module}.".startswith(f"{name}.{hook.layer}."))
    return min(inside, key=len, default=None)


class Replay:
    """Keeps outputs of blocks in one forward pass, and gives them again in further ones."""

    def __init__(self, blocks: Sequence[nn.Module], layers: Iterable[int]) -> None:
        """Make ready.

        Args:
            blocks: in forward order.
            layers: layers that passes may begin at; none, if they always begin at the first.
        """
        self._blocks = list(blocks)
        self.layers = sorted({layer for layer in layers if 0 < layer <= len(self._blocks)})
        self._held: dict[int, Any] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep what the blocks return in the forward pass in this context."""
        handles = [
            self._blocks[layer - 1].register_forward_hook(self._keeper(layer))
            for layer in self.layers
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _keeper(self, layer: int) -> Callable[..., None]:
        def keep(_: nn.Module, __: Any, output: Any) -> None:
            self._held[layer] = _copied(output)

        return keep

    @contextmanager
    def beginning(self, layer: int) -> Iterator[None]:
        """Begin forward passes in this context at a layer, if its input was kept."""
        skipped = self._blocks[:layer] if layer in self.layers else []
        before = [block.__dict__.get("forward") for block in skipped]
        for block in skipped:
            # Only the last one's output is read; copied, since what follows may change it in place.
            block.forward = lambda *_, **__: _copied(self._held[layer])
        try:
            yield
        finally:
            for block, forward in zip(skipped, before, strict=True):
                if forward is None:
                    del block.forward
                else:
                    block.forward = forward


def _copied(output: Any) -> Any:
    """Copy the residual stream: blocks return a tensor, or a tuple that starts with it."""
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, tuple):
        return (output[0].clone(), *output[1:])
    return output
