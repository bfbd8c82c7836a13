"""Which pairs of layers a comparison sums products of, and in how many sweeps over the values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuronmap_sql.errors import UsageError

__all__ = ["Block", "Layer", "chunks", "memory_bytes", "sweeps"]

_SUM_BYTES = 8
_VALUE_BYTES = 4 + 8  # of a value and of what is centred, which may be float64
_SHARE = 4
"""One part in so many of the memory is for values, the rest for sums."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """One hooked layer of one of the models."""

    model: int
    """Which model, from 0."""
    place: int
    """Which of its hooks, from 0."""
    layer: int
    """The column `layer`."""
    width: int
    """Neurons."""
    first: int
    """Number of its first neuron among all of the model's."""


@dataclass(frozen=True)
class Block:
    """Two layers whose products are summed: of two models, or a layer with itself."""

    x: Layer
    """Layer of the rows."""
    y: Layer
    """Layer of the columns."""

    @property
    def bytes(self) -> int:
        """Bytes of the sums."""
        return self.x.width * self.y.width * _SUM_BYTES


def memory_bytes(text: str) -> int:
    """Read an amount of memory, such as `8GB` or `512MiB`.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])(i?)B", text.strip())
    if match is None:
        raise UsageError(f"work.memory = {text!r}: write a number and KB, MB, GB, TB or KiB ... ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** (1 + "KMGT".index(match[2])))


def sweeps(
    models: Sequence[Sequence[Layer]], pairs: Sequence[tuple[int, int]], memory: int
) -> list[list[Block]]:
    """Share the blocks out to sweeps whose sums fit in memory, each layer with itself first.

    Args:
        models: the layers of each model.
        pairs: which models are compared, each pair once.
        memory: bytes that sums and values may take.

    Raises:
        UsageError: the layers with themselves, or one block more, do not fit.
    """
    room = memory - memory // _SHARE
    own = [Block(layer, layer) for layers in models for layer in layers]
    between = list(_between(models, pairs))
    held = sum(block.bytes for block in own)
    least = held + max((block.bytes for block in between), default=0)
    if least > room:
        raise UsageError(
            f"the covariances of {len(own)} layers and one pair of them take"
            f" {least / 1e9:,.2f} GB, and work.memory leaves {room / 1e9:,.2f} GB for them: set it"
            f" to {least * _SHARE / (_SHARE - 1) / 1e9:,.1f}GB or more, or compare fewer layers"
        )
    found, taken = [own], held
    for block in between:
        if taken + block.bytes > room:
            found.append([])
            taken = held
        found[-1].append(block)
        taken += block.bytes
    return found


def _between(
    models: Sequence[Sequence[Layer]], pairs: Sequence[tuple[int, int]]
) -> Iterator[Block]:
    """Yield the blocks of two models, those of one partner layer together."""
    for model, partner in pairs:
        for y in models[partner]:
            for x in models[model]:
                yield Block(x, y)


def chunks(first: Ints, widths: int, memory: int) -> Ints:
    """Cut documents where so many units have come that their values fill their share of memory.

    Args:
        first: [documents + 1] where the units of each document begin.
        widths: neurons of all models.
        memory: bytes that sums and values may take.

    Returns:
        [chunks + 1] documents at which a chunk begins, and their number.
    """
    most = max(256, memory // _SHARE // (_VALUE_BYTES * max(widths, 1)))
    cuts, begin = [0], 0
    documents = len(first) - 1
    while begin < documents:
        end = int(np.searchsorted(first, first[begin] + most, side="right")) - 1
        begin = min(max(end, begin + 1), documents)
        cuts.append(begin)
    return np.array(cuts)
