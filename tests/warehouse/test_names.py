from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.names import LONGEST, decode, encode, glob_escape

SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-%")


def _encoded(name: str) -> str | None:
    try:
        return encode(name)
    except UsageError:
        return None


@settings(deadline=None)
@given(st.text(max_size=40) | st.sampled_from(["..", ".", "a/b", "../../x", "C:\\x", "a=b", "%2e"]))
def test_encoded_names_come_back_and_hold_nothing_dangerous(name: str) -> None:
    part = _encoded(name)
    if part is not None:
        assert decode(part) == name
        assert set(part) <= SAFE
        assert part not in {"", ".", ".."}
        assert not part.startswith(".")
        assert not part.endswith(".")
        assert len(part) <= LONGEST


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=10), unique=True, max_size=6))
def test_different_names_get_different_parts(names: list[str]) -> None:
    parts = [part for name in names if (part := _encoded(name)) is not None]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        (" a", "space around"),
        ("a\nb", "control"),
        ("\ud800", "control"),
        ("NULL", "read as NULL"),
        ("x" * 201, "too long"),
        ("字" * 30, "too long"),
    ],
)
def test_names_that_cannot_be_keys_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        encode(name, "model")


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_the_engine_decodes_names_in_paths(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    part = _encoded(name)
    if part is None:
        return
    folder = tmp_path_factory.mktemp("names") / f"model={part}"
    folder.mkdir()
    pq.write_table(pa.table({"model": ["wrong"]}), folder / "0.parquet")
    source = glob_escape(str(folder.parent)) + "/*/*.parquet"
    found = duckdb.connect().sql(
        "SELECT model FROM read_parquet($path, hive_types = {'model': VARCHAR})",
        params={"path": source},
    )
    assert found.fetchall() == [(name,)]


def test_globs_take_an_escaped_folder_literally(tmp_path: Path) -> None:
    folder = tmp_path / "w[h]*a?"
    folder.mkdir()
    pq.write_table(pa.table({"x": [1]}), folder / "0.parquet")
    source = glob_escape(str(folder)) + "/*.parquet"
    con = duckdb.connect()
    assert con.sql("SELECT x FROM read_parquet($path)", params={"path": source}).fetchall() == [
        (1,)
    ]
    with pytest.raises(duckdb.IOException):
        con.sql("SELECT x FROM read_parquet($path)", params={"path": str(folder / "*.parquet")})
