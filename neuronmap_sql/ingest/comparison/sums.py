"""Sums of products of all pairs of layers, over the units of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from neuronmap_sql.ingest.comparison.blocks import Block, Ints, Layer
from neuronmap_sql.ingest.comparison.readers import Reader, pooled
from neuronmap_sql.ingest.comparison.units import Units
from neuronmap_sql.numerics.correlation import LayerSums, Spread, covariances
from neuronmap_sql.numerics.products import add_products

__all__ = ["Sums"]


class Sums:
    """Covariances of the layers of some models, sweep by sweep over their values."""

    def __init__(
        self,
        readers: Sequence[Reader],
        layers: Sequence[Sequence[Layer]],
        units: Units,
        run: int,
        device: torch.device,
    ) -> None:
        """Make ready.

        Args:
            readers: values of each model.
            layers: the layers of each model, one a hook of its reader.
            units: what the models are compared by.
            run: tokens summed in float32, from `tokens_in_float32`.
            device: where products are computed.
        """
        self._readers = readers
        self._layers = layers
        self._units = units
        self._run = run
        self._device = device
        dtype = torch.float32 if run else torch.float64
        self._sums = {
            layer: LayerSums(layer.width, device, dtype) for found in layers for layer in found
        }
        self.spread: dict[Layer, Spread] = {}

    def sweep(
        self, blocks: Sequence[Block], cuts: Ints, done: Callable[[int], None]
    ) -> dict[Block, Tensor]:
        """Go through all units once.

        Args:
            blocks: what to sum.
            cuts: [chunks + 1] documents at which the work is cut.
            done: told the units of each chunk.

        Returns:
            Population covariances [neurons of x, neurons of y], float64, of each block; 0 for
            neurons that are not live.
        """
        totals = {
            block: torch.zeros(
                block.x.width, block.y.width, dtype=torch.float64, device=self._device
            )
            for block in blocks
        }
        first_time = not self.spread
        wanted = set(self._sums) if first_time else {x for b in blocks for x in (b.x, b.y)}
        for first, end in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            centred = dict(self._centred(first, end, wanted, count=first_time))
            for block, total in totals.items():
                if len(centred[block.x]):
                    add_products(total, centred[block.x], centred[block.y], self._run)
            done(int(self._units.first[end] - self._units.first[first]))
        if first_time:
            self.spread = {layer: sums.result() for layer, sums in self._sums.items()}
        for block, total in totals.items():
            covariances(total, self.spread[block.x], self.spread[block.y])
        return totals

    def _centred(
        self, first_doc: int, end_doc: int, wanted: set[Layer], *, count: bool
    ) -> Iterator[tuple[Layer, Tensor]]:
        """Yield the values of each layer over the units of some documents, less their shift."""
        first, end = self._units.first[[first_doc, end_doc]].tolist()
        for number, (reader, layers) in enumerate(zip(self._readers, self._layers, strict=True)):
            if not any(layer in wanted for layer in layers):
                continue
            unit = self._units.of_tok[number][reader.tokens(first_doc, end_doc)]
            for layer, values in zip(layers, reader.values(first_doc, end_doc), strict=True):
                if layer in wanted:
                    over = pooled(values, unit, first, end - first).to(self._device)
                    yield layer, self._sums[layer].take(over, count=count)
