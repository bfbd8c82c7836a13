"""Effects as rows of the tables `effects` and `token_effects`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from neuronmap_sql.ingest.ablation.choice import Neuron, Target
from neuronmap_sql.ingest.ablation.effects import Summary
from neuronmap_sql.numerics.predictions import MEASURES
from neuronmap_sql.warehouse.schema import arrow_schema

__all__ = ["effect_rows", "token_rows"]

_CLEAN = ("clean_loss", "clean_entropy", "clean_rank")
_COLUMNS = tuple(name if name == "kl" else f"{name}_change" for name in MEASURES)
_COUNTS = ("clean_rank", "rank_change")
"""Columns of token_effects that are whole numbers."""


def effect_rows(
    named: Mapping[str, Any],
    mode: str,
    values: Mapping[Neuron, float],
    targets: Sequence[Target],
    effects: Sequence[Summary],
) -> pa.Table:
    """Return the rows of `effects`.

    Args:
        named: experiment, model, dataset, tokenizer and site.
        mode: the column `mode`.
        values: what each neuron was replaced with.
        targets: what was replaced.
        effects: what that changed, in the same order.
    """
    rows = []
    for target, found in zip(targets, effects, strict=True):
        of = _of(target)
        rows.append(
            {
                **named, **of, "grp": target.group, "mode": mode,
                "value": None if target.group else values[target.neurons[0]],
                "neurons": [
                    {"layer": layer, "neuron": neuron, "value": values[layer, neuron]}
                    for layer, neuron in target.neurons
                ],
                "n": found.n, "nonfinite": found.nonfinite, "docs": found.docs,
                **_numbers(_CLEAN, found.clean), **_numbers(_COLUMNS, found.mean),
                **_numbers([f"{name}_se" for name in _COLUMNS], found.error),
            }
        )  # fmt: skip
    return _table("effects", rows)


def token_rows(
    named: Mapping[str, Any], targets: Sequence[Target], effects: Sequence[Summary]
) -> pa.Table:
    """Return the rows of `token_effects`; arguments as in `effect_rows`."""
    rows = []
    for target, found in zip(targets, effects, strict=True):
        of = _of(target)
        for side, (toks, measured) in (("raised", found.raised), ("lowered", found.lowered)):
            for place, (tok, numbers) in enumerate(zip(toks, measured, strict=True)):
                row = _numbers((*_COLUMNS, *_CLEAN), numbers)
                row |= {name: round(row[name] or 0) for name in _COUNTS}
                rows.append(
                    {**named, **of, "side": side, "rank": place + 1, "tok": int(tok), **row}
                )
    return _table("token_effects", rows)


def _of(target: Target) -> dict[str, Any]:
    layer, neuron = (None, None) if target.group else target.neurons[0]
    return {"unit": target.unit, "control": target.control, "layer": layer, "neuron": neuron}


def _numbers(names: Sequence[str], values: Any) -> dict[str, float | None]:
    """Return numbers by name; NULL where there is none."""
    pairs = zip(names, map(float, values), strict=True)
    return {name: value if math.isfinite(value) else None for name, value in pairs}


def _table(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    fields = [field for field in arrow_schema(table) if field.name != "run"]
    return pa.Table.from_pylist(rows, pa.schema(fields))
