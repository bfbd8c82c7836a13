"""Rows of the tables of a comparison, from its findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from torch import Tensor

from neuronmap_sql.ingest.comparison.blocks import Layer
from neuronmap_sql.ingest.comparison.findings import Findings, Side, best_layers
from neuronmap_sql.ingest.comparison.units import Units
from neuronmap_sql.ingest.extraction.rows import nullable
from neuronmap_sql.numerics.correlation import Spread
from neuronmap_sql.numerics.partners import Partners

__all__ = ["Named", "tables"]

Columns = dict[str, Any]


@dataclass(frozen=True)
class Named:
    """What the rows call the things that a comparison counts by number."""

    models: list[str]
    """The models' keys."""
    dataset: str
    """Dataset."""
    sites: list[list[str]]
    """For each model and hook: the site."""
    layers: list[list[Layer]]
    """The layers of each model, one a hook."""
    tokens: list[int]
    """Counted tokens of each model."""
    pairs: list[tuple[int, int]]
    """Which models are compared, each pair once."""

    def pair(self, x: Layer, y: Layer, rows: int, *, partner_layer: bool = True) -> Columns:
        """Return the key columns of a layer and its partner, `rows` long."""
        keys = {
            "model": self.models[x.model],
            "dataset": self.dataset,
            "site": self.sites[x.model][x.place],
            "layer": pa.scalar(x.layer, pa.int32()),
            "partner_model": self.models[y.model],
            "partner_site": self.sites[y.model][y.place],
            "partner_layer": pa.scalar(y.layer, pa.int32()),
        }
        if not partner_layer:
            del keys["partner_layer"]
        return {name: pa.repeat(value, rows) for name, value in keys.items()}


def tables(
    findings: Findings, named: Named, units: Units, spread: dict[Layer, Spread], seed: int
) -> Iterator[tuple[str, pa.Table, str]]:
    """Yield the tables' rows, in parts: table, rows, name of the part."""
    for pair in named.pairs:
        for number, partner in (pair, pair[::-1]):
            part, others = f"{number:03d}-{partner:03d}", named.layers[partner]
            sides = [(layer, findings.sides[layer, partner]) for layer in named.layers[number]]
            yield "model_pairs", _model_pair(named, sides, others, units, spread), part
            for table, rows in _by_neuron(named, sides, others, len(units), spread, seed):
                yield table, pa.concat_tables(rows), part
    yield from _by_layers(findings, named, len(units))


def _model_pair(
    named: Named,
    sides: list[tuple[Layer, Side]],
    others: list[Layer],
    units: Units,
    spread: dict[Layer, Spread],
) -> pa.Table:
    x, y = sides[0][0], others[0]
    best = np.concatenate([side.signed.value[:, 0].cpu().numpy() for _, side in sides])
    held = units.tokens(x.model)
    columns = named.pair(x, y, 1, partner_layer=False)
    del columns["layer"]
    return pa.table(
        {
            **columns,
            "unit": [units.unit],
            "n": [len(units)],
            "token_count": [held],
            "coverage": [held / named.tokens[x.model]],
            "neurons": [sum(layer.width for layer, _ in sides)],
            "dead": [sum(int(spread[layer].dead.sum()) for layer, _ in sides)],
            "overflowing": [sum(int(spread[layer].overflowing.sum()) for layer, _ in sides)],
            "mean_max_r": _number(best[best > -np.inf]),
        }
    )


def _number(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array([float(values.mean()) if len(values) else None], pa.float64())


def _by_neuron(
    named: Named,
    sides: list[tuple[Layer, Side]],
    others: list[Layer],
    units: int,
    spread: dict[Layer, Spread],
    seed: int,
) -> Iterator[tuple[str, list[pa.Table]]]:
    matches, pairs, baselines = [], [], []
    for layer, side in sides:
        keys = named.pair(layer, others[0], layer.width, partner_layer=False)
        neuron = {"neuron": np.arange(layer.width, dtype=np.int32)}
        matches.append(pa.table({**keys, **neuron, **_match(side, spread[layer], units)}))
        for name, best in (("signed", side.signed), ("absolute", side.absolute)):
            pairs.append(_partners(named, layer, others, best, name, units))
        baselines += [
            pa.table({**keys, **neuron, **_baseline(found, kind, seed)})
            for kind, found in side.baseline.items()
        ]
    yield "neuron_matches", matches
    yield "neuron_pairs", pairs
    if baselines:
        yield "neuron_baseline", baselines


def _match(side: Side, spread: Spread, units: int) -> Columns:
    state = np.where(spread.dead.cpu(), "dead", np.where(spread.overflowing.cpu(), "overflow", ""))
    return {
        "state": np.where(state == "", "live", state).astype(object),
        "n": np.full(len(state), units, dtype=np.int64),
        "max_r": nullable(side.signed.value[:, 0].cpu().numpy()),
        "min_r": nullable(side.least.cpu().numpy()),
    }


def _partners(
    named: Named, layer: Layer, others: list[Layer], best: Partners, ranked_by: str, units: int
) -> pa.Table:
    column = best.column.cpu().numpy()
    neuron, rank = np.nonzero(column >= 0)
    partner = column[neuron, rank]
    place = np.searchsorted([other.first for other in others], partner, side="right") - 1
    rows = len(partner)
    return pa.table(
        {
            **named.pair(layer, others[0], rows, partner_layer=False),
            "neuron": neuron.astype(np.int32),
            "ranked_by": pa.repeat(ranked_by, rows),
            "rank": (rank + 1).astype(np.int32),
            "partner_layer": np.array([o.layer for o in others], np.int32)[place],
            "partner_neuron": (partner - np.array([o.first for o in others])[place]).astype(
                np.int32
            ),
            "r": best.value.cpu().numpy()[neuron, rank],
            "n": np.full(rows, units, dtype=np.int64),
        }
    )


def _baseline(found: Tensor, kind: str, seed: int) -> Columns:
    draws, neurons = found.shape
    values = found.cpu().numpy()
    sd = values.std(0, ddof=1) if draws > 1 else np.full(neurons, np.nan)
    return {
        "kind": pa.repeat(kind, neurons),
        "seed": np.full(neurons, seed, dtype=np.int64),
        "draws": np.full(neurons, draws, dtype=np.int32),
        "mean": nullable(values.mean(0)),
        "sd": nullable(sd),
    }


def _by_layers(findings: Findings, named: Named, units: int) -> Iterator[tuple[str, pa.Table, str]]:
    shares = _matched_shares(findings, named)
    pairs, histograms = [], []
    for found in findings.layer_pairs:
        keys = named.pair(found.x, found.y, 1)
        numbers = {
            "mean_max_r": found.mean_max_r,
            "matched_share": shares[found.x, found.y],
            "mutual_share": found.mutual_share,
            "cka": found.cka,
        }
        nulls = {name: nullable(np.array([value])) for name, value in numbers.items()}
        pairs.append(pa.table({**keys, "n": [units], **nulls}))
        if found.counts is not None:
            bins = np.flatnonzero(found.counts).astype(np.int32)
            counted = {"bin": bins, "low": -1 + bins / 100, "count": found.counts[bins]}
            histograms.append(pa.table({**named.pair(found.x, found.y, len(bins)), **counted}))
    yield "layer_pairs", pa.concat_tables(pairs), "0"
    if histograms:
        yield "pair_histogram", pa.concat_tables(histograms), "0"
    matchings = list(_matchings(findings, named, units))
    if matchings:
        yield "matchings", pa.concat_tables(matchings), "0"


def _matched_shares(findings: Findings, named: Named) -> dict[tuple[Layer, Layer], float]:
    shares = {}
    for (layer, partner), side in findings.sides.items():
        live = int((side.signed.column[:, 0] >= 0).sum())
        for other, best in best_layers(side, named.layers[partner]):
            shares[layer, other] = best / live if live else float("nan")
    return shares


def _matchings(findings: Findings, named: Named, units: int) -> Iterator[pa.Table]:
    for found in findings.matched:
        rows = len(found.r)
        for x, y, one, other in (
            (found.x, found.y, found.rows, found.columns),
            (found.y, found.x, found.columns, found.rows),
        ):
            yield pa.table(
                {
                    **named.pair(x, y, rows),
                    "neuron": one.astype(np.int32),
                    "partner_neuron": other.astype(np.int32),
                    "method": pa.repeat(found.method, rows),
                    "r": found.r,
                    "n": np.full(rows, units, dtype=np.int64),
                }
            )
