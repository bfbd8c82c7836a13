"""Row fixtures: tables written as text, put into the warehouse's tables, compared with results.

    [[case]]
    about = "one sentence"
    params = {model = "m"}
    given.neuron_stats = '''
    neuron | kurtosis
    1      | 3.5
    '''
    expect = '''
    dataset | layer | ...
    '''

Cells are cast by the engine to the column's type; NULL is NULL; quotes keep spaces ("' the'").
Columns that a fixture does not name get NULL, or a filler where NULL is not allowed.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from neuronmap_sql.warehouse.schema import column_types, create_tables
from neuronmap_sql.warehouse.views import create_macros

KEYS = {
    "run": "r",
    "model": "m",
    "dataset": "d",
    "tokenizer": "t",
    "site": "mlp",
    "partner_site": "mlp",
}
ROWS = Path(__file__).parent / "rows"


@dataclass(frozen=True)
class Case:
    about: str
    params: dict[str, Any]
    given: dict[str, str]
    expect: str


def read_cases(path: Path) -> list[Case]:
    return [Case(**{"params": {}, **case}) for case in tomllib.loads(path.read_text())["case"]]


@cache
def empty_database() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    create_tables(con)
    create_macros(con, "macros")
    return con


@contextmanager
def database(given: dict[str, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A plain connection with all tables, the given rows in them; they vanish at the end."""
    con = empty_database()
    con.begin()
    try:
        for table, text in given.items():
            fill(con, table, text)
        yield con
    finally:
        con.rollback()


def fill(con: duckdb.DuckDBPyConnection, table: str, text: str) -> None:
    header, rows = parse(text)
    types = column_types(table)
    names = []
    for name in header:
        name, _, kind = name.partition(":")
        if kind:  # a label column, `year:INTEGER`
            con.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
            types[name] = kind
        names.append(name)
    fillers = {c: filler(c, types[c]) for c in required(con, table) if c not in names}
    columns = ", ".join([*names, *fillers])
    for row in rows:
        cells = [cell(text, types[name]) for name, text in zip(names, row, strict=True)]
        values = ", ".join([*cells, *fillers.values()])
        con.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})")


def required(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    found = con.sql(
        "SELECT column_name FROM duckdb_columns() WHERE table_name = $table AND NOT is_nullable",
        params={"table": table},
    )
    return [name for (name,) in found.fetchall()]


def filler(name: str, kind: str) -> str:
    if name in KEYS:
        return cell(KEYS[name], kind)
    text = {"VARCHAR": "", "BOOLEAN": "false", "BLOB": "", "TIMESTAMP WITH TIME ZONE": "2026-01-01"}
    if kind.endswith("[]"):
        return cell("[]", kind)
    return cell("{}" if kind.startswith("MAP") else text.get(kind, "0"), kind)


def cell(text: str, kind: str) -> str:
    """A cell as SQL."""
    if text == "NULL":
        return f"CAST(NULL AS {kind})"
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
    return f"CAST({quote(text)} AS {kind})"


def quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def parse(text: str) -> tuple[list[str], list[list[str]]]:
    lines = [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]
    return lines[0], lines[1:]


def expected(
    con: duckdb.DuckDBPyConnection, text: str, types: list[str]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The header and the rows of an expected table, as values of the result's types."""
    header, rows = parse(text)
    if len(header) != len(types):
        return header, []
    cells = [", ".join(cell(t, k) for t, k in zip(row, types, strict=True)) for row in rows]
    return header, [con.sql(f"SELECT {line}").pl().rows()[0] for line in cells]


def close(a: Any, b: Any) -> bool:
    """Equal, floats to 1e-6 relative."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return type(a) is type(b) and bool(a == b)
