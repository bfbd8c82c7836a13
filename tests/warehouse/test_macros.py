from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pytest
from small_warehouse import DOC_OF, NEURONS, TEXTS, WORDS, output_weights, spans, values

from neuronmap_sql.errors import QueryError
from neuronmap_sql.numerics.bins import edges
from neuronmap_sql.warehouse.result import execute


def rows(con: duckdb.DuckDBPyConnection, sql: str, *params: Any) -> list[tuple[Any, ...]]:
    return execute(con.cursor(), sql, params or None).fetchall()


def test_every_macro_has_a_comment(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        con,
        "SELECT DISTINCT function_name, comment FROM duckdb_functions() "
        "WHERE NOT internal AND function_type LIKE '%macro'",
    )
    assert {"neuron", "top_tokens", "prompt", "values_of", "wh_root", "bin_low"} <= set(dict(found))
    assert [name for name, comment in found if not comment] == []


def test_neuron_gives_a_row_a_dataset(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT dataset, mean, standard_deviation, w_out_norm FROM neuron('m', 1, 2)")
    norm = np.linalg.norm(output_weights(1)[2])
    expected = [(d, values(1, d)[:, 2].mean(), values(1, d)[:, 2].std(), norm) for d in "de"]
    assert [row[0] for row in found] == ["d", "e"]
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in expected])
    assert len(rows(con, "FROM neuron('m', 1, 2, dataset := 'e')")) == 1
    assert rows(con, "FROM neuron('m', 1, 2, site := 'resid_post')") == []
    assert rows(con, "FROM neuron('other', 1, 2)") == []


def test_top_tokens_mark_the_token_in_its_text(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        con,
        "SELECT rank, value, tok, context, doc_id FROM top_tokens('m', 0, 1, k := 4, around := 6, "
        "dataset := 'd')",
    )
    x = values(0)[:, 1]
    starts, ends = spans()
    expected = []
    for rank, tok in enumerate(np.argsort(-x, kind="stable")[:4], 1):
        text, start, end = TEXTS[DOC_OF[tok]], starts[tok], ends[tok]
        before, after = text[max(0, start - 6) : start], text[end : end + 6]
        context = f"{before}[[{WORDS[tok]}]]{after}".replace("\n", " ")
        expected.append((rank, x[tok], tok, context, "ab"[DOC_OF[tok]]))
    assert found == expected


def test_top_tokens_of_the_other_side_and_of_all_datasets(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT dataset, value FROM top_tokens('m', 0, 1, k := 2, side := 'lowest')")
    expected = [(d, v) for d in "de" for v in np.sort(values(0, d)[:, 1])[:2]]
    assert found == expected
    with pytest.raises(QueryError, match="side is highest or lowest, not best"):
        rows(con, "FROM top_tokens('m', 0, 1, side := 'best')")


def test_prompt_gives_the_tokens_in_order(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT token FROM prompt(0, dataset := 'd')")
    assert "".join(token for (token,) in found) == TEXTS[0]
    assert len(rows(con, "FROM prompt(1)")) == 2 * 3


def test_bin_edges_are_those_of_the_reductions(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT bin_low(i), bin_high(i) FROM range(1024) t(i) ORDER BY i")
    low, high = np.array(found).T
    np.testing.assert_array_equal(np.append(low, high[-1]), edges())
    assert not np.signbit(high[511])


def test_histograms_end_at_the_extremes(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT bin, low, high, count FROM histogram_of('m', 0, 0, dataset := 'd')")
    assert found == [
        (0, -70000.0, -61440.0, 1),
        (511, -(2.0**-16), 0.0, 2),
        (512, 0.0, 2.0**-16, 3),
        (1023, 61440.0, 70000.0, 4),
    ]


def test_similar_neurons_by_weights(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT layer, neuron, similarity FROM similar_neurons('m', 0, 1, k := 3)")
    w = np.concatenate([output_weights(0), output_weights(1)]).astype(np.float64)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    cosines = w @ w[1]
    order = [i for i in np.argsort(-cosines) if i != 1][:3]
    assert [(layer, neuron) for layer, neuron, _ in found] == [divmod(i, NEURONS) for i in order]
    np.testing.assert_allclose([row[2] for row in found], cosines[order], rtol=1e-5)


def test_similar_neurons_by_statistics(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        con,
        "SELECT layer, neuron, similarity "
        "FROM similar_neurons('m', 0, 1, by := 'statistics', dataset := 'd')",
    )
    x = np.concatenate([values(0), values(1)], axis=1)
    z = (x - x.mean(0)) / x.std(0)
    skewness, kurtosis = (z**3).mean(0), (z**4).mean(0)
    parts = [x.mean(0), np.log(x.var(0)), skewness, np.log(kurtosis), (x > 0).mean(0)]
    scaled = np.array([part / part.std() for part in parts])
    similarity = 1 / (1 + np.sqrt(((scaled - scaled[:, [1]]) ** 2).sum(0)))
    order = [i for i in np.argsort(-similarity) if i != 1]
    assert [(layer, neuron) for layer, neuron, _ in found] == [divmod(i, NEURONS) for i in order]
    np.testing.assert_allclose([row[2] for row in found], similarity[order])
    with pytest.raises(QueryError, match="by is weights or statistics, not names"):
        rows(con, "FROM similar_neurons('m', 0, 1, by := 'names')")


def test_importance_is_the_spread_of_what_is_written(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        con,
        "SELECT layer, neuron, importance, write_rms, share FROM importance('m', dataset := 'e')",
    )
    expected = []
    for layer in (0, 1):
        x, norm = values(layer, "e"), np.linalg.norm(output_weights(layer), axis=1)
        spread, rms = norm * x.std(0), norm * np.sqrt((x**2).mean(0))
        share = spread**2 / (spread**2).sum()
        expected += [(layer, n, spread[n], rms[n], share[n]) for n in range(NEURONS)]
    np.testing.assert_allclose(found, sorted(expected, key=lambda row: -row[2]))


def test_all_values_of_a_neuron(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT value FROM py.values_of('m', 1, 3, dataset := 'd') ORDER BY tok")
    assert [value for (value,) in found] == values(1)[:, 3].tolist()


def test_all_values_of_a_token(con: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT neuron, value FROM py.token_values('m', 0, 7, dataset := 'd') ORDER BY neuron"
    assert rows(con, sql) == list(enumerate(values(0)[7]))
