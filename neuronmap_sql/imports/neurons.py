"""Import a published neuron table: a row a neuron, as the universal-neurons line of work has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from neuronmap_sql.errors import DataError, UsageError
from neuronmap_sql.imports.delimited import number, records, shown
from neuronmap_sql.imports.entering import (
    Imported,
    Plan,
    check_names,
    enter,
    file_hash,
    row_of_runs,
)
from neuronmap_sql.imports.neuron_columns import COLUMNS, PLACES, THRESHOLD, Column, columns_of
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Staging, run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["NeuronTable", "import_neurons"]

_LONGEST_LINE = 1 << 16
_BY_NAME = {column.name: column for column in COLUMNS}
_MOST = 2**31


@dataclass(frozen=True)
class NeuronTable:
    """What a published table is of."""

    model: str
    """Model that the neurons are of."""
    dataset: str
    """Name for what the values were measured on."""
    site: str = "mlp"
    """Place that the neurons are of."""
    neurons: int | None = None
    """Neurons of the model at the site, in all layers."""
    layers: int | None = None
    """Layers of the model, in place of `neurons`; with `width`."""
    width: int | None = None
    """Neurons of a layer; with `layers`."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of columns in the file to ours, where they are not those of the public schema;
    '' leaves a column out."""
    partial: bool = False
    """Whether columns of the public schema may be missing, and are NULL then."""

    def total(self) -> int | None:
        """Return the neurons of the model, if told.

        Raises:
            UsageError: told in two ways, or in half of one, or not positive.
        """
        told = (self.neurons, self.layers, self.width)
        if (self.layers is None) != (self.width is None):
            raise UsageError("layers and width go together: --layers 12 --width 3072")
        if self.neurons is not None and self.layers is not None:
            raise UsageError("say how many neurons there are once: --neurons, or --layers --width")
        if any(one is not None and not 0 < one < _MOST for one in told):
            raise UsageError("neurons, layers and width are numbers from 1")
        return self.layers * self.width if self.layers and self.width else self.neurons


def import_neurons(
    store: Store, path: Path, table: NeuronTable, *, source: str = "", replace: bool = False
) -> Imported:
    """Read a published neuron table into `published_neurons`: see `Warehouse.import_neurons`."""
    check_names(model=table.model, dataset=table.dataset, site=table.site)
    total = table.total()
    sha256 = file_hash(path)
    rows, missing = _read(path, table)
    if total is not None and len(rows) > total:
        raise DataError(f"{path.name}: {len(rows):,} neurons, of a model that has {total:,}")
    settings = {
        "what": "neurons", "sha256": sha256, "model": table.model, "dataset": table.dataset,
        "site": table.site, "neurons": total, "columns": dict(table.columns),
    }  # fmt: skip
    layers = tuple(sorted(set(rows["layer"].to_pylist())))
    plan = Plan(
        run_id("import", settings),
        (Key("published_neurons", table.model, table.dataset, site=table.site, layers=layers),),
        row_of_runs(
            path, settings, source, model=table.model, dataset=table.dataset, data_hash=sha256
        ),
        lambda staging: _write(staging, rows, table, total),
    )
    notes = [f"{name} is NULL: the file has no such column" for name in missing]
    if total is None:
        notes.append("model_neurons is NULL: --neurons says how many neurons the model has in all")
    return enter(store, [plan], notes, replace=replace)


def _write(staging: Staging, rows: pa.Table, table: NeuronTable, total: int | None) -> None:
    above = rows["fraction_above"].to_pylist()
    told = {
        "model": [table.model] * len(rows),
        "dataset": [table.dataset] * len(rows),
        "site": [table.site] * len(rows),
        "model_neurons": pa.array([total] * len(rows), pa.int64()),
        "threshold": pa.array([None if v is None else THRESHOLD for v in above], pa.float64()),
    }
    columns = {name: rows[name] for name in rows.column_names}
    staging.write("published_neurons", pa.table(told | columns))


def _read(path: Path, table: NeuronTable) -> tuple[pa.Table, list[str]]:
    """Return the rows by layer and neuron, and the columns that the file lacks."""
    found = records(path, _LONGEST_LINE)
    line, header = next(found, (1, []))
    at = columns_of(header, table.columns, f"{path.name}:{line}", partial=table.partial)
    values: dict[str, list[float | int | None]] = {name: [] for name in (*PLACES, *_BY_NAME)}
    seen: dict[tuple[int, int], int] = {}
    for line, record in found:
        place = f"{path.name}:{line}"
        if len(record) != len(header):
            raise DataError(f"{place}: {len(record)} fields, but the header has {len(header)}")
        layer, neuron = _neuron(record, at, place, table)
        if (first := seen.setdefault((layer, neuron), line)) != line:
            raise DataError(f"{place}: layer {layer}, neuron {neuron} is on line {first} already")
        values["layer"].append(layer)
        values["neuron"].append(neuron)
        for name, column in _BY_NAME.items():
            values[name].append(_value(record, at, place, column))
    if not seen:
        raise DataError(f"{path.name}: no neuron: a line with column names, then a line a neuron")
    schema = pa.schema([arrow_schema("published_neurons").field(name) for name in values])
    rows = pa.table(values, schema=schema).sort_by([(name, "ascending") for name in PLACES])
    return rows, [name for name in _BY_NAME if name not in at]


def _neuron(
    record: list[str], at: Mapping[str, int], place: str, table: NeuronTable
) -> tuple[int, int]:
    """Return the layer and the neuron of a record."""
    found = []
    for name, count in zip(PLACES, (table.layers, table.width), strict=True):
        cell = record[at[name]]
        value = number(cell, f"{place}, column {name}")
        if value is None or value != int(value) or not 0 <= value < (count or _MOST):
            most = f"from 0 to {count - 1}" if count else "from 0"
            raise DataError(f"{place}, column {name}: {shown(cell)} is no index {most}")
        found.append(int(value))
    return found[0], found[1]


def _value(record: list[str], at: Mapping[str, int], place: str, column: Column) -> float | None:
    """Return a record's value of a column, if it has one that makes sense."""
    if column.name not in at:
        return None
    cell = record[at[column.name]]
    value = number(cell, f"{place}, column {column.theirs}")
    if value is not None and not column.fits(value):
        raise DataError(
            f"{place}, column {column.theirs}: {shown(cell)} is not from {column.low:g} to"
            f" {column.high:g}: is it {column.name}?"
        )
    return value
