"""Labels and fields whose names SQL can only quote, or not even that."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from known_values import asked, ingested

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError
from neuronmap_sql.warehouse.views import quote_name

VALUES = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)

LABELS = ['a"b', "it's; DROP VIEW docs", "a\nb", "../x", "*", "$1", "x" * 3000, "\u202e", "a.b"]
NAMED = {"RUN": "label_RUN", "nul\0": "nul\ufffd"}
LABELS += NAMED


def test_labels_of_any_name_are_columns(tmp_path: Path) -> None:
    row = {"text": "w1", **{label: f"v{number}" for number, label in enumerate(LABELS)}}
    (tmp_path / "labelled.jsonl").write_text(json.dumps(row))
    data = {"path": str(tmp_path / "labelled.jsonl"), "labels": ["*"]}
    with ingested(tmp_path, VALUES, [], data=data, keep={"tables": ["stats"]}) as wh:
        values = [f"v{number}" for number in range(len(LABELS))]
        found = wh.sql("SELECT * EXCLUDE (run, dataset, doc, doc_id, text) FROM docs").pl()
        assert found.row(0) == tuple(values)
        names = [NAMED.get(label, label) for label in LABELS]
        assert found.columns == names
        listed = ", ".join(map(quote_name, names))
        assert asked(wh, f"SELECT {listed} FROM docs") == [values]
        assert wh.table("docs").collect().row(0)[5:] == tuple(values)
        assert wh.verify() == []


STRUCTS = {
    "no name": pa.array([{"": 1}]),
    "NUL": pa.array([[{"x": {"a\0": 1}}]]),
    "one name twice": pa.StructArray.from_arrays([pa.array([1])] * 2, names=["a", "a"]),
}


@pytest.mark.parametrize("case", STRUCTS)
def test_fields_that_sql_cannot_name_are_refused_before_they_break_the_views(
    tmp_path: Path, case: str
) -> None:
    path = tmp_path / "labelled.parquet"
    pq.write_table(pa.table({"text": ["w1"], "meta": STRUCTS[case]}), path)
    data = {"path": str(path), "labels": ["meta"]}
    with pytest.raises(DataError, match=r"^label 'meta': in .* leave the label out"):
        ingested(tmp_path, VALUES, [], data=data)
    with nm.open(tmp_path / "wh") as wh:
        assert wh.sql("SELECT count(*) FROM docs").fetchall() == [(0,)]


def test_fields_that_sql_cannot_name_become_text_in_json(tmp_path: Path) -> None:
    (tmp_path / "labelled.jsonl").write_text(json.dumps({"text": "w1", "meta": {"a\0": 1}}))
    data = {"path": str(tmp_path / "labelled.jsonl"), "labels": ["meta"]}
    with ingested(tmp_path, VALUES, [], data=data, keep={"tables": ["stats"]}) as wh:
        assert wh.sql("SELECT meta FROM docs").fetchall() == [('{"a\\u0000": 1}',)]
