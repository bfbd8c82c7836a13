"""Scores of labels against scikit-learn and SciPy, and p-values against all permutations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.feature_selection import f_classif
from sklearn.metrics import r2_score

from neuronmap_sql.numerics.class_sums import PowerSums
from neuronmap_sql.numerics.variance_reduction import (
    Reduction,
    permuted_variance,
    variance_reduction,
)


def scored(values: np.ndarray, codes: np.ndarray, classes: int | None = None) -> Reduction:
    """Score [tokens, neurons] values."""
    classes = classes or codes.max() + 1
    sums = np.array([values[codes == c].sum(axis=0) for c in range(classes)])
    counts = np.bincount(codes, minlength=classes)[:, None]
    powers = np.array([(values**p).sum(axis=0) for p in (1, 2, 3, 4)])
    return variance_reduction(
        sums, counts, PowerSums(np.full(values.shape[1], len(values)), powers)
    )


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_the_score_is_the_share_of_variance_that_class_means_predict(
    rng: np.random.Generator,
) -> None:
    codes = rng.integers(0, 6, 500)
    values = rng.normal(size=(500, 4)) + codes[:, None] * [0, 0.1, 0.5, 5]
    found = scored(values, codes)
    means = np.array([values[codes == c].mean(axis=0) for c in range(6)])
    for neuron in range(4):
        expected = r2_score(values[:, neuron], means[codes, neuron])
        assert found.reduction[neuron] == pytest.approx(expected, abs=1e-12)
    f, _ = f_classif(values, codes)
    assert found.adjusted == pytest.approx(1 - 1 / (f * 5 / 494 + 1) * 499 / 494, abs=1e-12)
    assert found.mean == pytest.approx(means)


def test_one_class_against_all_others_is_the_published_score(rng: np.random.Generator) -> None:
    """1 - [(1 - b) var(x | 0) + b var(x | 1)] / var(x), with b the share of class 1."""
    codes = rng.integers(0, 5, 300)
    values = rng.gamma(0.3, size=(300, 3)) + (codes == 2)[:, None]
    found = scored(values, codes)
    for c in range(5):
        mine, b = codes == c, (codes == c).mean()
        left = (1 - b) * values[~mine].var(axis=0) + b * values[mine].var(axis=0)
        assert found.of_class[c] == pytest.approx(1 - left / values.var(axis=0), abs=1e-12)
        away = (values[mine].mean(axis=0) - values[~mine].mean(axis=0)) / values.std(axis=0)
        assert found.difference[c] == pytest.approx(away)


def test_a_shift_changes_nothing(rng: np.random.Generator) -> None:
    codes, values = rng.integers(0, 3, 200), rng.normal(size=(200, 2))
    one, other = scored(values, codes), scored(values + 3, codes)
    for name in ("reduction", "adjusted", "p", "of_class", "difference"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9)


def test_moments_are_those_of_all_permutations(rng: np.random.Generator) -> None:
    values, sizes = rng.normal(size=7) ** 3, np.array([3, 2, 1, 1])
    values -= values.mean()
    scores = [
        (np.add.reduceat(values[list(order)], [0, 3, 5, 6]) ** 2 / sizes).sum()
        for order in itertools.permutations(range(7))
    ] / (values**2).sum()
    fourth = (values**4).sum() / (values**2).sum() ** 2
    found = permuted_variance(*map(np.array, ([7], [4], [(1 / sizes).sum()], [fourth])))
    assert found == pytest.approx(np.var(scores), rel=1e-10)
    assert np.mean(scores) == pytest.approx(3 / 6)


def test_for_normal_values_p_is_that_of_the_f_test(rng: np.random.Generator) -> None:
    codes = rng.integers(0, 4, 3000)
    values = rng.normal(size=(3000, 30)) + codes[:, None] * np.linspace(0, 0.1, 30)
    _, p = f_classif(values, codes)
    assert scored(values, codes).p == pytest.approx(p, rel=0.2)


def heavy(rng: np.random.Generator, tokens: int, neurons: int) -> np.ndarray:
    """Neurons that rest at zero and fire rarely, and then very differently."""
    return rng.lognormal(0, 1.5, (tokens, neurons)) * (rng.random((tokens, neurons)) < 0.02)


def rare(rng: np.random.Generator, tokens: int) -> np.ndarray:
    """Classes as words are spread: few frequent ones, many that occur once."""
    codes = np.minimum(rng.zipf(1.3, tokens), 2000) - 1
    return np.unique(codes, return_inverse=True)[1]


@pytest.mark.parametrize("classes", ["two", "many"])
@pytest.mark.parametrize("kind", ["normal", "heavy"])
def test_null_neurons_are_called_significant_as_often_as_p_says(
    rng: np.random.Generator, kind: str, classes: str
) -> None:
    tokens, neurons = 2000, 3000
    codes = rng.integers(0, 2, tokens) if classes == "two" else rare(rng, tokens)
    values = rng.normal(size=(tokens, neurons)) if kind == "normal" else heavy(rng, tokens, neurons)
    p = scored(values, codes).p
    assert 0.035 < (p < 0.05).mean() < 0.07
    assert (p < 0.001).mean() < 0.01
    assert (stats.false_discovery_control(p) < 0.05).mean() < 0.005


def test_the_f_test_would_not_hold_for_such_neurons(rng: np.random.Generator) -> None:
    """Negative control: with heavy tails and rare classes the plain F-test is far off."""
    codes, values = rare(rng, 2000), heavy(rng, 2000, 3000)
    _, p = f_classif(values, codes)
    assert not 0.035 < (p < 0.05).mean() < 0.07


def test_what_cannot_be_told_is_nan(rng: np.random.Generator) -> None:
    constant = scored(np.full((50, 1), 0.0), rng.integers(0, 3, 50))
    assert np.isnan([constant.reduction[0], constant.adjusted[0], constant.p[0]]).all()
    own = scored(rng.normal(size=(50, 1)), np.arange(50))
    assert own.reduction == pytest.approx(1)
    assert np.isnan([own.adjusted[0], own.p[0]]).all()
    alone = scored(rng.normal(size=(50, 1)), np.zeros(50, np.int64), classes=2)
    assert alone.reduction == pytest.approx(0)
    assert np.isnan(alone.p[0])
    assert np.isnan(alone.of_class).all()
    assert alone.classes.tolist() == [1]
