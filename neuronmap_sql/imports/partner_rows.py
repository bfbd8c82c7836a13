"""Rows of neuron_pairs and neuron_matches, from the best partners of each neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neuronmap_sql.imports.best_partners import Found

__all__ = ["Side", "match_rows", "pair_rows"]


@dataclass(frozen=True)
class Side:
    """The neurons along one axis of a matrix, layer by layer."""

    model: str
    """Model."""
    site: str
    """Site."""
    widths: tuple[int, ...]
    """Neurons of each layer."""

    @property
    def size(self) -> int:
        """Neurons in all."""
        return sum(self.widths)

    @cached_property
    def places(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Layer and neuron of each."""
        layers = np.repeat(np.arange(len(self.widths), dtype=np.int32), self.widths)
        neurons = np.concatenate([np.arange(width, dtype=np.int32) for width in self.widths])
        return layers, neurons


def pair_rows(found: Found, mine: Side, other: Side, keys: Mapping[str, Any]) -> pa.Table:
    """Return rows of `neuron_pairs`, by neuron, ranking and rank."""
    tables = []
    for by, partner in found.partner.items():
        neuron, rank = np.nonzero(partner >= 0)
        to = partner[neuron, rank]
        tables.append(
            pa.table(
                _keys(mine, other, keys, neuron)
                | {
                    "ranked_by": pa.repeat(by, len(neuron)),
                    "rank": (rank + 1).astype(np.int32),
                    "partner_layer": other.places[0][to],
                    "partner_neuron": other.places[1][to],
                    "r": found.r[by][neuron, rank],
                }
            )
        )
    return pa.concat_tables(tables)


def match_rows(found: Found, mine: Side, other: Side, keys: Mapping[str, Any]) -> pa.Table:
    """Return rows of `neuron_matches`: neurons without any number are undefined."""
    live = np.isfinite(found.max_r)
    extremes = {
        "state": pa.array(np.where(live, "live", "undefined").tolist(), pa.string()),
        "max_r": pa.array(found.max_r, mask=~live),
        "min_r": pa.array(found.min_r, mask=~live),
    }
    return pa.table(_keys(mine, other, keys, np.arange(mine.size)) | extremes)


def _keys(
    mine: Side, other: Side, keys: Mapping[str, Any], neuron: NDArray[np.int64]
) -> dict[str, Any]:
    layers, neurons = mine.places
    repeated = {
        "model": mine.model,
        "dataset": keys["dataset"],
        "site": mine.site,
        "partner_model": other.model,
        "partner_site": other.site,
    }
    return {
        **{name: pa.repeat(value, len(neuron)) for name, value in repeated.items()},
        "n": pa.array([keys["n"]] * len(neuron), pa.int64()),
        "layer": layers[neuron],
        "neuron": neurons[neuron],
    }
