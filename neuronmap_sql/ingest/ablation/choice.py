"""Which neurons are replaced: those that SQL names, and random ones of the same layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from neuronmap_sql.errors import UsageError, nearest
from neuronmap_sql.warehouse.result import engine_errors

__all__ = ["Neuron", "Target", "ask", "with_controls"]

Neuron = tuple[int, int]
"""Layer and neuron."""

_NEEDED = {"model": pl.String, "layer": pl.Int64, "neuron": pl.Int64}


@dataclass(frozen=True)
class Target:
    """What is replaced in one forward pass: rows of the table `effects`."""

    unit: int
    """The column `unit`."""
    control: int
    """0: chosen; 1, 2, ...: random."""
    group: str | None
    """The column `grp`; None: a single neuron."""
    neurons: tuple[Neuron, ...]
    """Sorted."""

    @property
    def first_layer(self) -> int:
        """The layer at which a forward pass begins to differ."""
        return self.neurons[0][0]


def ask(
    con: duckdb.DuckDBPyConnection, sql: str, *, together: bool = False
) -> dict[str, list[Target]]:
    """Ask the warehouse which neurons to replace.

    Args:
        con: connection of the warehouse.
        sql: one SELECT that returns the columns model, layer, neuron, and perhaps grp; others are
            left alone, as are rows that come twice.
        together: all neurons of a model are one group.

    Returns:
        The chosen targets of each model, sorted: the order of the rows does not matter.

    Raises:
        QueryError: the engine refused it.
        UsageError: it is no single SELECT, or lacks a column, or gives no row, or NULL.
    """
    rows = _rows(con, sql)
    if "grp" in rows.columns and together:
        raise UsageError("together and a column grp in the SQL of the neurons: choose one of them")
    if together:
        rows = rows.with_columns(pl.lit("all").alias("grp"))
    found: dict[str, list[Target]] = {}
    keys = ["model", "grp"] if "grp" in rows.columns else ["model", "layer", "neuron"]
    for values, part in rows.group_by(keys, maintain_order=True):
        mine = found.setdefault(str(values[0]), [])
        group = str(values[1]) if "grp" in rows.columns else None
        neurons = part.select("layer", "neuron").rows()
        mine.append(Target(len(mine), 0, group, tuple(neurons)))
    return found


def _rows(con: duckdb.DuckDBPyConnection, sql: str) -> pl.DataFrame:
    """Return the distinct rows of the SQL, sorted, with the columns that matter."""
    with engine_errors(con):
        statements = con.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UsageError("the SQL of the neurons must be one SELECT, for it is only asked")
        relation = con.sql(sql)
        columns = {name.lower(): name for name in relation.columns}
        for name in _NEEDED:
            if name not in columns:
                raise UsageError(
                    f"the SQL of the neurons returns no column {name!r}"
                    f"{nearest(name, relation.columns)}: it must return model, layer, neuron"
                )
        wanted = [name for name in (*_NEEDED, "grp") if name in columns]
        rows = relation.select(", ".join(f'"{columns[name]}" AS {name}' for name in wanted)).pl()
    if rows.is_empty():
        raise UsageError("the SQL of the neurons returns no rows: there is nothing to replace")
    for name in wanted:
        if rows[name].null_count():
            raise UsageError(f"the SQL of the neurons returns NULL in the column {name!r}")
    for name in ("layer", "neuron"):
        if not rows[name].dtype.is_integer():
            raise UsageError(
                f"the SQL of the neurons returns {name} as {rows[name].dtype}: cast it to INTEGER"
            )
    kinds = {**_NEEDED, "grp": pl.String}
    rows = rows.cast({name: kinds[name] for name in wanted})
    order = [name for name in ("model", "grp", "layer", "neuron") if name in wanted]
    return rows.unique().sort(order)


def with_controls(
    chosen: Sequence[Target], widths: Mapping[int, int], controls: int, seed: int
) -> list[Target]:
    """Return the chosen targets, each with random ones after it.

    A control has as many neurons of each layer as the target that it stands beside, none of them
    chosen for any target; those of one target are different as long as there are enough.

    Args:
        chosen: targets of one model.
        widths: neurons of each layer.
        controls: how many random ones for each.
        seed: seed of the draw.

    Raises:
        UsageError: a layer has too few neurons that were not chosen.
    """
    taken = {neuron for target in chosen for neuron in target.neurons}
    free = {
        layer: [n for n in range(width) if (layer, n) not in taken]
        for layer, width in widths.items()
    }
    random = np.random.default_rng(seed)
    found = []
    for target in chosen:
        found.append(target)
        drawn = dict(_drawn(target, free, controls, random))
        for number in range(controls):
            neurons = sorted((layer, n) for layer, draws in drawn.items() for n in draws[number])
            found.append(Target(target.unit, number + 1, target.group, tuple(neurons)))
    return found


def _drawn(
    target: Target, free: Mapping[int, list[int]], controls: int, random: np.random.Generator
) -> Iterator[tuple[int, list[list[int]]]]:
    """Yield, for each layer of a target, the neurons of each of its controls."""
    layers = [layer for layer, _ in target.neurons]
    for layer in dict.fromkeys(layers):
        size, known = layers.count(layer), free[layer]
        if controls and len(known) < max(size, controls):
            raise UsageError(
                f"layer {layer} has {len(known)} neurons that were not chosen: too few for"
                f" {controls} controls of {size}; set fewer controls, or choose fewer neurons"
            )
        order = random.permutation(known)
        # Slices of one shuffle, around its end: no neuron twice in a control, and controls that
        # share none until the layer is used up.
        at = np.arange(controls * size) % max(len(known), 1)
        yield layer, order[at].reshape(controls, size).tolist()
