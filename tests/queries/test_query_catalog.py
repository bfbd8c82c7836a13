"""The named queries that ship: loaded, documented, fit for a stock shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
from row_fixtures import database

from neuronmap_sql.errors import QueryError, UnknownNameError, UsageError
from neuronmap_sql.queries.catalog import load, queries, read
from neuronmap_sql.queries.run import run
from neuronmap_sql.queries.values import written
from neuronmap_sql.warehouse.result import execute
from neuronmap_sql.warehouse.schema import create_tables
from neuronmap_sql.warehouse.views import create_macros

GOOD = """\
-- How many?
--
-- A paragraph
-- in two lines.
--
-- $model VARCHAR: A model,
--   any one.
-- $k INTEGER = 3: Rows: at most.
-- $names VARCHAR[] = ['a', 'it''s']: Names.
-- $share DOUBLE = -0.5: A share.
-- $only BOOLEAN = FALSE: Whether.
-- $other VARCHAR = NULL: Another.
--
-- Example: $model = 'a, b', $k = 5
SELECT $model, $names, $share, $only, $other, '$quoted' AS "$name" -- $comment
LIMIT $k;
"""


@pytest.fixture
def topic(tmp_path: Path) -> Path:
    folder = tmp_path / "topic"
    folder.mkdir()
    return folder


def refused(topic: Path, sql: str) -> str:
    path = topic / "q.sql"
    path.write_text(sql)
    with pytest.raises(QueryError) as caught:
        read(path)
    return str(caught.value).removeprefix(str(path))


def test_a_header_is_read_in_full(topic: Path) -> None:
    path = topic / "counted.sql"
    path.write_text(GOOD)
    query = read(path)
    assert (query.name, query.topic, query.title) == ("counted", "topic", "How many?")
    assert query.description == "A paragraph\nin two lines."
    assert [(p.name, p.type, p.default, p.doc) for p in query.params[1:]] == [
        ("k", "INTEGER", 3, "Rows: at most."),
        ("names", "VARCHAR[]", ["a", "it's"], "Names."),
        ("share", "DOUBLE", -0.5, "A share."),
        ("only", "BOOLEAN", False, "Whether."),
        ("other", "VARCHAR", None, "Another."),
    ]
    assert query.params[0].required
    assert query.params[0].doc == "A model, any one."
    assert query.example == {"model": "a, b", "k": 5}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("LIMIT $k", "LIMIT $kk", ":16: $kk is not declared; did you mean 'k'?"),
        ("LIMIT $k", "", ":8: $k is declared but not used"),
        ("INTEGER = 3", "INTEGR = 3", ":8: $k has the type INTEGR; did you mean 'INTEGER'"),
        ("INTEGER = 3", "INTEGER = 'x'", ":8: 'x' is not a literal of the type INTEGER"),
        ("INTEGER = 3", "INTEGER[] = 3", ":8: 3 is not a literal of the type INTEGER[]"),
        ("$k INTEGER = 3:", "$k INTEGER = 3", ":8: expected `$name TYPE = default: meaning`"),
        ("$other VARCHAR", "$k VARCHAR", ":12: $k is declared twice"),
        ("$k = 5", "$l = 5", ":14: the example gives $l, which is not declared above it"),
        ("$model = 'a, b', ", "", ":14: the example lacks $model, which has no default"),
        ("$k = 5", "k: 5", ":14: expected `Example: $name = value, ...`, found"),
        ("-- Example: $model = 'a, b', $k = 5\n", "", ":1: no example"),
        ("-- How many?", "--", ":1: a query starts with a comment"),
    ],
)
def test_a_wrong_header_is_refused_with_file_and_line(
    topic: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    assert refused(topic, GOOD.replace(old, new)).startswith(message)


def test_parameters_in_text_and_comments_are_not_used() -> None:
    """`GOOD` has $quoted, $name and $comment; only in code would they need a declaration."""
    assert all(f"${word}" in GOOD for word in ("quoted", "name", "comment"))


def test_there_are_queries_in_each_topic() -> None:
    found = queries()
    assert len(found) >= 18
    assert list(found) == [q.name for q in sorted(found.values(), key=lambda q: q.path)]


@pytest.mark.parametrize("name", list(queries()))
def test_the_example_runs_and_the_answer_is_arrow_and_polars(name: str) -> None:
    with database({"docs": "doc | source:VARCHAR\n0 | web"}) as con:
        query = load(name)
        table = execute(con, query.sql, query.bind(query.example)).arrow()
        assert isinstance(pl.from_arrow(table), pl.DataFrame)


@pytest.mark.parametrize("name", list(queries()))
def test_a_file_is_one_statement_with_a_question_for_a_title(name: str) -> None:
    query = load(name)
    assert len(duckdb.extract_statements(query.sql)) == 1
    assert query.title.endswith("?")
    assert query.sql.endswith(";\n")
    assert max(map(len, query.sql.splitlines())) <= 120


def test_every_query_runs_in_the_stock_shell(tmp_path: Path) -> None:
    shell = Path(sys.executable).with_name("duckdb")
    path = tmp_path / "plain.duckdb"
    with duckdb.connect() as con:
        con.execute(f"ATTACH '{path}' AS plain (STORAGE_VERSION 'v1.0.0')")
        con.execute("USE plain")
        create_tables(con)
        create_macros(con, "macros")
        con.execute("ALTER TABLE docs ADD COLUMN source VARCHAR")
    lines = []
    for name, query in queries().items():
        values = ", ".join(f"{p} := {written(v)}" for p, v in query.bind(query.example).items())
        lines += [
            f"PREPARE {name} AS\n{query.sql}",
            f"EXECUTE {name}({values});" if values else f"EXECUTE {name};",
        ]
    done = subprocess.run(
        [str(shell), "-bail", "-csv", str(path)],
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_text_from_a_command_line_is_read_by_type() -> None:
    rows = "neuron | kurtosis\n1 | 5\n2 | 4\n3 | 9"
    with database({"neuron_stats": rows}) as con:
        result = run(con, "most_peaked_neurons", model="m", k="2", layer="0").pl()
    assert result["neuron"].to_list() == [3, 1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "query 'dead_neurons' wants the parameter 'model' (VARCHAR): A model, as in"),
        ({"modell": "m"}, "query 'dead_neurons' has no parameter 'modell'; did you mean 'model'?"),
        (
            {"model": "m", "layer": "x"},
            "parameter 'layer' of query 'dead_neurons' wants a value of the type INTEGER, got 'x'",
        ),
        ({"model": "m", "layer": 0.5}, "parameter 'layer' of query 'dead_neurons' wants"),
        ({"model": "m", "layer": True}, "parameter 'layer' of query 'dead_neurons' wants"),
        ({"model": 3}, "parameter 'model' of query 'dead_neurons' wants"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, object], message: str) -> None:
    with database({}) as con, pytest.raises(UsageError) as caught:
        run(con, "dead_neurons", **params)
    assert str(caught.value).startswith(message)


def test_an_unknown_query_names_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match="no query named 'ded_neurons'; did you mean 'dead_neurons'"
    ):
        load("ded_neurons")


def test_what_the_engine_refuses_is_a_query_error_with_the_file() -> None:
    with (
        duckdb.connect() as con,
        pytest.raises(QueryError, match=r"dead_neurons\.sql.*neuron_stats"),
    ):
        run(con, "dead_neurons", model="m")
