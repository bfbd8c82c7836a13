"""Import earlier results: a matrix of correlations, as the best partners of each neuron."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neuronmap_sql.errors import DataError, UsageError
from neuronmap_sql.imports.best_partners import best_partners
from neuronmap_sql.imports.entering import (
    Imported,
    Plan,
    check_names,
    enter,
    file_hash,
    row_of_runs,
)
from neuronmap_sql.imports.matrices import read_matrix
from neuronmap_sql.imports.partner_rows import Side, match_rows, pair_rows
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.staging import Staging, run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["CorrelationMatrix", "import_correlations"]


@dataclass(frozen=True)
class CorrelationMatrix:
    """What a matrix of correlations is of."""

    model: str
    """Model whose neurons are the rows."""
    partner: str
    """Model whose neurons are the columns."""
    dataset: str
    """Dataset that both read."""
    site: str = "mlp"
    """Place of the neurons in both."""
    layers: int | tuple[int, ...] | None = None
    """Layers of equal width that the rows are cut into, or the neurons of each layer."""
    partner_layers: int | tuple[int, ...] | None = None
    """The same of the columns; None: as the rows."""
    k: int = 10
    """Partners kept of each neuron, by value and by magnitude."""
    n: int | None = None
    """Tokens that the correlations are over, if known."""


def import_correlations(
    store: Store, path: Path, table: CorrelationMatrix, *, source: str = "", replace: bool = False
) -> Imported:
    """Read a matrix of correlations: see `Warehouse.import_correlations`."""
    check_names(model=table.model, partner=table.partner, dataset=table.dataset, site=table.site)
    if table.model == table.partner:
        raise UsageError(f"{table.model} is compared with itself: give the partner another name")
    if table.k < 1 or (table.n is not None and table.n < 2):
        raise UsageError("k is a number from 1, and n, the tokens, from 2")
    sha256 = file_hash(path)
    matrix = read_matrix(path)
    sides, notes = _sides(path, matrix.shape, table)
    matrix = matrix.reshape(sides[0].size, sides[1].size)
    settings = {
        "what": "correlations", "sha256": sha256, "model": table.model, "partner": table.partner,
        "dataset": table.dataset, "site": table.site, "widths": list(sides[0].widths),
        "partner_widths": list(sides[1].widths), "k": table.k, "n": table.n,
    }  # fmt: skip
    plan = Plan(
        run_id("import", settings),
        tuple(_keys(sides, table)),
        row_of_runs(
            path, settings, source, model=table.model, dataset=table.dataset, data_hash=sha256
        ),
        lambda staging: _write(staging, path, matrix, sides, table),
    )
    return enter(store, [plan], notes, replace=replace)


def _sides(
    path: Path, shape: tuple[int, ...], table: CorrelationMatrix
) -> tuple[tuple[Side, Side], list[str]]:
    """Return which neurons the rows and the columns are, and what was taken for granted."""
    rows, columns = shape[: len(shape) // 2], shape[len(shape) // 2 :]
    other = table.layers if table.partner_layers is None else table.partner_layers
    sides = (
        Side(table.model, table.site, _widths(rows, table.layers, f"{path.name}: rows")),
        Side(table.partner, table.site, _widths(columns, other, f"{path.name}: columns")),
    )
    notes = [
        f"{side.model} is taken for one layer of {half[0]:,} neurons: --layers cuts it"
        for side, half, told in zip(sides, (rows, columns), (table.layers, other), strict=True)
        if told is None and len(half) == 1
    ]
    return sides, notes


def _widths(
    half: tuple[int, ...], layers: int | tuple[int, ...] | None, what: str
) -> tuple[int, ...]:
    """Return the neurons of each layer of one side of a matrix, of shape `half`."""
    size = math.prod(half)
    own = (half[-1],) * half[0] if len(half) == 2 else None
    if layers is None:
        return own or (size,)
    if isinstance(layers, int) and (layers < 1 or size % layers):
        raise UsageError(f"{what}: {size:,} neurons are not {layers} layers of equal width")
    widths = (size // layers,) * layers if isinstance(layers, int) else layers
    if sum(widths) != size or min(widths, default=0) < 1:
        raise UsageError(f"{what}: layers of {sum(widths):,} neurons, and the file has {size:,}")
    if own and own != widths:
        raise UsageError(f"{what}: the file has {half[0]} layers of {half[1]:,} neurons")
    return widths


def _keys(sides: tuple[Side, Side], table: CorrelationMatrix) -> Iterator[Key]:
    for mine, other in (sides, sides[::-1]):
        for name in ("neuron_pairs", "neuron_matches"):
            yield Key(
                name, mine.model, table.dataset, site=mine.site, partner_model=other.model,
                partner_site=other.site, layers=tuple(range(len(mine.widths))),
            )  # fmt: skip


def _write(
    staging: Staging,
    path: Path,
    matrix: NDArray[Any],
    sides: tuple[Side, Side],
    table: CorrelationMatrix,
) -> None:
    both = best_partners(path, matrix, table.k)
    if not all(np.isfinite(found.max_r).any() for found in both):
        raise DataError(f"{path.name}: holds no correlation, but NaN only")
    pairs, matches = [], []
    for found, mine, other in zip(both, sides, sides[::-1], strict=True):
        keys = {"dataset": table.dataset, "n": table.n}
        pairs.append(pair_rows(found, mine, other, keys))
        matches.append(match_rows(found, mine, other, keys))
    staging.write("neuron_pairs", pa.concat_tables(pairs))
    staging.write("neuron_matches", pa.concat_tables(matches))
