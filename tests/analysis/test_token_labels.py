"""Labels of tokens: what the macros say, in SQL alone, and that the analysis reads the same."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from planted_labels import DOC_TOKENS, DOCS, TOKENS, Planted

import neuronmap_sql as nm
from neuronmap_sql.analysis.labels import TokenTable
from neuronmap_sql.errors import QueryError, StoreError, UnknownNameError, UsageError
from neuronmap_sql.warehouse.schema import create_tables
from neuronmap_sql.warehouse.views import create_macros
from neuronmap_sql.warehouse.word_udfs import tagger

CASES = [
    # token, first_letter, all_capitals, capitalised, digits, punctuation, white_space
    (" the", "t", 0, 0, 0, 0, 0),
    ("The", "t", 0, 1, 0, 0, 0),
    (" A", "a", 0, 1, 0, 0, 0),
    (" NASA", "n", 1, 0, 0, 0, 0),
    ("U.S", "u", 1, 0, 0, 0, 0),
    ("McD", "m", 0, 1, 0, 0, 0),
    ("iOS", "i", 0, 0, 0, 0, 0),
    ("ÉTÉ", "é", 1, 0, 0, 0, 0),
    (" Ünder", "ü", 0, 1, 0, 0, 0),
    (" 42", "none", 0, 0, 1, 0, 0),
    ("٣", "none", 0, 0, 1, 0, 0),
    ("3rd", "none", 0, 0, 0, 0, 0),
    ("H2", "h", 0, 1, 0, 0, 0),
    (" --", "none", 0, 0, 0, 1, 0),
    ("$", "none", 0, 0, 0, 1, 0),
    ("'s", "none", 0, 0, 0, 0, 0),
    (" \n\t", "none", 0, 0, 0, 0, 1),
    ("\u00a0", "none", 0, 0, 0, 0, 1),
    ("", "none", 0, 0, 0, 0, 1),
    ("字", "字", 0, 0, 0, 0, 0),
]
NAMES = ("first_letter", "all_capitals", "capitalised", "digits", "punctuation", "white_space")


@pytest.fixture
def plain() -> duckdb.DuckDBPyConnection:
    """Tables and macros, no function of ours: what every shell has."""
    con = duckdb.connect()
    create_tables(con)
    create_macros(con, "macros")
    return con


def add(con: duckdb.DuckDBPyConnection, rows: list[tuple[object, ...]]) -> None:
    """Rows of tok, doc, pos, win, win_pos, token, word."""
    con.executemany(
        "INSERT INTO tokens SELECT 'r', 'd', 't', $1, $2, $3, $4, $5, 0, $6, 0, 0, $7, false",
        [list(row) for row in rows],
    )


def test_classes_of_characters(plain: duckdb.DuckDBPyConnection) -> None:
    add(plain, [(i, 0, i, 0, i, case[0], i) for i, case in enumerate(CASES)])
    found = plain.sql(f"SELECT token, {', '.join(NAMES)} FROM token_classes() ORDER BY tok")
    expected = [(*case[:2], *(("false", "true")[is_] for is_ in case[2:])) for case in CASES]
    assert found.fetchall() == expected


def test_places_and_words(plain: duckdb.DuckDBPyConnection) -> None:
    rows = [(0, 0, 0, 0, 1, "un", 0), (1, 0, 1, 0, 2, "do", 0), (2, 0, 2, 0, 3, ",", None),
            (3, 0, 300, 1, 8, " it", 1), (4, 1, 0, 2, 1, "go", 0)]  # fmt: skip
    add(plain, rows)
    found = plain.sql(
        "SELECT word_start, window_position, document_position FROM token_classes() ORDER BY tok"
    ).fetchall()
    assert found == [
        ("true", "1", "0"), ("false", "2-3", "1"), ("false", "2-3", "2-3"),
        ("true", "8-15", "256-511"), ("true", "1", "0"),
    ]  # fmt: skip


def test_buckets_double(plain: duckdb.DuckDBPyConnection) -> None:
    found = plain.sql("SELECT position_bucket(i) FROM range(5000) t(i)").fetchall()
    for place, (bucket,) in enumerate(found):
        low, _, high = bucket.partition("-")
        assert int(low) <= place <= int(high or low)
        assert place < 2 or (int(high) + 1 == 2 * int(low) and int(low).bit_count() == 1)


def test_a_lag_stays_within_document_and_window(plain: duckdb.DuckDBPyConnection) -> None:
    places = [(0, 0, 0, 0), (1, 0, 1, 0), (2, 0, 2, 1), (3, 0, 3, 1), (4, 1, 0, 1), (5, 1, 1, 1)]
    add(plain, [(tok, doc, pos, win, pos, f"w{tok}", 0) for tok, doc, pos, win in places])
    found = plain.sql("SELECT tok, token FROM token_classes(lag := 1) ORDER BY tok").fetchall()
    assert found == [(1, "w0"), (3, "w2"), (5, "w4")]
    assert plain.sql("FROM token_classes(lag := 2)").fetchall() == []


def test_labels_of_documents(plain: duckdb.DuckDBPyConnection) -> None:
    """Also those with the names of the macro's own columns, numbers and lists."""
    assert plain.sql("FROM document_labels()").fetchall() == []  # no label column at all
    plain.execute("ALTER TABLE docs ADD COLUMN class INTEGER")
    plain.execute("ALTER TABLE docs ADD COLUMN label VARCHAR[]")
    plain.execute(
        "INSERT INTO docs VALUES ('r', 'd', 0, 'a', 'x', 7, ['p']),"
        " ('r', 'd', 1, 'b', 'y', NULL, NULL), ('r', 'e', 0, 'c', 'z', 8, NULL)"
    )
    found = plain.sql("FROM document_labels(dataset := 'd') ORDER BY label").fetchall()
    assert found == [("d", 0, "docs.class", "7"), ("d", 0, "docs.label", "[p]")]
    add(plain, [(0, 0, 0, 0, 0, "a", 0), (1, 1, 0, 1, 0, "b", 0)])
    rows = plain.sql("SELECT tok, class FROM token_labels() WHERE label = 'docs.class'").fetchall()
    assert rows == [(0, "7")]
    assert not plain.sql("FROM token_labels(lag := 1)").fetchall()


def test_every_column_is_a_label(plain: duckdb.DuckDBPyConnection) -> None:
    add(plain, [(0, 0, 0, 0, 0, "a", 0)])
    columns = plain.sql("FROM token_classes()").columns[3:]
    labels = plain.sql("SELECT label FROM token_labels(dataset := 'd', tokenizer := 't')")
    assert sorted(row[0] for row in labels.fetchall()) == sorted(columns)
    said = plain.sql(
        "SELECT comment FROM duckdb_functions() WHERE function_name = 'token_classes'"
    ).fetchall()[0][0]
    assert set(columns) <= set(re.findall(r"\w+", said))


@pytest.fixture
def table(analysed: nm.Warehouse) -> TokenTable:
    return TokenTable(analysed.connection, "d", "t", TOKENS)


def test_the_analysis_reads_what_the_macro_says(table: TokenTable, analysed: nm.Warehouse) -> None:
    names = [*table.names()[0], "docs.name"]
    for label in table.read(names, (0, 1, 3)):
        rows = analysed.sql(
            "SELECT tok, class FROM token_labels(lag := $lag) WHERE label = $label",
            {"lag": label.lag, "label": label.name},
        ).fetchall()
        expected = np.full(TOKENS, None, object)
        for tok, name in rows:
            expected[tok] = name
        found = np.array([*label.classes.to_pylist(), None], object)[label.codes]
        assert found.tolist() == expected.tolist()


def test_labels_that_name_documents_are_not_taken_unasked(
    table: TokenTable, known: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuronmap_sql.analysis.labels._OF_A_LABEL", DOCS - 1)
    usual, others = table.names()
    assert "docs.source" in usual
    assert others == ["word_class", "docs.name"]
    (name,) = table.read(["docs.name"], (0, 1))
    assert np.bincount(name.codes).tolist() == [DOC_TOKENS] * DOCS


def test_what_cannot_be_read_is_said(table: TokenTable, analysed: nm.Warehouse) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        table.read(["digit"], (0,))
    with pytest.raises(UsageError, match="lag 0 only"):
        table.read(["window_position", "docs.source"], (1,))
    with pytest.raises(StoreError, match="9000 tokens under t, but values of 7"):
        TokenTable(analysed.connection, "d", "t", 7)


def test_word_classes_need_the_tagger(
    table: TokenTable, analysed: nm.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)  # as where it is not installed
    tagger.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'neuronmap-sql\[tagger\]'"):
        table.read(["word_class"], (0,))
    with pytest.raises(QueryError, match=r"neuronmap-sql\[tagger\]"):
        analysed.sql("FROM py.word_classes()").fetchall()
    assert analysed.sql("FROM token_labels() LIMIT 1").fetchall()


@pytest.mark.slow
def test_word_classes(demo_warehouse: Path) -> None:
    pytest.importorskip("HanTa", reason="the extra `tagger` is not installed")
    with nm.open(demo_warehouse) as wh:
        rows = wh.sql(
            "SELECT t.token, w.class, count(*) AS n FROM py.word_classes() AS w"
            " JOIN tokens AS t USING (dataset, tokenizer, tok)"
            " WHERE t.token IN (' the', ',', ' was', ' of') GROUP BY ALL ORDER BY n DESC"
        ).fetchall()
        first = {token: name for token, name, _ in reversed(rows)}
        assert first == {" the": "AT0", ",": "PUN", " was": "VBD", " of": "PRF"}
        share = wh.sql("SELECT (SELECT count(*) FROM py.word_classes()) / count(*) FROM tokens")
        assert 0.9 < share.fetchall()[0][0] <= 1
