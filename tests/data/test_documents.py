"""The rules: which rows are documents, under which ids, and what is said about the others."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings


def read(base: Path, path: str, **data: object) -> Documents:
    return read_documents(DataSettings(path, **data), base)


def jsonl(base: Path, *rows: object) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (base / "a.jsonl").write_text(text, encoding="utf-8")
    return "a.jsonl"


def texts(docs: Documents) -> list[str]:
    return docs.table["text"].to_pylist()


def ids(docs: Documents) -> list[str]:
    return docs.table["doc_id"].to_pylist()


def test_documents_are_numbered_and_named(tmp_path: Path) -> None:
    docs = read(tmp_path, jsonl(tmp_path, {"id": "x", "text": "one"}, {"id": 7, "text": "two"}))
    assert docs.table.to_pylist() == [
        {"doc": 0, "doc_id": "x", "text": "one"},
        {"doc": 1, "doc_id": "7", "text": "two"},
    ]
    assert (docs.name, docs.notes) == ("a", ())
    assert read(tmp_path, "a.jsonl", name="mine").name == "mine"


def test_without_ids_file_and_line_name_the_document(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two", "id": null}\n')
    assert ids(read(tmp_path, "a.jsonl")) == ["a.jsonl:1", "a.jsonl:3"]


def test_empty_documents_and_missing_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"text": t} for t in ("one", "", " \n\u3000", None, "two")]
    docs = read(tmp_path, jsonl(tmp_path, *rows, {"id": "no text"}))
    assert texts(docs) == ["one", "two"]
    assert docs.table["doc"].to_pylist() == [0, 1]
    assert docs.notes == ("2 documents without text left out", "2 empty documents left out")


def test_a_dataset_without_documents_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no documents in a\.jsonl: 1 empty document left out"):
        read(tmp_path, jsonl(tmp_path, {"text": ""}))
    (tmp_path / "b.jsonl").write_text("")
    with pytest.raises(DataError, match=r"no documents in b\.jsonl: it is empty"):
        read(tmp_path, "b.jsonl")


def test_ids_that_are_taken(tmp_path: Path) -> None:
    rows = [{"id": i, "text": f"t{n}"} for n, i in enumerate(["a", "b", "a", "a#2", "a"])]
    path = jsonl(tmp_path, *rows)
    with pytest.raises(DataError, match=r"a\.jsonl:3: id 'a' is taken by a\.jsonl:1; set"):
        read(tmp_path, path)
    numbered = read(tmp_path, path, duplicates="number")
    assert ids(numbered) == ["a", "b", "a#2", "a#2#2", "a#3"]
    assert numbered.notes == ("3 documents whose id was taken got a number",)
    skipped = read(tmp_path, path, duplicates="skip")
    assert texts(skipped) == ["t0", "t1", "t3"]
    assert skipped.notes == ("2 documents with an id that is taken left out",)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "txt"])
def test_bad_utf8_in_lines(tmp_path: Path, ending: str) -> None:
    head = {"jsonl": b"", "csv": b"text\n", "txt": b""}[ending]
    wrap = {"jsonl": b'{"text": "%s"}\n', "csv": b"%s\n", "txt": b"%s\n"}[ending]
    lines = [wrap % piece for piece in (b"good", b"b\xe9d", "é".encode())]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(head + b"".join(lines))
    line = 2 + len(head.splitlines())
    at = lines[1].index(b"\xe9") + 1
    expected = rf"a\.{ending}:{line}: not valid UTF-8: byte 0xe9 at byte {at}; set data\.encoding"
    with pytest.raises(DataError, match=expected):
        read(tmp_path, path.name)
    replaced = read(tmp_path, path.name, encoding_errors="replace")
    assert texts(replaced) == ["good", "b\ufffdd", "é"]
    assert replaced.notes == ("1 document with U+FFFD put for bad bytes",)
    skipped = read(tmp_path, path.name, encoding_errors="skip")
    assert texts(skipped) == ["good", "é"]
    assert skipped.notes == ("1 document of invalid UTF-8 left out",)


def test_bad_utf8_in_a_file_names_the_byte(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"good\nb\xffd")
    with pytest.raises(DataError, match=r"a\.md: not valid UTF-8: byte 0xff at byte 7"):
        read(tmp_path, "a.md")
    assert texts(read(tmp_path, "a.md", encoding_errors="replace")) == ["good\nb\ufffdd"]


def test_lone_surrogates_in_json_are_bad_characters(tmp_path: Path) -> None:
    rows = r'{"text": "a\ud800b"}' + "\n" + r'{"text": "\ud83d\ude00"}' + "\n"
    (tmp_path / "a.jsonl").write_text(rows)
    with pytest.raises(DataError, match=r"a\.jsonl:1: the lone surrogate U\+D800 is no character"):
        read(tmp_path, "a.jsonl")
    assert texts(read(tmp_path, "a.jsonl", encoding_errors="replace")) == ["a\ufffdb", "😀"]
    assert texts(read(tmp_path, "a.jsonl", encoding_errors="skip")) == ["😀"]


def test_bad_characters_in_labels_follow_the_same_rule(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(r'{"text": "a", "kind": "x\udc00", "n": ["\udc00"]}')
    with pytest.raises(DataError, match="lone surrogate"):
        read(tmp_path, "a.jsonl", labels=("kind",))
    assert texts(read(tmp_path, "a.jsonl")) == ["a"], "not kept, not looked at"
    docs = read(tmp_path, "a.jsonl", labels=("*",), encoding_errors="replace")
    assert docs.table["kind"].to_pylist() == ["x\ufffd"]
    assert docs.table["n"].to_pylist() == [["\ufffd"]]
    with pytest.raises(DataError, match="lone surrogate"):
        read(tmp_path, "a.jsonl", labels=("n",))


def test_marks_of_byte_order_and_line_ends_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\x0b\xe2\x80\xa8three\rfour\n")
    assert texts(read(tmp_path, "a.txt")) == ["one", "two\x0b\u2028three\rfour"]
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one\\r\\n"}\r\n')
    assert texts(read(tmp_path, "a.jsonl")) == ["one\r\n"]
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert texts(read(tmp_path, "a.md")) == ["one\r\ntwo"], "a whole file stays as it is"
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbftext,n\r\n"one\r\ntwo",1\r\n')
    assert texts(read(tmp_path, "a.csv")) == ["one\r\ntwo"]


def test_utf16_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-16")
    with pytest.raises(DataError, match=r"a\.txt: is UTF-16: convert it with `iconv"):
        read(tmp_path, "a.txt", encoding_errors="replace")


def test_nul_characters_are_text(tmp_path: Path) -> None:
    assert texts(read(tmp_path, jsonl(tmp_path, {"text": "a\0b"}))) == ["a\0b"]


def test_a_document_of_a_megabyte(tmp_path: Path) -> None:
    text = "sea " * (1 << 18)
    (tmp_path / "a.csv").write_text(f"text\n{text}\n")
    assert texts(read(tmp_path, "a.csv")) == [text]
    assert texts(read(tmp_path, jsonl(tmp_path, {"text": text}))) == [text]


def test_the_limit_counts_documents_that_are_kept(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *({"text": t, "n": n} for n, t in enumerate(["", "a", "b", "c"])))
    docs = read(tmp_path, path, limit=2, labels=("n",))
    assert docs.table.select(["text", "n"]).to_pylist() == [
        {"text": "a", "n": 1},
        {"text": "b", "n": 2},
    ]


def test_more_rows_than_one_batch_of_the_readers(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", **({"late": n} if n > 2000 else {})} for n in range(2500)]
    docs = read(tmp_path, jsonl(tmp_path, *rows), labels=("late",))
    assert texts(docs) == [f"t{n}" for n in range(2500)]
    assert docs.table["late"].to_pylist() == [None] * 2001 + list(range(2001, 2500))


def test_the_hash_is_of_ids_texts_and_labels(tmp_path: Path) -> None:
    def hashed(*rows: object, **data: object) -> str:
        return read(tmp_path, jsonl(tmp_path, *rows), **data).hash

    rows = [{"id": "a", "text": "ab", "n": 1}, {"id": "b", "text": "c", "n": 2}]
    base = hashed(*rows, labels=("n",))
    assert hashed(*rows, labels=("n",), name="other") == base
    others = [
        hashed(*rows),
        hashed({"id": "c", "text": "ab", "n": 1}, rows[1], labels=("n",)),
        hashed({"id": "a", "text": "a", "n": 1}, {**rows[1], "text": "bc"}, labels=("n",)),
        hashed({**rows[0], "n": 1.0}, rows[1], labels=("n",)),
        hashed(*reversed(rows), labels=("n",)),
    ]
    assert len({base, *others}) == 6


@pytest.mark.parametrize("data", [{"text": "txet"}, {"id": "nme"}, {"labels": ("nme",)}])
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path, ending: str, data) -> None:
    frame = pl.DataFrame({"text": ["one"], "name": ["a"]})
    path = tmp_path / f"a.{ending}"
    {"jsonl": frame.write_ndjson, "csv": frame.write_csv, "parquet": frame.write_parquet}[ending](
        path
    )
    near = "text" if "text" in data else "name"
    key, wrong = next(iter(data.items()))
    named = wrong if isinstance(wrong, str) else wrong[0]
    expected = rf"a\.{ending}: no column '{named}' \(data\.{key}\); did you mean '{near}'"
    with pytest.raises(DataError, match=expected):
        read(tmp_path, path.name, **data)


def test_text_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:2: column 'text' holds int, not text"):
        read(tmp_path, jsonl(tmp_path, {"text": "one"}, {"text": 2}))
