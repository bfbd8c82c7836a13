"""DeepEverest's published core (He et al., VLDB 2022) as a contender of `search.py`.

Its code is not part of this project: `Index` takes a checkout of github.com/uwdb/DeepEverest whose
index library was built as its README says. It imports TensorFlow, Keras models and matplotlib on
the way to functions that use none of them, so they are replaced by mocks while it loads. Its model
is a stub here: inference returns rows of an array, so that it costs nothing but the reading.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import numpy as np
from numpy.typing import NDArray

__all__ = ["Index"]

PARTITIONS, RATIO, BATCH = 32, 0.05, 64
"""Partitions of the NPI, part of the inputs in the MAI, inputs of a batch: those of its README."""
NOT_NEEDED = (
    "matplotlib", "matplotlib.pyplot",
    "models", "models.Cifar10VGG", "models.ImagenetResNet", "models.MnistVGG",
    "tensorflow", "tensorflow.keras", "tensorflow.keras.datasets",
)  # fmt: skip


class Index:
    """Its indexes over one layer: Neural Partition Index and Maximum Activation Index.

    Args:
        checkout: its folder.
        values: the layer, token-major [tokens, neurons].
    """

    def __init__(self, checkout: Path, values: NDArray[np.float16]) -> None:
        self.core, self.group = _modules(checkout)
        libraries = sorted((checkout / "index" / "build").rglob("deepeverst_index*.so"))
        if not libraries:
            raise SystemExit(
                f"{checkout}/index has no built library: DeepEverest's README says how"
            )
        self.library = ctypes.CDLL(str(libraries[0]))
        self.model = _Rows(values)
        self.parts: tuple[NDArray[np.generic], ...] = ()
        self.numbers: dict[tuple[int, ...], int] = {}

    def build(self, values: NDArray[np.float32]) -> None:
        """Build both indexes from all values of the layer, [tokens, neurons]."""
        bits = math.ceil(math.log2(PARTITIONS))
        top, top_tok, partition, numbers, low, high = self.core.construct_index(
            index_lib=self.library, n_images=len(values), ratio=RATIO, n_partitions=PARTITIONS,
            bits_per_image=bits, layer_result=values,
        )  # fmt: skip
        self.parts, self.numbers = (top, top_tok, partition, low, high), numbers

    @property
    def nbytes(self) -> int:
        """Bytes of both indexes, as arrays in memory."""
        return sum(part.nbytes for part in self.parts)

    def at_maximum(self, neuron: int) -> int:
        """Return the token with the largest value of a neuron, from the index."""
        return int(self.parts[1][self.numbers[(neuron,)], -1])

    def nearest(
        self, neurons: tuple[int, ...], tok: int, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        """Find the k tokens nearest to a token by l2, that token among them.

        Returns:
            Tokens and distances, nearest first, and the rows that it asked the model for.
        """
        top, top_tok, partition, low, high = self.parts
        group = self.group.NeuronGroup(None, 0, neuron_idx_list=[(neuron,) for neuron in neurons])
        before = self.model.rows
        with redirect_stdout(StringIO()):
            heap, *_ = self.core.answer_query_with_guarantee(
                self.model, self.model.ids, top, top_tok, partition, self.numbers, low, high,
                tok, group, k, PARTITIONS, math.ceil(math.log2(PARTITIONS)),
                BATCH_SIZE=BATCH, batch_size=BATCH,
            )  # fmt: skip
        found = sorted((-negated, int(tok)) for negated, tok in heap)
        far, toks = (np.array(column) for column in zip(*found, strict=True))
        return toks, far.astype(np.float64), self.model.rows - before


class _Rows:
    """A model whose inference is free: inputs are numbers of rows."""

    def __init__(self, values: NDArray[np.float16]) -> None:
        self.values = values
        self.ids = np.arange(len(values))
        self.rows = 0

    def get_layer_result_by_layer_id(self, inputs: list[int], _layer: int) -> NDArray[np.float32]:
        self.rows += len(inputs)
        return self.values[np.asarray(inputs)].astype(np.float32)


def _modules(checkout: Path) -> tuple[ModuleType, ModuleType]:
    """Import its two modules, and leave `sys.modules` and `sys.path` as they were."""
    with (
        patch.dict(sys.modules, {name: MagicMock() for name in NOT_NEEDED}),
        patch.object(sys, "path", [str(checkout), *sys.path]),
    ):
        core, group = map(importlib.import_module, ("DeepEverest", "NeuronGroup"))
    # Its partition numbers are uint8 scalars, from which it subtracts 1 and asks whether that is
    # negative: numpy 1 made them int64, in numpy 2 they wrap around, and it never ends.
    partition_of = core.get_partition_id_by_image_id
    core.get_partition_id_by_image_id = lambda *place: int(partition_of(*place))
    return core, group
