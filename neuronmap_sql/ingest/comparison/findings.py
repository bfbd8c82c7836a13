"""What covariances say of the neurons of two models: partners, baselines, layers, matchings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuronmap_sql.ingest.comparison.blocks import Block, Ints, Layer
from neuronmap_sql.ingest.comparison.settings import Method, PairSettings
from neuronmap_sql.numerics.correlation import Spread, cka, correlations
from neuronmap_sql.numerics.matching import Pairs, hungarian, mutual
from neuronmap_sql.numerics.partners import Partners, histogram
from neuronmap_sql.numerics.rotation import Kind, rotate, rotated_best, rotation

__all__ = ["Findings", "LayerPair", "Matched", "Side", "best_layers"]


class Side:
    """One layer against all layers of another model."""

    def __init__(self, layer: Layer, keep: PairSettings, device: torch.device) -> None:
        self.signed = Partners(layer.width, keep.top_k, device)
        """Partners by correlation; columns are neurons of the whole partner model."""
        self.absolute = Partners(layer.width, keep.top_k, device, absolute=True)
        """Partners by magnitude."""
        self.least = torch.full((layer.width,), torch.inf, dtype=torch.float64, device=device)
        """[neurons] smallest correlations; infinite where there are none."""
        self.baseline: dict[Kind, Tensor] = {
            kind: torch.full(
                (keep.draws, layer.width), torch.nan, dtype=torch.float64, device=device
            )
            for kind in keep.baselines
        }
        """[draws, neurons] largest correlations with rotated layers, by kind."""

    def take(self, found: Tensor, first: int) -> None:
        """Take in correlations [neurons, partner neurons] with one layer of the partner."""
        self.signed.update(found, first)
        self.absolute.update(found, first)
        self.least = torch.minimum(self.least, found.nan_to_num(nan=torch.inf).amin(1))

    def take_baseline(self, kind: Kind, draw: int, best: Tensor) -> None:
        """Take in the largest correlations [neurons] with one rotated layer of the partner."""
        self.baseline[kind][draw] = torch.fmax(self.baseline[kind][draw], best)


@dataclass(frozen=True)
class LayerPair:
    """Two layers, as a row of `layer_pairs` has them."""

    x: Layer
    """The layer."""
    y: Layer
    """The partner layer."""
    mean_max_r: float
    """Mean over live neurons of their largest correlation within the partner layer."""
    mutual_share: float
    """Share of live neurons that are their best partner's best partner."""
    cka: float
    """Linear CKA."""
    counts: Ints | None
    """[200] histogram of all correlations, if wanted."""


@dataclass(frozen=True)
class Matched:
    """A matching of two layers."""

    x: Layer
    """Layer of the rows."""
    y: Layer
    """Layer of the columns."""
    method: Method
    """How."""
    rows: Ints
    """Neurons of x."""
    columns: Ints
    """Their partners in y."""
    r: npt.NDArray[np.float64]
    """Correlations."""


class Findings:
    """Gathers, sweep by sweep, what is written of each pair of models."""

    def __init__(
        self,
        layers: list[list[Layer]],
        pairs: list[tuple[int, int]],
        spread: Mapping[Layer, Spread],
        own: Mapping[Layer, Tensor],
        keep: PairSettings,
        seed: int,
        names: list[str],
    ) -> None:
        """Begin.

        Args:
            layers: the layers of each model.
            pairs: which models are compared, each pair once.
            spread: means and deviations of each layer.
            own: covariances of each layer with itself.
            keep: what is wanted.
            seed: of the random bases.
            names: the models' keys, by which random bases differ.
        """
        self._spread, self._own = spread, own
        self._keep, self._seed, self._names = keep, seed, names
        device = next(iter(own.values())).device
        self.sides = {
            (layer, partner): Side(layer, keep, device)
            for pair in pairs
            for number, partner in (pair, pair[::-1])
            for layer in layers[number]
        }
        """By layer, and number of the partner model."""
        self.layer_pairs: list[LayerPair] = []
        self.matched: list[Matched] = []

    def add(self, totals: Mapping[Block, Tensor], done: Callable[[int], None]) -> None:
        """Take in the covariances of pairs of layers; `done` is told each."""
        for block, covariance in totals.items():
            if block.x is not block.y:
                self._add_pair(block.x, block.y, covariance)
            done(1)
        for partner, facing in _facing(totals).items():
            self._add_baselines(partner, facing)

    def _add_pair(self, x: Layer, y: Layer, covariance: Tensor) -> None:
        found = correlations(covariance, self._spread[x], self._spread[y])
        self.sides[x, y.model].take(found, y.first)
        self.sides[y, x.model].take(found.T, x.first)
        aligned = cka(covariance, self._own[x], self._own[y])
        counts = histogram(found).cpu().numpy() if self._keep.histogram else None
        values = found.cpu().numpy()
        pairs = mutual(values)
        for one, other, table in ((x, y, values), (y, x, values.T)):
            live = int(self._spread[one].live.sum())
            share = len(pairs[0]) / live if live else float("nan")
            best = _mean_of_best(table)
            self.layer_pairs.append(LayerPair(one, other, best, share, aligned, counts))
        for method in self._keep.matchings:
            rows, columns = pairs if method == "mutual" else _assigned(method, values)
            self.matched.append(Matched(x, y, method, rows, columns, values[rows, columns]))

    def _add_baselines(self, partner: Layer, facing: list[tuple[Layer, Tensor]]) -> None:
        spread, own = self._spread[partner], self._own[partner]
        for kind in self._keep.baselines:
            for draw in range(self._keep.draws):
                key = f"{self._names[partner.model]}:{partner.place}:{draw}"
                matrix = rotation(kind, partner.width, self._seed, key).to(own.device)
                rotated = rotate(kind, matrix, own, spread)
                for layer, covariance in facing:
                    best = rotated_best(covariance, self._spread[layer], rotated)
                    self.sides[layer, partner.model].take_baseline(kind, draw, best)


def _assigned(method: Method, values: npt.NDArray[np.float64]) -> Pairs:
    return hungarian(np.abs(values) if method == "hungarian_absolute" else values)


def _facing(totals: Mapping[Block, Tensor]) -> dict[Layer, list[tuple[Layer, Tensor]]]:
    """Return, for each layer as partner, the layers before it with their covariances."""
    found: dict[Layer, list[tuple[Layer, Tensor]]] = {}
    for block, covariance in totals.items():
        if block.x is not block.y:
            found.setdefault(block.y, []).append((block.x, covariance))
            found.setdefault(block.x, []).append((block.y, covariance.T))
    return found


def _mean_of_best(values: npt.NDArray[np.float64]) -> float:
    best = np.where(np.isnan(values), -np.inf, values).max(1, initial=-np.inf)
    best = best[best > -np.inf]
    return float(best.mean()) if len(best) else float("nan")


def best_layers(side: Side, partner: list[Layer]) -> Iterator[tuple[Layer, int]]:
    """Yield each partner layer with the neurons whose best partner lies in it."""
    column = side.signed.column[:, 0].cpu().numpy()
    for layer in partner:
        inside = (column >= layer.first) & (column < layer.first + layer.width)
        yield layer, int(inside.sum())
