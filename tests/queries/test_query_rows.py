"""Every named query gives the expected rows for given tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from row_fixtures import ROWS, Case, close, database, expected, read_cases

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.queries.catalog import load, queries
from neuronmap_sql.queries.run import run

FILES = sorted(ROWS.glob("*/*.toml"))
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}: {case.about}")
    for path in FILES
    for case in read_cases(path)
]


def test_every_query_has_row_fixtures_and_every_fixture_a_query() -> None:
    named = {f"{query.topic}/{query.name}" for query in queries().values()}
    assert {str(path.relative_to(ROWS).with_suffix("")) for path in FILES} == named


def types(con: duckdb.DuckDBPyConnection, name: str, params: dict[str, Any]) -> list[str]:
    """SQL types of a query's columns, as the engine gives them."""
    query = load(name)
    return [str(kind) for kind in con.sql(query.sql, params=query.bind(params) or None).types]


def answer(name: str, case: Case, given: dict[str, str]) -> tuple[bool, str]:
    with database(given) as con:
        result = run(con, name, **case.params)
        columns, rows = result.columns, result.pl().rows()
        header, wanted = expected(con, case.expect, types(con, name, case.params))
    story = "\n".join(map(str, [columns, *rows, "wanted", header, *wanted]))
    return columns == header and close(rows, wanted), story


@pytest.mark.parametrize(("name", "case"), CASES)
def test_rows(name: str, case: Case) -> None:
    same, story = answer(name, case, case.given)
    assert same, story


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_given_table_matters(name: str, case: Case) -> None:
    """Negative control: without the rows of any one given table the answer is another."""
    for table, text in case.given.items():
        header_only = text.strip().splitlines()[0]
        try:
            same, _ = answer(name, case, {**case.given, table: header_only})
        except UnknownNameError:
            continue  # an empty answer, because a name is stored no more
        assert not same, f"{table} does not matter"
