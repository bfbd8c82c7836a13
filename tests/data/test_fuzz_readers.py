"""Data files of random content: a clear error, or what an independent reading finds."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuronmap_sql.errors import DataError, RecipeError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXT = st.text(max_size=6) | st.sampled_from(["", " ", "a", "a\0", "\ud800", "é", "\u2028", "x\n"])
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "encoding_errors": st.sampled_from(["error", "replace", "skip"]),
        "duplicates": st.sampled_from(["error", "number", "skip"]),
        "labels": st.just(("*",)) | st.just(("a",)),
        "limit": st.integers(0, 3),
        "id": st.sampled_from(["", "id", "a"]),
        "delimiter": st.sampled_from(["", ";", "\t", "|", '"', "ab", "\n"]),
        "quote": st.sampled_from(['"', "'", "", ","]),
    },
)


def read(path: Path, rules: dict[str, Any]) -> Documents | None:
    """Read a file; what comes out must be fit for the warehouse. None: it was refused."""
    try:
        found = read_documents(DataSettings(str(path), **rules), Path())
    except (DataError, RecipeError) as error:
        said = str(error)
    else:
        columns = found.table.select(["doc", "doc_id", "text"]).to_pydict()
        assert columns["doc"] == list(range(len(found.table)))
        assert len(set(columns["doc_id"])) == len(found.table) > 0
        assert all(text.strip() for text in columns["text"])
        assert not rules.get("limit") or len(found.table) <= rules["limit"]
        found.table.validate(full=True)
        pq.write_table(found.table, path.with_suffix(".written"))
        return found
    assert said
    return None


ENDINGS = [
    "jsonl",
    "csv",
    "tsv",
    "txt",
    "md",
    "parquet",
    "jsonl.gz",
    "csv.xz",
    "txt.bz2",
    "txt.zst",
]
MAGIC = [b"", b"PAR1", b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd"]
MAGIC += [b"\xef\xbb\xbf", b"\xff\xfe", b"PK\x03\x04", b"text\n", b"text,id\n", b'{"text": "a"}\n']


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_of_random_bytes(tmp_path: Path, ending: str) -> None:
    @settings(QUICK, max_examples=80)
    @given(st.sampled_from(MAGIC), st.binary(max_size=40) | TEXT.map(_bytes), RULES)
    def check(start: bytes, rest: bytes, rules: dict[str, Any]) -> None:
        path = tmp_path / f"a.{ending}"
        path.write_bytes(start + rest)
        read(path, rules)

    check()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good files of some kinds."""
    rows = pa.table({"text": [f"one {n}" for n in range(30)], "a": [[n] for n in range(30)]})
    pq.write_table(rows, path := tmp_path_factory.mktemp("whole") / "a.parquet")
    lines = "".join(json.dumps({"text": f"one {n}", "a": n}) + "\n" for n in range(30)).encode()
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}
    packed = {f"jsonl.{ending}": compress(lines) for ending, compress in pack.items()}
    return {"parquet": path.read_bytes(), "jsonl": lines, **packed}


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.xz", "jsonl.bz2"])
def test_good_files_with_a_few_other_bytes(
    tmp_path: Path, whole: dict[str, bytes], ending: str
) -> None:
    raw = whole[ending]
    found = set()

    @QUICK
    @given(st.integers(0, len(raw) - 1), st.binary(max_size=4), st.integers(0, 8), RULES)
    def check(at: int, more: bytes, less: int, rules: dict[str, Any]) -> None:
        path = tmp_path / f"a.{ending}"
        path.write_bytes(raw[:at] + more + raw[at + less :])
        found.add(read(path, rules) is None)

    check()
    assert found == {True, False}


ROW = st.fixed_dictionaries({"text": TEXT}, optional={"id": TEXT, "a": JSON, "b": JSON}) | (
    st.fixed_dictionaries({}, optional={"text": JSON, "id": JSON, "a": JSON})
)


@QUICK
@given(st.lists(ROW, max_size=5))
def test_json_rows_of_odd_types(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    rules = {"encoding_errors": "replace", "duplicates": "number", "labels": ("*",)}
    found = read(path, rules)
    again = [json.loads(line) for line in path.read_text().splitlines()]
    texts = [row.get("text") for row in again]
    known = {key for row in again for key in row}
    kept = [row for row in again if isinstance(row.get("text"), str) and row["text"].strip()]
    odd = any(not isinstance(text, str | None) for text in texts) or "text" not in known
    assert (found is None) == (odd or not kept)
    if found is None:
        return
    assert found.table["text"].to_pylist() == [_mended(row["text"]) for row in kept]
    for name in {"a", "b"} & known:
        stored = found.table[name].to_pylist()
        assert all(map(_alike, stored, (_mended(row.get(name)) for row in kept)))


def _mended(value: Any) -> Any:
    """Return a JSON value with U+FFFD in the place of each lone surrogate."""
    text = json.dumps(value, ensure_ascii=False)
    return json.loads("".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text))


def _alike(stored: Any, said: Any) -> bool:
    """Whether a label says what the file did: as its type, or as the text of its JSON."""
    if stored is None:
        return said is None or (isinstance(said, int | float) and not _finite(said))
    if isinstance(stored, str) and not isinstance(said, str):
        return repr(json.loads(stored)) == repr(said)
    if isinstance(stored, list):
        return len(stored) == len(said) and all(map(_alike, stored, said))
    if isinstance(stored, dict):
        return stored.keys() == said.keys() and all(_alike(stored[key], said[key]) for key in said)
    if isinstance(stored, float):
        return stored == float(said)
    return type(stored) is type(said) and bool(stored == said)


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False, allow_infinity=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=3),
    pa.large_string(): st.text(max_size=3),
    pa.string_view(): st.text(max_size=3),
    pa.binary(): st.text(max_size=3).map(str.encode),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.time64("us"): st.times(),
    pa.decimal128(20, 3): st.decimals(-(10**9), 10**9, places=3),
    pa.null(): st.none(),
    pa.list_(pa.int64()): st.lists(st.integers(-9, 9), max_size=3),
    pa.struct([("x", pa.string())]): st.fixed_dictionaries({"x": st.text(max_size=3)}),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["p", "q"]),
}
WORDS = (pa.string(), pa.large_string(), pa.string_view(), pa.binary())
WORDS += (pa.dictionary(pa.int8(), pa.string()), pa.null())


@st.composite
def columns(draw: st.DrawFn, rows: int) -> pa.Array:
    kind = draw(st.sampled_from(list(KINDS)))
    values = draw(st.lists(st.none() | KINDS[kind], min_size=rows, max_size=rows))
    return pa.array(values, kind)


@QUICK
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(columns(n), columns(n), columns(n))))
def test_parquet_columns_of_odd_types(tmp_path: Path, made: tuple[pa.Array, ...]) -> None:
    text, id_, label = made
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": text, "id": id_, "a": label}), path)
    found = read(path, {"duplicates": "number", "labels": ("a",)})
    texts = [t.decode() if isinstance(t, bytes) else t for t in text.to_pylist()]
    kept = [row for row, t in enumerate(texts) if isinstance(t, str) and t.strip()]
    if found is None:
        nested = pa.types.is_nested(id_.type)
        assert text.type not in WORDS or not kept or nested
        return
    assert found.table["text"].to_pylist() == [texts[row] for row in kept]
    assert found.table["a"].to_pylist() == [label.to_pylist()[row] for row in kept]


def test_dates_that_python_has_not_are_kept_and_hashed(tmp_path: Path) -> None:
    hashes = set()
    for far in (2**31 - 1, 2**31 - 2):
        days = pa.array([far], pa.int32()).cast(pa.date32())
        ticks = pa.array([[far * 10**9]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("ns")))
        pq.write_table(pa.table({"text": ["a"], "a": days, "b": ticks}), tmp_path / "a.parquet")
        found = read(tmp_path / "a.parquet", {"labels": ("a", "b")})
        assert found
        assert found.table["a"].cast(pa.int32()).to_pylist() == [far]
        hashes.add(found.hash)
    assert len(hashes) == 2
