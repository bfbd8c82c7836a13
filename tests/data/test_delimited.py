"""CSV: which character parts the fields, which quotes them, and what an error says to set."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.errors import DataError, RecipeError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.settings import DataSettings


def read(base: Path, path: str, **data: object) -> Documents:
    return read_documents(DataSettings(path, **data), base)


def texts(docs: Documents) -> list[str]:
    return docs.table["text"].to_pylist()


def ids(docs: Documents) -> list[str]:
    return docs.table["doc_id"].to_pylist()


def test_csv_and_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\na,"one, ""two""\nthree"\n\n,four\n')
    docs = read(tmp_path, "a.csv")
    assert texts(docs) == ['one, "two"\nthree', "four"]
    assert ids(docs) == ["a", "a.csv:5"]
    (tmp_path / "a.tsv").write_text("text\tn\none, two\t1\n")
    assert texts(read(tmp_path, "a.tsv")) == ["one, two"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            "text,n\none,1\ntwo\n",
            r"a\.csv:3: 1 fields, but the header has 2; data\.delimiter and data\.quote",
        ),
        ('text,n\none,1\n"two,2\n', r"a\.csv:3: not valid CSV"),
        ("text,text\none,1\n", r"a\.csv:1: the header names a column twice"),
    ],
)
def test_broken_csv_is_named_with_its_line(tmp_path: Path, raw: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(raw)
    with pytest.raises(DataError, match=message):
        read(tmp_path, "a.csv")


@pytest.mark.parametrize("delimiter", [";", "|", " ", "\t", "é"])
def test_another_delimiter(tmp_path: Path, delimiter: str) -> None:
    lines = [["id", "text"], ["a", f'"x{delimiter}y"']]
    (tmp_path / "a.csv").write_text("\n".join(map(delimiter.join, lines)))
    docs = read(tmp_path, "a.csv", delimiter=delimiter)
    assert (ids(docs), texts(docs)) == (["a"], [f"x{delimiter}y"])


def test_tsv_in_capitals_has_tabs_too(tmp_path: Path) -> None:
    (tmp_path / "a.TSV").write_text("text\tn\none, two\t1\n")
    assert texts(read(tmp_path, "a.TSV")) == ["one, two"]


def test_another_quote_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\na,'one, ''two'' three'\n")
    assert texts(read(tmp_path, "a.csv", quote="'")) == ["one, 'two' three"]
    (tmp_path / "a.tsv").write_text('id\ttext\na\t"Hello" she said\nb\t"Yes\n')
    assert texts(read(tmp_path, "a.tsv", quote="")) == ['"Hello" she said', '"Yes']


@pytest.mark.parametrize("raw", ['text\tn\n"Hello" she said\t1\n', 'text\tn\n"Hello\t1\n'])
def test_quotes_that_are_text_name_the_way_out(tmp_path: Path, raw: str) -> None:
    (tmp_path / "a.tsv").write_text(raw)
    expected = r"a\.tsv:2: not valid CSV: .*; if \" is plain text there, set data\.quote = ''"
    with pytest.raises(DataError, match=expected):
        read(tmp_path, "a.tsv")


@pytest.mark.parametrize("header", ["id{}text", '"id"{}"text"'])
@pytest.mark.parametrize(("delimiter", "said"), [(";", '";"'), ("\t", r'"\\t"'), ("|", r'"\|"')])
def test_a_wrong_delimiter_names_the_right_one(
    tmp_path: Path, header: str, delimiter: str, said: str
) -> None:
    (tmp_path / "a.csv").write_text(header.format(delimiter) + f"\n1{delimiter}one\n")
    expected = (
        r"a\.csv: the header, parted by \",\", has no column 'text' \(data\.text\): "
        rf"set data\.delimiter = {said}$"
    )
    with pytest.raises(DataError, match=expected):
        read(tmp_path, "a.csv")
    assert texts(read(tmp_path, "a.csv", delimiter=delimiter)) == ["one"]


def test_a_header_without_the_text_names_no_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;txt\n1;one\n")
    with pytest.raises(DataError, match=r"a\.csv: no column 'text' \(data\.text\)"):
        read(tmp_path, "a.csv")
    (tmp_path / "a.csv").write_text("text\none\n")
    with pytest.raises(DataError, match=r"a\.csv: no column 'kind' \(data\.labels\)"):
        read(tmp_path, "a.csv", labels=("kind",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"delimiter": ";;"}, r"data\.delimiter = ';;': must be one character, or empty"),
        ({"delimiter": "\n"}, r"data\.delimiter = '\\n': must be one character"),
        ({"quote": "''"}, r"data\.quote = \"''\": must be one character, or empty"),
        ({"delimiter": '"'}, r"data\.delimiter and data\.quote are both '\"'"),
    ],
)
def test_delimiters_and_quotes_that_are_none(tmp_path: Path, data: dict, message: str) -> None:
    (tmp_path / "a.csv").write_text("text\none\n")
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, "a.csv", **data)


def test_line_ends_of_old_macs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\r1,one\r")
    with pytest.raises(DataError, match=r"a\.csv:1: not valid CSV: new-line .* mode\?$"):
        read(tmp_path, "a.csv")


@given(
    text=st.text(st.sampled_from("ab,;\"'| \t\né"), min_size=1).filter(str.strip),
    delimiter=st.sampled_from(",;|\t"),
    quote=st.sampled_from("\"'"),
)
def test_what_the_csv_module_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, text: str, delimiter: str, quote: str
) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, quotechar=quote, lineterminator="\n")
    writer.writerows([["id", "text"], ["a", text]])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(sink.getvalue().encode())
    assert texts(read(path.parent, "a.csv", delimiter=delimiter, quote=quote)) == [text]
