"""Each format, packed and not; which files a path means; what cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings

ROWS = b'{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n'


def read(base: Path, path: str, **data: object) -> Documents:
    return read_documents(DataSettings(path, **data), base)


def texts(docs: Documents) -> list[str]:
    return docs.table["text"].to_pylist()


def ids(docs: Documents) -> list[str]:
    return docs.table["doc_id"].to_pylist()


def zstd(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return sink.getvalue().to_pybytes()


PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress, ".zst": zstd}


@pytest.mark.parametrize("packing", PACK)
def test_packed_files(tmp_path: Path, packing: str) -> None:
    (tmp_path / f"a.jsonl{packing}").write_bytes(PACK[packing](ROWS))
    docs = read(tmp_path, f"a.jsonl{packing}")
    assert (docs.name, texts(docs)) == ("a", ["one", "two"])


@pytest.mark.parametrize("packing", PACK)
def test_packed_files_that_are_cut_or_no_such_thing(tmp_path: Path, packing: str) -> None:
    name = f"a.jsonl{packing}"
    (tmp_path / name).write_bytes(ROWS)
    with pytest.raises(DataError, match=rf"a\.jsonl\{packing}: cannot be read"):
        read(tmp_path, name)
    (tmp_path / name).write_bytes(PACK[packing](ROWS * 999)[:-20])
    with pytest.raises(DataError, match=rf"a\.jsonl\{packing}: cannot be read"):
        read(tmp_path, name, duplicates="skip")


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_packed_files_are_known_by_their_first_bytes(
    tmp_path: Path, packing: str, name: str
) -> None:
    (tmp_path / name).write_bytes(PACK[packing](ROWS))
    assert texts(read(tmp_path, name)) == ["one", "two"]


def zipped(raw: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr("a.jsonl", raw)
    return sink.getvalue()


def lz4(raw: bytes) -> bytes:
    return bytes(pa.compress(raw, "lz4", asbytes=True))


def parquet(_: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["one"]}), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.csv", "a.jsonl.zip"])
@pytest.mark.parametrize(
    ("form", "message"),
    [
        (zipped, "is a zip archive: unpack it"),
        (lz4, "is packed with lz4: unpack it"),
        (parquet, "is a Parquet file: set data.format to 'parquet'"),
    ],
)
def test_archives_are_refused_by_their_first_bytes(
    tmp_path: Path, name: str, form: Callable[[bytes], bytes], message: str
) -> None:
    (tmp_path / name).write_bytes(form(ROWS))
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read(tmp_path, name)


@pytest.mark.parametrize("text", ["BZh", "BZh9 is how bzip2 begins", "PK", "PAR1", "7z", "P"])
def test_text_that_begins_nearly_like_an_archive_is_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert texts(read(tmp_path, "a.txt")) == [text]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "two"', r"a\.jsonl:2: not valid JSON: .*delimiter"),
        ('"two"', r"a\.jsonl:2: a JSON object a line is needed, .* not str"),
        ("[" * 100_000, r"a\.jsonl:2: not valid JSON"),
        ('[{"text": "one"},', r"a\.jsonl:2: .*must be one object a line"),
    ],
)
def test_broken_json_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.jsonl")


def test_a_document_a_line_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "sub" / "b.txt").write_text("three")
    lines = read(tmp_path, "a.txt")
    assert (texts(lines), ids(lines)) == (["one", "two"], ["a.txt:1", "a.txt:3"])
    files = read(tmp_path, "**/*.txt", format="files", name="x")
    assert (texts(files), ids(files)) == (["one\n\ntwo\n", "three"], ["a.txt", "sub/b.txt"])
    with pytest.raises(DataError, match="plain text has no columns"):
        read(tmp_path, "a.txt", labels=("source",))


def test_parquet_with_every_kind_of_string(tmp_path: Path) -> None:
    for kind in (
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.dictionary(pa.int8(), pa.string()),
    ):
        column = pa.array(["one", None, "two"]).cast(kind)
        pq.write_table(pa.table({"text": column, "id": [5, 6, 7]}), tmp_path / "a.parquet")
        docs = read(tmp_path, "a.parquet")
        assert (texts(docs), ids(docs)) == (["one", "two"], ["5", "7"])
    pq.write_table(pa.table({"text": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: column 'text' holds int64, not text"):
        read(tmp_path, "a.parquet")


def test_parquet_with_strings_that_are_no_utf8(tmp_path: Path) -> None:
    bad = pa.array([b"b\xe9d", b"good"]).view(pa.string())
    pq.write_table(pa.table({"text": bad, "kind": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet:1: byte 0xe9 is no character"):
        read(tmp_path, "a.parquet")
    docs = read(tmp_path, "a.parquet", encoding_errors="replace", labels=("kind",))
    assert texts(docs) == docs.table["kind"].to_pylist() == ["b\ufffdd", "good"]


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(ROWS)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as Parquet"):
        read(tmp_path, "a.parquet")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"])
    )
    rows = {"text": ["one", "two", "three"], "label": [1, 0, -1]}
    stored = datasets.Dataset.from_dict(rows, features=features)
    stored.select([2, 0, 1]).save_to_disk(tmp_path / "set")
    datasets.DatasetDict(train=stored, test=stored).save_to_disk(tmp_path / "sets")
    return tmp_path


def test_datasets_on_disk_in_their_order_with_class_names(saved: Path) -> None:
    docs = read(saved, "set", labels=("label",))
    assert docs.name == "set"
    assert texts(docs) == ["three", "one", "two"]
    assert docs.table["label"].to_pylist() == [None, "good", "bad"]
    assert texts(read(saved, "sets/train")) == ["one", "two", "three"]
    with pytest.raises(DataError, match=r"sets: holds several splits: .* one of test, train"):
        read(saved, "sets")


def test_datasets_without_the_package(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'neuronmap-sql\[datasets\]'"):
        read(saved, "set")


def test_globs_are_read_in_order_and_names_tell_files_apart(tmp_path: Path) -> None:
    for folder, text in (("b", "two"), ("a", "one")):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "x.jsonl").write_text(f'{{"text": "{text}"}}\n')
    docs = read(tmp_path, "data/*/x.jsonl")
    assert (texts(docs), ids(docs)) == (["one", "two"], ["a/x.jsonl:1", "b/x.jsonl:1"])


def test_columns_of_one_file_only(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "two", "n": 1}\n')
    docs = read(tmp_path, "*.jsonl", labels=("*",))
    assert docs.table["n"].to_pylist() == [None, 1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("b*.jsonl", r"no file matches data\.path = 'b\*\.jsonl' in "),
        ("a.jsnl", r"no file .*a\.jsnl; did you mean 'a\.jsonl'"),
        ("folder", r"folder: is a folder: name its files, such as 'folder/\*\.jsonl'"),
        ("a.dat", r"a\.dat: what format is it\? Set data\.format to jsonl, csv"),
        ("a.*", r"a\.\*: files of several formats \(csv, jsonl\)"),
    ],
)
def test_paths_that_name_no_data(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("a.jsonl", "a.csv") + (("a.dat",) if path == "a.dat" else ()):
        (tmp_path / name).write_bytes(ROWS)
    with pytest.raises(DataError, match=message):
        read(tmp_path, path)


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl").write_bytes(ROWS)
    assert texts(read(tmp_path, "a[1].jsonl")) == ["one", "two"]
