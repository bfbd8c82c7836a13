"""Export pooled vectors with their documents and statistics to HDF5, in the classic layout."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.imports.hdf5_file import h5py_module
from neuronmap_sql.imports.hdf5_layout import STATS
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import disk_errors, whole
from neuronmap_sql.warehouse.schema import column_types
from neuronmap_sql.warehouse.store import Store

__all__ = ["VectorChoice", "export_hdf5"]

_ROWS = f"""
SELECT v.doc, v.site, v.layer, v.n, v.vector, s.name, s.attributes,
    {", ".join(f"s.{column}" for column in STATS.values())}
FROM vectors AS v
LEFT JOIN vector_stats AS s USING (model, dataset, site, layer, doc, pool)
WHERE v.model = $model AND v.dataset = $dataset AND v.pool = $pool
    AND ($site IS NULL OR v.site = $site)
ORDER BY v.doc, v.site, v.layer
"""
_BATCH = 256
_LIBVER = ("v108", "v110")
"""Before 1.8 the format had no attributes above 64 kB."""


@dataclass(frozen=True)
class VectorChoice:
    """Which vectors to export."""

    model: str
    """Model."""
    dataset: str | None = None
    """Dataset; needed if there are vectors of the model on several."""
    site: str | None = None
    """Site; None: all of them."""
    pool: str | None = None
    """Pool; needed if there are several."""


def export_hdf5(store: Store, path: Path, choice: VectorChoice) -> int:
    """Write vectors to a file, whole or not at all: see `Warehouse.export_hdf5`."""
    h5py = h5py_module()
    with connect(store.root) as con:
        known = con.sql(
            "SELECT DISTINCT model, dataset, site, pool, tokenizer FROM vectors"
        ).fetchall()
        dataset, pool, tokenizer = _chosen(known, choice)
        params = {"model": choice.model, "dataset": dataset, "pool": pool, "site": choice.site}
        documents = _documents(con, dataset)
        with disk_errors(path), whole(path) as part, h5py.File(part, "w", libver=_LIBVER) as file:
            given = {"model_name": choice.model, "dataset": dataset, "pool": pool}
            file.attrs.update(given | ({"tokenizer": tokenizer} if tokenizer else {}))
            count = _write(file, con.sql(_ROWS, params=params), documents)
            file.attrs["num_questions"] = len(file["activations"])
    return count


def _chosen(known: Sequence[tuple[Any, ...]], choice: VectorChoice) -> tuple[str, str, str | None]:
    """Return the dataset, the pool and the tokenizer that a choice means."""
    if choice.model not in {model for model, *_ in known}:
        raise UnknownNameError.of(
            "model with vectors", choice.model, {row[0] for row in known},
            "`--keep vectors` of an ingest keeps them",
        )  # fmt: skip
    rows = [row[1:] for row in known if row[0] == choice.model]
    for place, name in ((0, "dataset"), (1, "site"), (2, "pool")):
        wanted = getattr(choice, name)
        found = sorted({row[place] for row in rows})
        if wanted is not None and wanted not in found:
            raise UnknownNameError.of(name, wanted, found, f"looked in vectors of {choice.model}")
        if wanted is None and len(found) > 1 and name != "site":
            raise UsageError(f"{choice.model} has vectors of several: say --{name} {found}")
        rows = [row for row in rows if wanted in (None, row[place])]
    tokenizers = {row[3] for row in rows}
    return rows[0][0], rows[0][2], tokenizers.pop() if len(tokenizers) == 1 else None


def _documents(con: duckdb.DuckDBPyConnection, dataset: str) -> dict[int, dict[str, Any]]:
    found = con.sql("FROM docs WHERE dataset = $dataset", params={"dataset": dataset})
    return {row["doc"]: row for row in found.pl().iter_rows(named=True)}


def _write(
    file: Any, rows: duckdb.DuckDBPyRelation, documents: Mapping[int, Mapping[str, Any]]
) -> int:
    """Write the groups of all vectors; return how many."""
    texts, activations = file.create_group("questions"), file.create_group("activations")
    count = 0
    for row in _batched(rows):
        name = f"question_{row['doc']}"
        if name not in activations:
            document = documents[row["doc"]]
            texts[name] = _storable(document["text"])
            _describe(activations.create_group(name), document)
        _write_layer(activations[name], row)
        count += 1
    return count


def _batched(rows: duckdb.DuckDBPyRelation) -> Iterator[dict[str, Any]]:
    for batch in rows.to_arrow_reader(_BATCH):
        vectors = batch.column("vector")
        rest = batch.drop_columns(["vector"]).to_pylist()
        for row, vector in zip(rest, vectors, strict=True):
            values = vector.values
            yield row | {"vector": values.to_numpy(zero_copy_only=False).astype(np.float32)}


def _describe(group: Any, document: Mapping[str, Any]) -> None:
    """Write a document's id and labels as attributes; what is no text or number as JSON."""
    known = column_types("docs")
    labels = {k: v for k, v in document.items() if k not in known and v is not None}
    others = labels.pop("attributes", None)
    group.attrs["doc_id"] = _storable(document["doc_id"])
    for name, value in (json.loads(others) | labels if others else labels).items():
        _set(group, name, value)


def _write_layer(group: Any, row: Mapping[str, Any]) -> None:
    default = f"layer_{row['layer']}_{row['site']}".replace("/", "_")
    name = row["name"] if row["name"] and row["name"] not in group else default
    layer = group.create_group(name)
    layer["vector"] = row["vector"]
    rest = json.loads(row["attributes"] or "{}")
    stats, inner = _stats(row), rest.pop("vector", None)
    given: dict[str, Any] = {"site": row["site"], "layer": row["layer"]}
    given |= {} if row["n"] is None else {"n_tokens": row["n"]}
    given |= {"shape": [row["vector"].size], **stats, **rest}
    listed = rest.get("stats", {})
    if isinstance(listed, dict) and (stats or listed):
        given["stats"] = json.dumps(stats | listed)
    for key, value in given.items():
        _set(layer, key, value)
    for key, value in (inner if isinstance(inner, dict) else {}).items():
        _set(layer["vector"], key, value)


def _stats(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the statistics that were imported with a vector, or else those of its values."""
    if row["name"]:
        found = {name: row[column] for name, column in STATS.items()}
    else:
        found = _statistics(row["vector"])
    return {name: value for name, value in found.items() if value is not None}


def _statistics(vector: NDArray[np.float32]) -> dict[str, float]:
    """Return mean, population standard deviation, extremes and share of zeros; NaN is left out."""
    values = vector[np.isfinite(vector)].astype(np.float64)
    if not values.size:
        return {}
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "sparsity": float(np.mean(values == 0)),
    }


def _set(thing: Any, name: str, value: Any) -> None:
    """Write an attribute; what HDF5 has no type for as JSON."""
    simple = isinstance(value, str | bool | int | float)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        simple = False
    if isinstance(value, list) and value and len({type(one) for one in value}) == 1:
        simple = isinstance(value[0], str | bool | int | float)
    held = value if simple else json.dumps(value, default=str, ensure_ascii=False)
    held = _storable(held) if isinstance(held, str) else held
    thing.attrs[name] = h5py_module().Empty("f") if value is None else held


def _storable(text: str) -> Any:
    """Return text as h5py stores it: with a NUL in it as bytes, since its strings end at one."""
    return np.void(text.encode()) if "\0" in text else text
