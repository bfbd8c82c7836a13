"""The documents of an HDF5 file in the classic layout: a document a question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import DataError
from neuronmap_sql.imports.delimited import shown
from neuronmap_sql.imports.hdf5_file import attributes, members, text_of
from neuronmap_sql.imports.hdf5_layout import TEXTS, natural
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.schema import column_types
from neuronmap_sql.warehouse.store import Store

__all__ = ["Question", "documents_hash", "label_columns", "questions_of", "stored_documents"]

_KINDS = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_OTHERS = "attributes"
"""Label of the attributes that are no column of one type: a JSON object."""


@dataclass(frozen=True)
class Question:
    """One question of the file."""

    name: str
    """Name of its group."""
    doc_id: str
    """The document's id: what the file says, else the name."""
    text: str
    """Its text; the name, where the file has none."""
    labels: dict[str, Any]
    """Its other attributes."""
    layers: tuple[str, ...]
    """Names of its layers' groups, in natural order."""


def questions_of(file: Any) -> tuple[list[Question], list[str]]:
    """Return the questions in natural order of their names, and what of them is left out.

    Raises:
        DataError: the file has another layout, or two questions have one id.
    """
    top = members(file)
    if "activations" not in top or not hasattr(top["activations"], "keys"):
        raise DataError(f"no group activations, but {', '.join(map(shown, top)) or 'nothing'}")
    texts = members(top["questions"]) if hasattr(top.get("questions"), "keys") else {}
    left = [f"/{name}" for name in top if name not in ("activations", "questions")]
    groups = members(top["activations"])
    found: list[Question] = []
    taken: dict[str, str] = {}
    for name in sorted(groups, key=natural):
        if not hasattr(groups[name], "keys"):
            left.append(f"/activations/{name}")
            continue
        one, more = _question(name, groups[name], text_of(texts.pop(name, None)))
        if (other := taken.setdefault(one.doc_id, name)) != name:
            raise DataError(f"{shown(other)} and {shown(name)} are both document {one.doc_id!r}")
        found.append(one)
        left += more
    return found, left + [f"/questions/{name}" for name in texts]


def _question(name: str, group: Any, text: str | None) -> tuple[Question, list[str]]:
    labels, left = attributes(group)
    inside = members(group)
    layers = [one for one, thing in inside.items() if hasattr(thing, "keys")]
    rest = {one: thing for one, thing in inside.items() if one not in layers}
    for word in TEXTS:
        if text is None and isinstance(labels.get(word), str):
            text = labels.pop(word)
        if text is None and word in rest:
            text = text_of(rest.pop(word))
    told = labels.pop("doc_id", None)
    doc_id = told if isinstance(told, str) and told else name
    left += [f"{group.name}/{one}" for one in rest]
    order = tuple(sorted(layers, key=natural))
    return Question(name, doc_id, name if text is None else text, labels, order), left


def label_columns(questions: list[Question]) -> dict[str, pa.Array]:
    """Return the questions' attributes as columns of `docs`.

    An attribute with values of one simple type is a label; all others go into the label
    `attributes`, a JSON object.
    """
    taken = {name.lower() for name in (*column_types("docs"), _OTHERS)}
    columns: dict[str, pa.Array] = {}
    for name in dict.fromkeys(name for one in questions for name in one.labels):
        values = [one.labels.get(name) for one in questions]
        kind = _kind(values)
        if (
            kind
            and name.isprintable()
            and name.strip() == name
            and name.lower() not in taken | {""}
        ):
            taken.add(name.lower())
            columns[name] = pa.array(values, kind)
    rest = [{k: v for k, v in one.labels.items() if k not in columns} for one in questions]
    if any(rest):
        texts = [json.dumps(one, sort_keys=True, ensure_ascii=False) for one in rest]
        columns[_OTHERS] = pa.array(texts, pa.string())
    return columns


def _kind(values: list[Any]) -> pa.DataType | None:
    """Return the type of a column of some values, if they have one."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.float64()
    kind = _KINDS.get(kinds.pop()) if len(kinds) == 1 else None
    large = kind == pa.int64() and any(abs(value) >= 2**63 for value in values if value is not None)
    return None if large else kind


def documents_hash(questions: list[Question]) -> str:
    """Return a hash of ids, texts and labels."""
    told = [[one.doc_id, one.text, one.labels] for one in questions]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def stored_documents(
    store: Store, dataset: str, questions: list[Question]
) -> tuple[str, list[int]] | None:
    """Return the run that holds these documents already, and which rows of it they are.

    None: the dataset has no documents, or others: then the store says that its name is taken.
    """
    for run, manifest in store.manifests().items():
        if any(key.table == "docs" and key.dataset == dataset for key in manifest.keys):
            known = _documents(store.root / "runs" / f"run={encode(run)}", dataset)
            rows = [known[one.doc_id][0] for one in questions if _same(one, known)]
            return (run, rows) if len(rows) == len(questions) else None
    return None


def _documents(run: Path, dataset: str) -> dict[str, tuple[int, str]]:
    """Return row number and text of a run's documents by id."""
    found = {}
    for path in sorted((run / "docs").glob("*.parquet")):
        rows = pq.read_table(path, columns=["dataset", "doc", "doc_id", "text"])
        for row in rows.to_pylist():
            if row["dataset"] == dataset:
                found[row["doc_id"]] = (row["doc"], row["text"])
    return found


def _same(question: Question, known: Mapping[str, tuple[int, str]]) -> bool:
    """Whether a document of that id is known, of the same text if the file tells one."""
    stored = known.get(question.doc_id)
    return stored is not None and question.text in (stored[1], question.name)
