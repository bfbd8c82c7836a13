"""The parts of a traced block: its neurons, its attentions, the residual stream between them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from neuronmap_sql.ingest.models.elementwise import bends_each_value
from neuronmap_sql.ingest.models.families import WeightMap
from neuronmap_sql.ingest.models.tracing import Call, linear, same

__all__ = [
    "Block",
    "Neurons",
    "attentions",
    "block_of",
    "input_weights",
    "neurons",
    "states_between",
]

_ATTENTION = re.compile(r"att(n|ention)", re.IGNORECASE)
_ASIDE = re.compile(r"att(n|ention)|expert", re.IGNORECASE)
"""Parts whose activation functions are not those of the MLP's neurons, or not of all of them."""
_NORM = re.compile(r"norm", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """The first block of a stack; paths are relative to it."""

    given: Tensor
    """The residual stream before it."""
    result: Tensor
    """The residual stream after it."""
    calls: list[Call]
    """What is called in it, in order."""

    @property
    def width(self) -> int:
        """Units of the residual stream."""
        return self.given.shape[-1]

    @property
    def projections(self) -> list[Call]:
        """The calls of linear maps."""
        return [call for call in self.calls if linear(call.module)]


@dataclass(frozen=True)
class Neurons:
    """The calls that make the neurons: down(act(gate(x))), or down(act(gate(x)) * up(x))."""

    gate: Call
    """Projection whose result, or a part of it, the activation function takes."""
    act: Call
    """The activation function."""
    down: Call
    """The projection back to the residual stream."""


def block_of(path: str, calls: list[Call]) -> Block:
    """Return the first block of the module list at a path."""
    first = f"{path}.0"
    whole = next(call for call in calls if call.path == first)
    assert whole.given is not None
    assert whole.result is not None
    inside = [
        Call(call.path.removeprefix(f"{first}."), call.module, call.given, call.result)
        for call in calls
        if call.path.startswith(f"{first}.")
    ]
    return Block(whole.given, whole.result, inside)


def neurons(block: Block) -> Neurons | None:
    """Return the block's last activation function outside of attention that has a gate and a down.

    The last one, because what mixes tokens (a recurrent layer, a convolution) comes before the MLP
    and may have activation functions too.
    """
    for index in reversed(range(len(block.calls))):
        act, before, after = block.calls[index], block.calls[:index], block.calls[index + 1 :]
        if _ASIDE.search(act.path) or not _is_activation(act):
            continue
        gate = [c for c in before if linear(c.module) and same(c.result, act.given)]
        down = [c for c in after if _leads_back(c, act, block.width)]
        if gate and down:
            return Neurons(gate[-1], act, down[0])
    return None


def _is_activation(call: Call) -> bool:
    if call.given is None or call.result is None or list(call.module.children()):
        return False
    return call.given.shape == call.result.shape and bends_each_value(call.module, call.given)


def _leads_back(call: Call, act: Call, width: int) -> bool:
    if call.given is None or not linear(call.module) or _ASIDE.search(call.path):
        return False
    return call.given.shape[-1] == act.width and call.width == width


def attentions(block: Block) -> list[Call]:
    """Return the output projections of the parts called attention, self-attention first."""
    groups: dict[str, Call] = {}
    for call in block.projections:
        if call.width == block.width and _ATTENTION.search(call.path):
            groups[_part(call.path)] = call
    return list(groups.values())


def _part(path: str) -> str:
    """Return the part of the block that a module is in: `attention`, or `layer.1` of a list."""
    match = re.match(r"\w+(\.\d+)?", path)
    return match[0] if match else path


def states_between(block: Block, found: Neurons | None) -> list[str | None]:
    """Return the norms that read the residual stream after each attention, None where none does.

    After self-attention that is the norm of the cross-attention or of the MLP; after
    cross-attention the MLP's. None where attention and MLP read the same stream side by side, and
    where norms come after adding: there the sum is not what the next part adds to.
    """
    outs = attentions(block)
    readers = [[c for c in block.projections if _part(c.path) == _part(out.path)] for out in outs]
    readers.append([found.gate] if found else [])
    norms = [call for call in block.calls if _NORM.search(type(call.module).__name__)]
    if any(same(norm.result, block.result) for norm in norms):
        return [None for _ in outs]
    return [_between(block, out, norms, readers[n + 1]) for n, out in enumerate(outs)]


def _between(block: Block, out: Call, norms: list[Call], readers: list[Call]) -> str | None:
    done = block.calls.index(out)
    for norm in norms:
        read = any(same(norm.result, reader.given) for reader in readers)
        if read and block.calls.index(norm) > done and not same(norm.given, block.given):
            return norm.path
    return None


def input_weights(block: Block, found: Neurons, full: str) -> WeightMap:
    """Return the weights when they are sure: a gate of the neurons' width, at most one other."""
    wide = [call for call in block.projections if call.width == found.act.width]
    others = [c for c in wide if c is not found.gate and _part(c.path) == _part(found.down.path)]
    if found.gate not in wide or len(others) > 1:
        return WeightMap()
    up = f"{full}.{others[0].path}" if others else ""
    return WeightMap(w_in=f"{full}.{found.gate.path}", w_up=up, w_out=f"{full}.{found.down.path}")
