"""Standard output is data: what is printed parses back to the rows of the files themselves."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import neuronmap_sql as nm

ROWS = """
SELECT t.layer, t.neuron, s.mean, s.variance, t.rank, t.value, t.token, t.tok, d.doc_id, d.text,
    s.count > 10 AS many, s.hist_bins[:3] AS bins, NULL::INTEGER AS nothing,
    TIMESTAMP '2026-11-21 10:00:00.25' AS moment, sum(t.tok) OVER () AS toks
FROM top_activations AS t
JOIN neuron_stats AS s USING (model, dataset, site, layer, neuron)
JOIN docs AS d USING (dataset, doc)
WHERE t.side = 'highest' AND t.site = 'mlp' AND t.neuron < 9 AND t.rank < 4
ORDER BY t.layer, t.neuron, t.rank
"""


def from_csv(data: bytes) -> list[dict[str, Any]]:
    text = {"token": pl.String, "text": pl.String, "doc_id": pl.String}
    frame = pl.read_csv(data, schema_overrides=text, try_parse_dates=True)
    bins = [json.loads(value) for value in frame["bins"]]
    return frame.with_columns(pl.Series("bins", bins)).to_dicts()


def from_json(data: bytes) -> list[dict[str, Any]]:
    return [as_time(row) for row in json.loads(data)]


def from_jsonl(data: bytes) -> list[dict[str, Any]]:
    return [as_time(json.loads(line)) for line in data.decode().split("\n") if line]


def as_time(row: dict[str, Any]) -> dict[str, Any]:
    moment = pl.Series([row["moment"]]).str.to_datetime()[0]
    return row | {"moment": moment}


def from_arrow(data: bytes) -> list[dict[str, Any]]:
    return pa.ipc.open_stream(data).read_all().to_pylist()


def from_parquet(data: bytes) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(data)).to_pylist()


READERS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    "csv": from_csv, "json": from_json, "jsonl": from_jsonl, "arrow": from_arrow,
    "parquet": from_parquet,
}  # fmt: skip


def comparable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """FLOAT values as float32, whatever width the format gave them; HUGEINT as int."""
    single = {"value": lambda x: float(pl.Series([x], dtype=pl.Float32)[0]), "toks": int}
    return [{k: single[k](v) if k in single else v for k, v in row.items()} for row in rows]


@pytest.fixture(scope="module")
def expected(demo_warehouse: Path) -> list[dict[str, Any]]:
    """The rows by DuckDB alone, from the files."""
    with duckdb.connect() as con:
        for table in ("top_activations", "neuron_stats", "docs"):
            files = f"{demo_warehouse}/runs/*/{table}/*.parquet"
            con.sql(f"CREATE VIEW {table} AS FROM read_parquet('{files}')")
        rows = con.sql(ROWS).to_arrow_table().to_pylist()
    assert len(rows) == 4 * 9 * 3
    return comparable(rows)


@pytest.mark.parametrize("form", READERS)
def test_rows_parse_back(cli: Any, demo_warehouse: Path, expected: Any, form: str) -> None:
    answer = cli("sql", ROWS, "-w", demo_warehouse, "--format", form)
    assert (answer.code, answer.err) == (0, "")
    assert comparable(READERS[form](answer.out)) == expected


@pytest.mark.parametrize("form", READERS)
def test_output_goes_to_a_file(
    cli: Any, demo_warehouse: Path, expected: Any, form: str, tmp_path: Path
) -> None:
    file = tmp_path / "rows"
    answer = cli("sql", ROWS, "-w", demo_warehouse, "-f", form, "-o", file)
    assert (answer.code, answer.out, answer.err) == (0, b"", "")
    assert comparable(READERS[form](file.read_bytes())) == expected


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_parse_back_from_a_pipe(
    process: Any, demo_warehouse: Path, expected: Any, form: str
) -> None:
    """A pipe cannot seek, unlike the buffer of the tests above."""
    answer = process("sql", ROWS, "-w", demo_warehouse, "-f", form)
    assert (answer.code, answer.err) == (0, "")
    assert comparable(READERS[form](answer.out)) == expected


@pytest.mark.parametrize("form", READERS)
def test_no_rows_parse_back(cli: Any, demo_warehouse: Path, form: str) -> None:
    answer = cli("sql", f"SELECT * FROM ({ROWS}) WHERE false", "-w", demo_warehouse, "-f", form)
    assert answer.code == 0
    if form == "csv":
        assert answer.text.startswith("layer,neuron,mean")
        assert pl.read_csv(answer.out).is_empty()
    else:
        assert READERS[form](answer.out) == []


def test_a_table_shows_forty_rows_and_says_so(cli: Any, demo_warehouse: Path) -> None:
    answer = cli("sql", "SELECT range AS n FROM range(1000, 1050)", "-w", demo_warehouse)
    assert "1000" in answer.text
    assert answer.text.count("\n") < 50
    assert "50 rows, 40 shown" in answer.err


def test_a_table_in_a_file_has_all_rows(cli: Any, demo_warehouse: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    cli("sql", "SELECT range AS n FROM range(1000, 1050)", "-w", demo_warehouse, "-o", file)
    written = file.read_text()
    assert all(str(number) in written for number in range(1000, 1050))


def test_a_file_that_cannot_be_written(cli: Any, demo_warehouse: Path, tmp_path: Path) -> None:
    (tmp_path / "no").write_text("")
    answer = cli(
        "sql", "SELECT 1", "-w", demo_warehouse, "-o", tmp_path / "no" / "file", "-f", "csv"
    )
    assert answer.code == 2
    assert "file: cannot be written: File exists" in answer.err


def test_bytes_do_not_go_to_a_terminal(script: Path, demo_warehouse: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [script, "sql", "SELECT 1", "-f", "parquet", "-w", demo_warehouse],
        stdout=theirs, stderr=subprocess.PIPE, text=True, timeout=120,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert "name a file with -o, or pipe" in done.stderr


@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_reader_that_leaves_early(script: Path, demo_warehouse: Path, form: str) -> None:
    """`| head` ends a large answer: no complaint, and no failure under pipefail."""
    asked = f"{script} sql 'SELECT repeat(range::VARCHAR, 99) FROM range(20000)' -f {form}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{asked} -w {demo_warehouse} 2>&1 | head -c 10"],
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert len(done.stdout) == 10
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("form", ["table", "csv", "json", "arrow", "parquet"])
def test_columns_of_one_name_are_numbered(
    cli: Any, demo_warehouse: Path, tmp_path: Path, form: str
) -> None:
    query = "SELECT 1 AS layer, 2 AS layer, 3 AS x, 4 AS layer"
    file = tmp_path / "rows"
    assert cli("sql", query, "-w", demo_warehouse, "-f", form, "-o", file).code == 0
    for name in (b"layer_1", b"layer_2"):
        assert name in file.read_bytes()


def test_json_has_null_for_what_is_no_number(cli: Any, demo_warehouse: Path) -> None:
    query = "SELECT 'nan'::DOUBLE AS a, ['inf'::FLOAT, 1.5] AS b, 2.5::FLOAT AS \"c d\""
    answer = cli("sql", query, "-w", demo_warehouse, "-f", "json")
    assert json.loads(answer.out) == [{"a": None, "b": [None, 1.5], "c d": 2.5}]
    assert "NaN" not in answer.text


def test_a_failed_write_leaves_no_file(cli: Any, demo_warehouse: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_text("before")
    query = "SELECT INTERVAL 1 MONTH AS no_such_type_in_parquet"
    answer = cli("sql", query, "-w", demo_warehouse, "-f", "parquet", "-o", file)
    assert answer.code == 2
    assert "cannot be written as parquet" in answer.err
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("statement", ["CREATE TABLE x AS SELECT 1", "DELETE FROM docs"])
def test_what_would_be_lost_is_refused(cli: Any, demo_warehouse: Path, statement: str) -> None:
    answer = cli("sql", statement, "-w", demo_warehouse)
    assert answer.code == 2
    assert "would be lost" in answer.err
    kept = cli("sql", "CREATE TABLE x AS SELECT 7 AS n; FROM x", "-w", demo_warehouse, "-f", "csv")
    assert kept.text == "n\n7\n"


@pytest.mark.parametrize("form", READERS)
def test_the_ending_of_a_file_says_the_format(
    cli: Any, demo_warehouse: Path, expected: Any, form: str, tmp_path: Path
) -> None:
    file = tmp_path / f"rows.{form.upper()}"
    assert cli("sql", ROWS, "-w", demo_warehouse, "-o", file).code == 0
    assert comparable(READERS[form](file.read_bytes())) == expected
    other = cli("sql", ROWS, "-w", demo_warehouse, "-o", tmp_path / "rows.xls")
    assert (other.code, "rows.xls: say with --format what to write" in other.err) == (2, True)


def test_intervals_are_shown(cli: Any, demo_warehouse: Path) -> None:
    sql = "SELECT INTERVAL 3 DAY AS d, [INTERVAL 1 MONTH] AS m, 1 AS n"
    shown = cli("sql", sql, "-w", demo_warehouse)
    assert (shown.code, "3 days" in shown.text, "1 month" in shown.text) == (0, True, True)
    with pytest.raises(nm.QueryError, match="polars has no type for INTERVAL: cast d to VARCHAR"):
        nm.open(demo_warehouse).sql(sql).pl()
