"""Import pooled vectors from an HDF5 file in the classic layout: documents, vectors, statistics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from neuronmap_sql.errors import DataError, UsageError, nearest
from neuronmap_sql.imports.delimited import shown
from neuronmap_sql.imports.entering import (
    Imported,
    Plan,
    check_names,
    enter,
    file_hash,
    row_of_runs,
)
from neuronmap_sql.imports.hdf5_documents import (
    Question,
    documents_hash,
    label_columns,
    questions_of,
    stored_documents,
)
from neuronmap_sql.imports.hdf5_file import attributes, members, opened
from neuronmap_sql.imports.hdf5_layout import POOLS, Place, places_of
from neuronmap_sql.imports.hdf5_rows import Names, write_vectors
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.staging import run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["VectorFile", "import_hdf5"]


@dataclass(frozen=True)
class VectorFile:
    """What an HDF5 file is of; None: as its attributes say."""

    model: str | None = None
    """Model; else the attribute `model_name` or `model`."""
    dataset: str | None = None
    """Dataset; else the attribute `dataset`, else the file's name."""
    site: str | None = None
    """Site of all vectors; else what is told of each layer, or its name without the number."""
    pool: str | None = None
    """How tokens were pooled: mean, last, first or max; else the attribute `pool`, else mean."""


def import_hdf5(
    store: Store,
    path: Path,
    wanted: VectorFile,
    *,
    source: str = "",
    replace: bool = False,
    with_children: bool = False,
) -> Imported:
    """Read pooled vectors and their documents: see `Warehouse.import_hdf5`."""
    sha256 = file_hash(path)
    with opened(path) as file:
        given, left = attributes(file)
        names = _names(path, wanted, given)
        questions, more = questions_of(file)
        groups = members(file["activations"])
        layers, unread = _layers(groups, questions)
        notes = [*_assumed(wanted, given), *_left_out(left + more + unread)]
        places = places_of(layers, wanted.site)
        if not places:
            raise DataError(f"{path}: no vectors: activations/<question>/<layer>/vector")
        for place in places.values():
            check_names(site=place.site)
        docs, rows, kept = _documents(store, path, names.dataset, questions, source)
        notes += kept
        documents = list(zip(questions, rows, strict=True))
        settings = {
            "what": "vectors", "sha256": sha256, "model": names.model, "dataset": names.dataset,
            "site": wanted.site, "pool": names.pool,
        }  # fmt: skip
        told_of_file = json.dumps(given, sort_keys=True, ensure_ascii=False)
        vectors = Plan(
            run_id("import", settings | {"docs": docs.run}),
            _keys(names, places.values()),
            row_of_runs(
                path, settings | {"attributes": told_of_file}, source, model=names.model,
                dataset=names.dataset, tokenizer=names.tokenizer, parents=[docs.run],
                data_hash=sha256,
            ),
            lambda staging: write_vectors(staging, groups, documents, names, places),
        )  # fmt: skip
        return enter(store, [docs, vectors], notes, replace=replace, with_children=with_children)


def _names(path: Path, wanted: VectorFile, given: Mapping[str, Any]) -> Names:
    model = wanted.model or _text(given, "model_name") or _text(given, "model")
    if not model:
        raise UsageError(f"{path}: has no attribute model_name: say --model NAME")
    dataset = wanted.dataset or _text(given, "dataset") or path.name.partition(".")[0]
    pool = wanted.pool or _text(given, "pool") or "mean"
    if pool not in POOLS:
        raise UsageError(f"{path}: no pool {shown(pool)}{nearest(pool, POOLS)}: say --pool")
    check_names(model=model, dataset=dataset)
    return Names(model, dataset, pool, _text(given, "tokenizer"))


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    return value if isinstance(value, str) and value else None


def _assumed(wanted: VectorFile, given: Mapping[str, Any]) -> list[str]:
    said = wanted.pool or _text(given, "pool")
    return [] if said else ["pool is mean: the file does not say; --pool says otherwise"]


def _left_out(paths: list[str]) -> list[str]:
    if not paths:
        return []
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return [f"left out: {', '.join(shown(path, 120) for path in paths[:3])}{more}"]


def _layers(
    groups: Mapping[str, Any], questions: list[Question]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the attributes of each layer's first group by name, and what of it is left out."""
    found: dict[str, dict[str, Any]] = {}
    left = []
    for one in questions:
        for name in (name for name in one.layers if name not in found):
            group = members(groups[one.name])[name]
            inside = members(group)
            found[name], unread = attributes(group)
            left += [*unread, *(f"{group.name}/{other}" for other in inside if other != "vector")]
            left += attributes(inside["vector"])[1] if "vector" in inside else []
    return found, left


def _keys(names: Names, places: Iterable[Place]) -> tuple[Key, ...]:
    layers: dict[str, set[int]] = {}
    for place in places:
        layers.setdefault(place.site, set()).add(place.layer)
    return tuple(
        Key(table, names.model, names.dataset, site=site, layers=tuple(sorted(found)))
        for table in ("vectors", "vector_stats")
        for site, found in layers.items()
    )


def _documents(
    store: Store, path: Path, dataset: str, questions: list[Question], source: str
) -> tuple[Plan, list[int], list[str]]:
    """Return the run of the documents, which row of it each question is, and what is to say."""
    sha256 = documents_hash(questions)
    settings = {"what": "docs", "dataset": dataset, "documents": sha256}
    run = run_id("import", settings)
    stored = None if store.has(run) else stored_documents(store, dataset, questions)
    if stored:
        notes = [f"the documents of {dataset} are those of {stored[0]}: no label was read"]
        return Plan(stored[0], (), {}, lambda _: None), stored[1], notes
    columns = {
        "dataset": [dataset] * len(questions),
        "doc": range(len(questions)),
        "doc_id": [one.doc_id for one in questions],
        "text": [one.text for one in questions],
    }
    table = pa.table(columns | label_columns(questions))
    row = row_of_runs(path, settings, source, dataset=dataset, data_hash=sha256)
    plan = Plan(run, (Key("docs", dataset=dataset),), row, lambda s: s.write("docs", table))
    return plan, list(range(len(questions))), []
