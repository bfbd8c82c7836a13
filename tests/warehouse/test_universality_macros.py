"""Macros over comparisons, on tables written by hand and on planted models."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy.stats import norm, rankdata

sys.path.insert(0, str(Path(__file__).parents[1] / "queries"))

from row_fixtures import database

PAIRS = """
model | layer | neuron | partner_model | ranked_by | rank | partner_layer | partner_neuron | r
a     | 0     | 1      | b             | signed    | 1    | 0             | 2              | 0.9
b     | 0     | 2      | a             | signed    | 1    | 0             | 1              | 0.9
a     | 0     | 1      | c             | signed    | 1    | 1             | 3              | 0.8
c     | 1     | 3      | a             | signed    | 1    | 0             | 1              | 0.8
b     | 0     | 2      | c             | signed    | 1    | 1             | 3              | 0.7
c     | 1     | 3      | b             | signed    | 1    | 0             | 2              | 0.7
a     | 0     | 4      | b             | signed    | 1    | 0             | 5              | 0.6
b     | 0     | 5      | a             | signed    | 1    | 0             | 4              | 0.6
a     | 0     | 4      | c             | signed    | 1    | 1             | 6              | 0.6
c     | 1     | 6      | a             | signed    | 1    | 0             | 4              | 0.6
b     | 0     | 5      | c             | signed    | 1    | 1             | 3              | 0.2
c     | 1     | 6      | b             | signed    | 1    | 0             | 5              | 0.2
a     | 0     | 7      | b             | signed    | 1    | 0             | 2              | 0.3
a     | 0     | 7      | b             | absolute  | 1    | 0             | 8              | -0.95
b     | 0     | 8      | a             | absolute  | 1    | 0             | 7              | -0.95
"""


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    firings = """
    model | layer | neuron | tok | value | threshold
    a     | 0     | 1      | 3   | 1     | 0.5
    a     | 0     | 1      | 5   | 1     | 0.5
    a     | 0     | 1      | 9   | 1     | 0.5
    b     | 0     | 2      | 5   | 2     | 0.5
    b     | 0     | 2      | 9   | 2     | 0.5
    b     | 0     | 2      | 11  | 2     | 0.5
    b     | 0     | 2      | 12  | 2     | 0.5
    a     | 0     | 4      | 1   | 1     | 0.5
    b     | 0     | 5      | 2   | 1     | 0.5
    """
    with database({"neuron_pairs": PAIRS, "firings": firings}) as found:
        yield found


def rows(con: duckdb.DuckDBPyConnection, query: str, **params: Any) -> list[tuple[Any, ...]]:
    return con.sql(query, params=params or None).fetchall()


def test_mutual_nearest_pairs_choose_each_other(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(con, "SELECT neuron, partner_neuron, r FROM mutual_nearest('a', 'b')")
    assert found == [(1, 2, 0.9), (4, 5, 0.6)]
    turned = rows(con, "SELECT neuron, partner_neuron, r FROM mutual_nearest('b', 'a')")
    assert turned == [(2, 1, 0.9), (5, 4, 0.6)]
    by_size = "FROM mutual_nearest('a', 'b', ranked_by := 'absolute')"
    assert rows(con, f"SELECT neuron, r {by_size}") == [(7, -0.95)]
    with pytest.raises(duckdb.Error, match="signed or absolute, not best"):
        rows(con, "FROM mutual_nearest('a', 'b', ranked_by := 'best')")


def test_in_a_clique_every_two_choose_each_other(con: duckdb.DuckDBPyConnection) -> None:
    """Neuron 4 has a mutual partner in b and one in c, which are not each other's."""
    found = rows(
        con, "SELECT neuron, least_r, partner_neurons FROM matched_in_all(['a', 'b', 'c'])"
    )
    assert [row[:2] for row in found] == [(1, 0.8)]
    assert [(p["model"], p["layer"], p["neuron"]) for p in found[0][2]] == [
        ("b", 0, 2),
        ("c", 1, 3),
    ]
    assert [row[4] for row in rows(con, "FROM matched_in_all(['a', 'b'])")] == [1, 4]
    assert rows(con, "FROM matched_in_all(['a', 'b', 'c'], min_r := 0.85)") == []


def test_jaccard_of_firings(con: duckdb.DuckDBPyConnection) -> None:
    found = rows(
        con,
        "SELECT neuron, firings, partner_firings, shared_firings, jaccard"
        " FROM firing_jaccard('a', 'b')",
    )
    assert found == [(1, 3, 4, 2, pytest.approx(2 / 5)), (4, 1, 1, 0, 0.0)]
    assert len(rows(con, "FROM firing_jaccard('a', 'b', min_r := 0.8)")) == 1


def test_the_tail_of_the_normal_distribution(con: duckdb.DuckDBPyConnection) -> None:
    z = np.linspace(-8, 30, 500)
    found = [
        row[0]
        for row in rows(con, "SELECT normal_tail(z) FROM (SELECT unnest($z) AS z)", z=z.tolist())
    ]
    np.testing.assert_allclose(found, norm.sf(z), rtol=1.3e-7)


def test_percentiles_are_within_the_layer() -> None:
    random = np.random.default_rng(0)
    kurtosis = random.choice([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], (2, 9))
    lines = [
        f"m | {layer} | {neuron} | {kurtosis[layer, neuron]}"
        for layer in range(2)
        for neuron in range(9)
    ]
    header = "model | layer | neuron | kurtosis"
    with database({"neuron_stats": "\n".join([header, *lines])}) as con:
        found = rows(
            con,
            "SELECT percentile FROM percentiles_in_layer('m') WHERE measure = 'kurtosis'"
            " ORDER BY layer, neuron",
        )
    expected = [100 * (rankdata(values, "min") - 1) / 8 for values in kurtosis]
    np.testing.assert_allclose(np.ravel(found), np.concatenate(expected))


MATCHES = """
model | layer | neuron | partner_model | state | max_r
m     | 0     | 0      | a             | live  | 0.9
m     | 0     | 0      | b             | live  | 0.5
m     | 0     | 1      | a             | live  | 0.9
m     | 0     | 1      | b             | live  | 0.8
m     | 0     | 2      | a             | dead  | NULL
"""
BASELINES = """
model | layer | neuron | partner_model | kind         | mean
m     | 0     | 0      | a             | gaussian     | 0.1
m     | 0     | 0      | b             | gaussian     | 0.3
m     | 0     | 1      | a             | gaussian     | 0.2
m     | 0     | 1      | b             | gaussian     | 0.2
m     | 0     | 2      | a             | gaussian     | NULL
m     | 0     | 0      | a             | standardised | 0.0
"""


def test_excess_is_the_mean_over_partner_models() -> None:
    with database({"neuron_matches": MATCHES, "neuron_baseline": BASELINES}) as con:
        found = rows(
            con, "SELECT neuron, partner_models, excess, least_excess FROM excess_correlation()"
        )
        assert found == [
            (0, 2, pytest.approx(0.5), pytest.approx(0.2)),
            (1, 2, pytest.approx(0.65), pytest.approx(0.6)),
            (2, 0, None, None),
        ]
        (row,) = rows(con, "SELECT neuron, excess FROM excess_correlation(kind := 'standardised')")
        assert row == (0, pytest.approx(0.9))
        with pytest.raises(duckdb.Error, match="gaussian, orthogonal or standardised, not odd"):
            rows(con, "FROM excess_correlation(kind := 'odd')")


def test_universal_neurons_by_threshold_and_least_number_of_models() -> None:
    with database({"neuron_matches": MATCHES, "neuron_baseline": BASELINES}) as con:
        chosen = "SELECT neuron FROM universal_neurons"
        assert rows(con, f"{chosen}(threshold := 0.4)") == [(1,), (0,)]
        assert rows(con, f"{chosen}(threshold := 0.4, min_models := 2)") == [(1,)]
        assert rows(con, f"{chosen}(threshold := 0.64)") == [(1,)]
        assert rows(con, f"{chosen}(threshold := 0.7)") == []
