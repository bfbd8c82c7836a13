"""Labels keep their types, whatever the format, and never hide a column of docs."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings
from neuronmap_sql.warehouse.parquet import conform, write_parquet


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
        ([["a"], [], None, ["b", None]], "list<item: string>", [["a"], [], None, ["b", None]]),
        ([[1, 2], [3]], "list<item: int64>", [[1, 2], [3]]),
        ([[1], [2.5, 10**400]], "list<item: double>", [[1.0], [2.5, None]]),
        ([[[1]], [[]]], "list<item: list<item: int64>>", [[[1]], [[]]]),
        (
            [{"a": 1, "b": ["x"]}, {"b": [], "a": None}, None],
            "struct<a: int64, b: list<item: string>>",
            [{"a": 1, "b": ["x"]}, {"a": None, "b": []}, None],
        ),
        ([[{"a": float("nan")}], None], "list<item: struct<a: double>>", [[{"a": None}], None]),
        ([{"a": 1}, {"a": "x"}], "string", ['{"a": 1}', '{"a": "x"}']),
        ([{"a": 1}, {"a": 1, "b": 2}], "string", ['{"a": 1}', '{"a": 1, "b": 2}']),
        ([{"a": 1, "A": 2}], "string", ['{"a": 1, "A": 2}']),
        ([{}], "string", ["{}"]),
        ([["é", 1], ["b"]], "string", ['["é", 1]', '["b"]']),
    ],
)
def test_json_values_keep_their_type(tmp_path: Path, values, kind: str, expected) -> None:
    column = from_json(tmp_path, values)
    assert (str(column.type), column.to_pylist()) == (kind, expected)


def test_a_list_has_the_same_type_from_json_and_parquet(tmp_path: Path) -> None:
    tags = [["a", "b"], None, []]
    from_jsonl = from_json(tmp_path, tags)
    pq.write_table(pa.table({"text": ["t"] * 3, "v": tags}), tmp_path / "a.parquet")
    from_parquet = read(tmp_path, "a.parquet", "v").table["v"]
    assert from_jsonl.type == from_parquet.type
    assert from_jsonl.to_pylist() == from_parquet.to_pylist() == tags


def test_a_note_says_that_values_of_several_types_became_text(tmp_path: Path) -> None:
    rows = [{"text": "t", "same": {"a": 1}, "other": {"a": 1}}, {"text": "u", "other": {"b": 1}}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes = read(tmp_path, "a.jsonl", "*").notes
    assert notes == (
        "label 'other': values of several types became text, lists and objects as JSON",
    )


def test_json_that_is_nested_without_end_becomes_text(tmp_path: Path) -> None:
    deep = "[" * 200 + "]" * 200
    (tmp_path / "a.jsonl").write_text(f'{{"text": "t", "v": {deep}}}')
    assert read(tmp_path, "a.jsonl", "v").table["v"].to_pylist() == [deep]


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


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([[1.0, NAN], None, [INF]]), [[1.0, None], None, [None]]),
        (pa.array([[1.0, NAN], None, [2.0, 3.0]], pa.list_(pa.float32(), 2)),
         [[1.0, None], None, [2.0, 3.0]]),
        (pa.array([[[NAN]], [], [[2.0], None]], pa.large_list(pa.large_list(pa.float64()))),
         [[[None]], [], [[2.0], None]]),
        (pa.array([{"a": NAN}, None, {"a": 2.0}]), [{"a": None}, None, {"a": 2.0}]),
        (pa.array([{"a": NAN}, {"a": 1.0}, {"a": 2.0}],
                  pa.struct([pa.field("a", pa.float64(), nullable=False)])),
         [{"a": None}, {"a": 1.0}, {"a": 2.0}]),
        (pa.array([[("a", NAN)], None, []], pa.map_(pa.string(), pa.float64())),
         [[("a", None)], None, []]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)  # fmt: skip
def test_nan_inside_parquet_labels_becomes_null(
    tmp_path: Path, column: pa.Array, expected: list[object]
) -> None:
    """As among plain numbers; the store, which refuses NaN, takes the column, and SQL sees NULL."""
    pq.write_table(pa.table({"text": ["t", "u", "w"], "v": column}), tmp_path / "a.parquet")
    docs = read(tmp_path, "a.parquet", "v")
    assert docs.table["v"].to_pylist() == expected
    bad = sum(str(value).count("nan") + str(value).count("inf") for value in column.to_pylist())
    assert docs.notes == (f"label 'v': NaN and infinities that became NULL: {bad}",)
    named = docs.table.append_column("dataset", pa.array([docs.name] * 3))
    write_parquet(tmp_path / "docs.parquet", conform("docs", named, "run1"))
    seen = duckdb.sql(f"SELECT v::VARCHAR FROM '{tmp_path / 'docs.parquet'}'").fetchall()
    assert "nan" not in str(seen)
    assert "inf" not in str(seen)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_become_seconds(tmp_path: Path, unit: str) -> None:
    """What the engine reads of a duration in Parquet is a number without its unit."""
    half = {"s": 1, "ms": 1500, "us": 1_500_000, "ns": 1_500_000_000}[unit]
    column = pa.array([[half, None], None], pa.list_(pa.duration(unit)))
    pq.write_table(pa.table({"text": ["t", "u"], "v": column}), tmp_path / "a.parquet")
    [(spoiled,)] = duckdb.sql(f"SELECT v[1] FROM '{tmp_path / 'a.parquet'}' LIMIT 1").fetchall()
    assert spoiled == half, "or else there is no need"
    docs = read(tmp_path, "a.parquet", "v")
    assert docs.table["v"].to_pylist() == [[1.0 if unit == "s" else 1.5, None], None]
    assert docs.notes == ("label 'v': durations became seconds: Parquet has none",)


def test_decimals_that_the_engine_cannot_read(tmp_path: Path) -> None:
    column = pa.array([Decimal("1.5")], pa.decimal256(50, 2))
    pq.write_table(pa.table({"text": ["t"], "v": column}), tmp_path / "a.parquet")
    assert duckdb.sql(f"SELECT v FROM '{tmp_path / 'a.parquet'}'").fetchall() != [(1.5,)]
    docs = read(tmp_path, "a.parquet", "v")
    assert docs.table["v"].to_pylist() == [1.5]
    assert docs.notes == ("label 'v': decimals of more than 38 digits became DOUBLE",)


def test_a_column_that_one_parquet_file_lacks(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["t"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["u"], "v": [[1]]}), tmp_path / "b.parquet")
    kept = read(tmp_path, "*.parquet", "*").table["v"]
    assert kept.type == pa.list_(pa.int64())
    assert kept.to_pylist() == [None, [1]]


def test_bad_utf8_inside_a_parquet_list_follows_the_rule(tmp_path: Path) -> None:
    bad = pa.array([b"b\xe9d"]).view(pa.string())
    lists = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), bad)
    pq.write_table(pa.table({"text": ["t"], "v": lists}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="byte 0xe9 is no character"):
        read(tmp_path, "a.parquet", "v")
    docs = read_documents(
        DataSettings("a.parquet", labels=("v",), encoding_errors="replace"), tmp_path
    )
    assert docs.table["v"].to_pylist() == [["b\ufffdd"]]


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
    assert stored["tags"].to_pylist() == [["a"], None]
    assert docs.notes == (
        "label 'Dataset' is called 'label_Dataset'",
        "label 'x': NaN and infinities that became NULL: 1",
    )
