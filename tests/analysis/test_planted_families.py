"""Planted neurons are found by the queries, each by its own, and null neurons by none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from planted_labels import NULLS, Planted

import neuronmap_sql as nm

FOUND: list[tuple[str, dict[str, Any], int, dict[str, str]]] = [
    ("unigram_neurons", {"least": 0.4}, 0, {"token": " the"}),
    ("alphabet_neurons", {}, 1, {"letter": "b"}),
    ("neurons_of_label", {"label": "digits"}, 2, {"best_class": "true"}),
    ("previous_token_neurons", {}, 3, {"best_token_before": " the"}),
    ("position_neurons", {}, 4, {"highest_at": "0"}),
    ("context_neurons", {}, 5, {"context": "source", "value": "poem"}),
    ("neurons_of_label", {"label": "all_capitals"}, 6, {"top_class": "false"}),
    ("neurons_of_label", {"label": "capitalised"}, 7, {"top_class": "true"}),
]


@pytest.mark.parametrize(("query", "params", "neuron", "told"), FOUND)
def test_the_first_is_the_planted_one(
    analysed: nm.Warehouse, query: str, params: dict[str, Any], neuron: int, told: dict[str, str]
) -> None:
    first = analysed.query(query, model="m", **params).pl().row(0, named=True)
    assert first["neuron"] == neuron
    assert {name: first[name] for name in told} == told


def test_a_neuron_of_the_token_before_is_found_with_lag_1_only(analysed: nm.Warehouse) -> None:
    rows = analysed.query("labels_of_neuron", model="m", layer=2, neuron=3).pl()
    best = rows.filter(label="token").rows_by_key("lag", named=True, unique=True)
    assert best[1]["best_class"] == " the"
    assert best[1]["best_reduction"] > 0.6
    assert best[1]["p_adjusted"] < 1e-100
    assert best[0]["best_reduction"] < 0.003
    assert best[0]["p_adjusted"] > 0.01


def test_the_known_share_of_variance_is_told(analysed: nm.Warehouse, known: Planted) -> None:
    """3 on a token of share q, and noise of variance 1: 9 q (1 - q) of 1 + 9 q (1 - q)."""
    q = (known.words == " the").mean()
    signal = 9 * q * (1 - q)
    told = analysed.query("unigram_neurons", model="m", k=1).pl()["variance_reduction"][0]
    assert told == pytest.approx(signal / (1 + signal), abs=0.02)


def test_null_neurons_are_no_discovery(analysed: nm.Warehouse) -> None:
    """Of 32 neurons and every label, at most some at an uncorrected 5 %, and none corrected."""
    found = analysed.sql(
        "SELECT p, p_adjusted FROM label_scores WHERE neuron BETWEEN $first AND $last",
        {"first": NULLS.start, "last": NULLS.stop - 1},
    ).pl()
    assert 0.02 < (found["p"] < 0.05).mean() < 0.08
    assert (found["p_adjusted"] < 0.01).sum() == 0
    planted = analysed.sql("SELECT min(p_adjusted) FROM label_scores WHERE neuron < 8 GROUP BY ALL")
    assert planted.fetchall()[0][0] < 1e-100


def test_information_of_null_neurons_is_about_zero(analysed: nm.Warehouse) -> None:
    rows = analysed.sql(
        "SELECT neuron, mutual_information FROM label_scores WHERE label = 'window_position'"
    ).pl()
    nulls = rows.filter(rows["neuron"].is_between(NULLS.start, NULLS.stop - 1))
    assert abs(nulls["mutual_information"].mean()) < 5e-4
    assert rows.filter(neuron=4)["mutual_information"][0] > 0.08
    assert np.isfinite(rows.drop_nulls()["mutual_information"].to_numpy()).all()
