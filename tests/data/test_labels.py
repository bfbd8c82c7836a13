"""Labels keep their types, whatever the format, and never hide a column of docs."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings
from neuronmap_sql.warehouse.parquet import conform


def read(base: Path, path: str, *labels: str) -> Documents:
    return read_documents(DataSettings(path, labels=labels), base)


def from_json(base: Path, values: list[object]) -> pa.ChunkedArray:
    lines = [json.dumps({"text": "t", "v": value}) + "\n" for value in values]
    (base / "a.jsonl").write_text("".join(lines))
    return read(base, "a.jsonl", "v").table["v"]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 3], "int64", [1, None, 3]),
        ([True, None], "bool", [True, None]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([float("nan"), 1.0, float("-inf")], "double", [None, 1.0, None]),
        (["a", "", None], "string", ["a", "", None]),
        ([None, None], "string", [None, None]),
        ([1, "a"], "string", ["1", "a"]),
        ([True, 2], "string", ["true", "2"]),
        ([2**63, 1], "string", ["9223372036854775808", "1"]),
        ([["é", 1], {"a": None}], "string", ['["é", 1]', '{"a": null}']),
        ([10**400, 0.5], "double", [None, 0.5]),
        (["2020-01-02", "x"], "string", ["2020-01-02", "x"]),
    ],
)
def test_json_values_keep_their_type(tmp_path: Path, values, kind: str, expected) -> None:
    column = from_json(tmp_path, values)
    assert (str(column.type), column.to_pylist()) == (kind, expected)


@pytest.mark.parametrize(
    ("cells", "kind", "expected"),
    [
        (["1", "", "-3"], "int64", [1, None, -3]),
        (["1", "2.5", ".5", "1e3"], "double", [1, 2.5, 0.5, 1000]),
        (["007", "123"], "string", ["007", "123"]),
        (["true", "False", ""], "bool", [True, False, None]),
        (["2020-01-02", ""], "date32[day]", [dt.date(2020, 1, 2), None]),
        (["2020-01-02 03:04:05"], "timestamp[us]", [dt.datetime(2020, 1, 2, 3, 4, 5)]),
        (["NA", "x"], "string", ["NA", "x"]),
        (["", ""], "string", [None, None]),
        (["9223372036854775808"], "string", ["9223372036854775808"]),
        (["1e999", "1"], "double", [None, 1.0]),
    ],
)
def test_csv_cells_become_what_all_of_them_read_as(
    tmp_path: Path, cells, kind: str, expected
) -> None:
    (tmp_path / "a.csv").write_text("text,v\n" + "".join(f"t,{cell}\n" for cell in cells))
    column = read(tmp_path, "a.csv", "v").table["v"]
    assert (str(column.type), column.to_pylist()) == (kind, expected)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None], pa.int8()),
        pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("ns", "UTC")),
        pa.array([[1, 2], []], pa.list_(pa.int32())),
        pa.array([{"a": 1}, None], pa.struct({"a": pa.int64()})),
        pa.array(["a", None]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_columns_keep_their_type(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"text": ["t", "u"], "v": column}), tmp_path / "a.parquet")
    kept = read(tmp_path, "a.parquet", "v").table["v"]
    assert kept.to_pylist() == column.to_pylist()
    encoded = pa.types.is_dictionary(column.type)
    assert kept.type == (column.type.value_type if encoded else column.type)


def test_parquet_labels_of_left_out_rows_are_left_out(tmp_path: Path) -> None:
    table = pa.table({"text": ["", "t", None, "u"], "v": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path, "a.parquet", "v").table["v"].to_pylist() == [2, 4]


def test_parquet_files_that_disagree(tmp_path: Path) -> None:
    def write(name: str, values: pa.Array) -> None:
        pq.write_table(pa.table({"text": [name], "v": values}), tmp_path / f"{name}.parquet")

    write("a", pa.array([1], pa.int32()))
    write("b", pa.array([2], pa.int64()))
    assert read(tmp_path, "*.parquet", "v").table["v"].type == pa.int64()
    write("b", pa.array([["x"]]))
    with pytest.raises(DataError, match="label 'v' has another type in another file"):
        read(tmp_path, "*.parquet", "v")


def test_a_star_keeps_all_other_columns_in_order(tmp_path: Path) -> None:
    row = {"z": 1, "text": "t", "id": "a", "b": 2}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert read(tmp_path, "a.jsonl", "*").table.column_names == ["doc", "doc_id", "text", "z", "b"]
    assert read(tmp_path, "a.jsonl").table.column_names == ["doc", "doc_id", "text"]


def test_labels_with_names_that_docs_has(tmp_path: Path) -> None:
    row = {"text": "t", "Run": 1, "doc": 2, "label_doc": 3, "Kind": 4, "kind": 5, "": 6}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    docs = read(tmp_path, "a.jsonl", "*")
    labels = docs.table.drop_columns(["doc", "doc_id", "text"]).to_pylist()[0]
    assert labels == {
        **{"label_Run": 1, "label_doc": 2, "label_label_doc": 3},
        **{"Kind": 4, "label_kind": 5, "column": 6},
    }
    assert docs.notes[0] == "label 'Run' is called 'label_Run'"


def test_the_store_takes_what_is_read(tmp_path: Path) -> None:
    """NaN, which it refuses, is gone; a note says so."""
    rows = [{"text": "t", "Dataset": 1, "x": float("nan"), "tags": ["a"]}, {"text": "u", "x": 1.5}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    docs = read(tmp_path, "a.jsonl", "*")
    named = docs.table.append_column("dataset", pa.array([docs.name] * 2))
    stored = conform("docs", named, "run1")
    assert stored["x"].to_pylist() == [None, 1.5]
    assert docs.notes == (
        "label 'Dataset' is called 'label_Dataset'",
        "label 'x': NaN and infinities that became NULL: 1",
    )
