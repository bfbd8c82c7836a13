"""Write what HDF5 files hold of vectors as rows of `vectors` and `vector_stats`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from neuronmap_sql.errors import DataError
from neuronmap_sql.imports.hdf5_documents import Question
from neuronmap_sql.imports.hdf5_file import attributes, members, place_in, vector_of
from neuronmap_sql.imports.hdf5_layout import Place, Told, told
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Partition, Staging

__all__ = ["Names", "write_vectors"]

_ROWS = 1 << 24
"""Values gathered before rows are written."""


@dataclass(frozen=True)
class Names:
    """The names under which rows are kept."""

    model: str
    """Model."""
    dataset: str
    """Dataset."""
    pool: str
    """How tokens were pooled."""
    tokenizer: str | None
    """Tokenizer, where the file says."""


@dataclass(frozen=True)
class _Row:
    """One vector."""

    doc: int
    """Document."""
    name: str
    """Name of the layer's group."""
    told: Told
    """What its attributes tell."""
    vector: NDArray[np.float32]
    """[width] values."""


def write_vectors(
    staging: Staging,
    groups: Mapping[str, Any],
    documents: Iterable[tuple[Question, int]],
    names: Names,
    places: Mapping[str, Place],
) -> None:
    """Write vectors by site and layer, some at a time.

    Args:
        staging: the run.
        groups: the questions' groups by name.
        documents: the questions, each with its row number in `docs`.
        names: names under which the rows are kept.
        places: site and layer of the layers' groups by name.

    Raises:
        DataError: a vector is missing, is not in the file, or has another width than elsewhere.
    """
    held: dict[Place, list[_Row]] = {}
    widths: dict[str, int] = {}
    values = shard = 0
    for question, doc in documents:
        for row in _rows(groups[question.name], question, doc, places, widths):
            held.setdefault(places[row.name], []).append(row)
            values += row.vector.size
            if values > _ROWS:
                _flush(staging, held, names, shard)
                held, values, shard = {}, 0, shard + 1
    _flush(staging, held, names, shard)


def _rows(
    group: Any, question: Question, doc: int, places: Mapping[str, Place], widths: dict[str, int]
) -> Iterator[_Row]:
    layers = members(group)
    for name in question.layers:
        place = place_in(layers[name])
        given, _ = attributes(layers[name])
        inside = members(layers[name])
        if "vector" not in inside:
            raise DataError(f"{place}: has no vector")
        if given.get("layer", places[name].layer) != places[name].layer:
            raise DataError(f"{place}: is layer {given['layer']!r} here, and not elsewhere")
        vector = vector_of(inside["vector"])
        if widths.setdefault(name, vector.size) != vector.size:
            raise DataError(f"{place}: has {vector.size:,} values, and {widths[name]:,} elsewhere")
        about = told(given, attributes(inside["vector"])[0], vector.size)
        yield _Row(doc, name, about, vector)


def _flush(staging: Staging, held: Mapping[Place, list[_Row]], names: Names, shard: int) -> None:
    stats = []
    for place, rows in held.items():
        keys = {
            "model": names.model, "dataset": names.dataset, "site": place.site,
            "layer": place.layer, "pool": names.pool,
        }  # fmt: skip
        where = Partition(names.model, names.dataset, place.site, place.layer)
        staging.write("vectors", _vectors(rows, names), where, f"{shard:06d}")
        stats += [
            keys | row.told.stats | {"doc": row.doc, "name": row.name}
            | {"attributes": json.dumps(row.told.rest, sort_keys=True, ensure_ascii=False)}
            for row in rows
        ]  # fmt: skip
    if stats:
        schema = arrow_schema("vector_stats")
        staging.write(
            "vector_stats",
            pa.Table.from_pylist(stats, schema.remove(schema.get_field_index("run"))),
            shard=f"{shard:06d}",
        )


def _vectors(rows: list[_Row], names: Names) -> pa.Table:
    flat = np.concatenate([row.vector for row in rows])
    offsets = np.cumsum([0, *(row.vector.size for row in rows)], dtype=np.int32)
    values = pa.array(flat, pa.float32(), mask=~np.isfinite(flat))
    return pa.table(
        {
            "tokenizer": pa.array([names.tokenizer] * len(rows), pa.string()),
            "doc": [row.doc for row in rows],
            "pool": [names.pool] * len(rows),
            "n": pa.array([row.told.tokens for row in rows], pa.int32()),
            "vector": pa.ListArray.from_arrays(offsets, values),
        }
    )
