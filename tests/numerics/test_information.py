"""Mutual information against scikit-learn, and without bias on what is independent."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from neuronmap_sql.numerics.class_sums import BLOCK, NO_CLASS, Marks
from neuronmap_sql.numerics.information import (
    BINS,
    JointCounts,
    bin_edges,
    bin_numbers,
    mutual_information,
)

TOKENS, CLASSES = BLOCK + 500, 6


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, CLASSES, TOKENS, dtype=np.int32)


def joined(bins: np.ndarray, codes: np.ndarray, lost: np.ndarray | None = None) -> np.ndarray:
    joint = JointCounts(Marks(codes, CLASSES), len(bins))
    for first in range(0, TOKENS, BLOCK):
        rows = slice(first, first + BLOCK)
        gone = None if lost is None else lost[:, rows]
        joint.add(first, range(len(bins)), bins[:, rows], gone)
    return joint.counts


def test_it_is_that_of_scikit_learn_less_the_bias(codes: np.ndarray) -> None:
    values = np.random.default_rng(1).normal(size=(3, TOKENS)).astype(np.float32)
    values[1] += codes
    values[2] = codes
    bins = bin_numbers(values, bin_edges(values))
    found = mutual_information(joined(bins, codes))
    cells = [len({*zip(codes, row, strict=True)}) - CLASSES - len({*row}) + 1 for row in bins]
    plain = [mutual_info_score(codes, row) for row in bins]
    expected = [
        (nats - count / (2 * TOKENS)) / np.log(2) for nats, count in zip(plain, cells, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[2] == pytest.approx(np.log2(CLASSES), abs=0.2)


def test_it_has_no_bias_on_what_is_independent(codes: np.ndarray) -> None:
    values = np.random.default_rng(2).normal(size=(300, TOKENS)).astype(np.float32)
    bins = bin_numbers(values, bin_edges(values))
    found = mutual_information(joined(bins, codes))
    plain = np.array([mutual_info_score(codes, row) for row in bins[:50]]) / np.log(2)
    assert abs(found.mean()) < 5e-5
    assert plain.mean() > 20 * abs(found.mean())  # negative control


def test_bins_hold_as_many_each_and_follow_the_order() -> None:
    values = np.random.default_rng(3).gamma(0.5, size=(2, 8000)).astype(np.float32)
    bins = bin_numbers(values, bin_edges(values))
    assert np.abs(np.bincount(bins[0]) - 8000 / BINS).max() <= 1
    assert (np.diff(bins[0][np.argsort(values[0])].astype(int)) >= 0).all()


def test_equal_values_share_a_bin_and_lost_ones_have_none(codes: np.ndarray) -> None:
    values = np.zeros((2, TOKENS), np.float32)
    values[:, :100] = 1
    codes = codes.copy()
    codes[:10] = NO_CLASS
    lost = np.zeros(values.shape, np.bool_)
    lost[1, :50] = True
    counts = joined(bin_numbers(values, bin_edges(values)), codes, lost)
    assert np.count_nonzero(counts[:, 0].sum(axis=0)) == 2
    assert counts.sum(axis=(0, 2)).tolist() == [TOKENS - 10, TOKENS - 50]


def test_a_neuron_without_values_has_none() -> None:
    edges = bin_edges(np.full((1, 40), np.nan, np.float32))
    assert np.isnan(edges).all()
    assert np.isnan(mutual_information(np.zeros((3, 1, BINS)))).all()
