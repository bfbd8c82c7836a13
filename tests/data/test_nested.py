"""Changing leaves agrees with the same change in Python, for every kind of nesting and slice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.ingest.data.nested import on_leaves

FLOATS = st.none() | st.integers(-9, 9).map(float)
LISTS = st.none() | st.lists(FLOATS, max_size=3)
STRUCTS = st.none() | st.fixed_dictionaries({"a": FLOATS, "b": LISTS})
STRUCT = pa.struct({"a": pa.float64(), "b": pa.list_(pa.float64())})
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "plain": (pa.float64(), FLOATS),
    "list": (pa.list_(pa.float64()), LISTS),
    "large list": (pa.large_list(pa.float64()), LISTS),
    "list view": (pa.list_view(pa.float64()), LISTS),
    "pairs": (pa.list_(pa.float64(), 2), st.none() | st.lists(FLOATS, min_size=2, max_size=2)),
    "struct": (STRUCT, STRUCTS),
    "lists of structs": (pa.list_(STRUCT), st.none() | st.lists(STRUCTS, max_size=3)),
    "map": (
        pa.map_(pa.string(), pa.list_(pa.float64())),
        st.none() | st.lists(st.tuples(st.sampled_from("xyz"), LISTS), max_size=3),
    ),
    "no fields": (pa.struct([]), st.none() | st.just({})),
}


def doubled(value: Any) -> Any:
    if isinstance(value, float):
        return 2 * value
    if isinstance(value, tuple):
        return (value[0], doubled(value[1]))
    if isinstance(value, list):
        return [doubled(item) for item in value]
    return {k: doubled(v) for k, v in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", KINDS)
@given(data=st.data())
def test_leaves_are_changed_as_python_changes_them(name: str, data: st.DataObject) -> None:
    kind, values = KINDS[name]
    rows = data.draw(st.lists(values, max_size=6))
    start = data.draw(st.integers(0, len(rows)))
    array = pa.array(rows, kind).slice(start)
    changed = on_leaves(array, lambda leaf: pc.multiply(leaf, 2.0))
    changed.validate(full=True)
    assert changed.to_pylist() == doubled(rows[start:])


def test_the_type_depends_on_the_old_type_alone() -> None:
    """So that batches with and without something to change can stand in one column."""
    fields = [pa.field("a", pa.float64(), nullable=False)]
    for kind in (pa.struct(fields), pa.list_(pa.float64(), 1)):
        row = {"a": 1.0} if pa.types.is_struct(kind) else [1.0]
        empty, full = (on_leaves(pa.array(rows, kind), lambda leaf: leaf) for rows in ([], [row]))
        assert empty.type.equals(full.type)
        assert empty.type.field(0).nullable


def test_dictionaries_and_extension_types_are_what_they_store() -> None:
    words = pa.array(["a", None, "a"])
    assert on_leaves(words.dictionary_encode(), lambda leaf: leaf).equals(words)
    uuids = pa.array([b"x" * 16], pa.uuid())
    assert on_leaves(uuids, lambda leaf: leaf).type == pa.binary(16)
