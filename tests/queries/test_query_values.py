"""Parameter values: literals of headers, text of the command line, Python objects."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.errors import QueryError, UsageError
from neuronmap_sql.queries.values import TYPES, Value, literal, typed, written

SCALARS = {
    "BOOLEAN": st.booleans(),
    "DOUBLE": st.floats(allow_nan=False, allow_infinity=False),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "VARCHAR": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
}


def of_type(kind: str) -> st.SearchStrategy[Value]:
    if kind.endswith("[]"):
        return st.lists(SCALARS[kind[:-2]], max_size=3)
    return st.none() | SCALARS[kind]


TYPED = st.sampled_from(TYPES).flatmap(lambda kind: st.tuples(st.just(kind), of_type(kind)))


@given(TYPED)
def test_a_written_value_is_read_again(pair: tuple[str, Value]) -> None:
    kind, value = pair
    assert literal("f:1", kind, written(value)) == value


@given(TYPED)
def test_the_engine_reads_a_written_value_the_same(pair: tuple[str, Value]) -> None:
    kind, value = pair
    assert duckdb.sql(f"SELECT CAST({written(value)} AS {kind})").fetchall() == [(value,)]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("INTEGER", "-3", -3),
        ("DOUBLE", "1e-3", 0.001),
        ("DOUBLE", "2", 2.0),
        ("VARCHAR", "NULL", "NULL"),
        ("INTEGER", "NULL", None),
        ("BOOLEAN", "yes", True),
        ("BOOLEAN", "False", False),
        ("INTEGER[]", "1,2", [1, 2]),
        ("VARCHAR[]", "a,b", ["a", "b"]),
        ("VARCHAR[]", ("a", "b"), ["a", "b"]),
        ("DOUBLE", 3, 3),
    ],
)
def test_values_are_read_by_type(kind: str, text: object, value: Value) -> None:
    assert typed("p", kind, text) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTEGER", "3.5"),
        ("INTEGER", 3.5),
        ("INTEGER", True),
        ("BOOLEAN", 1),
        ("BOOLEAN", "maybe"),
        ("VARCHAR", 1),
        ("INTEGER[]", 1),
        ("INTEGER[]", ["x"]),
    ],
)
def test_values_of_another_type_are_refused(kind: str, value: object) -> None:
    with pytest.raises(UsageError, match=r"^p wants a"):
        typed("p", kind, value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("INTEGER", "'3'"),
        ("VARCHAR", "x"),
        ("BOOLEAN", "maybe"),
        ("INTEGER[]", "3"),
        ("DOUBLE", "[1]"),
    ],
)
def test_literals_of_another_type_are_refused(kind: str, text: str) -> None:
    with pytest.raises(QueryError, match=r"^f:1: .* is not a literal of the type"):
        literal("f:1", kind, text)
