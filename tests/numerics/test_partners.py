"""The best partners, block by block, against a full sort; histograms against numpy's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.numerics.matching import hungarian, mutual
from neuronmap_sql.numerics.partners import Partners, histogram

CPU = torch.device("cpu")


@given(st.data())
def test_partners_are_those_of_a_full_sort(data: st.DataObject) -> None:
    rows, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 6))
    widths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    few = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0, float("nan")])
    scores = np.array(
        data.draw(
            st.lists(
                st.lists(few, min_size=sum(widths), max_size=sum(widths)),
                min_size=rows,
                max_size=rows,
            )
        )
    )
    absolute = data.draw(st.booleans())
    found = Partners(rows, k, CPU, absolute=absolute)
    starts = np.cumsum([0, *widths])
    for number in data.draw(st.permutations(range(len(widths)))):
        block = scores[:, starts[number] : starts[number + 1]]
        found.update(torch.from_numpy(block), int(starts[number]))
    for row in range(rows):
        known = [c for c in range(sum(widths)) if not np.isnan(scores[row, c])]
        score = np.abs(scores[row]) if absolute else scores[row]
        expected = sorted(known, key=lambda c: (-score[c], c))[:k]
        kept = found.column[row].tolist()
        assert kept == expected + [-1] * (k - len(expected))
        assert found.value[row, : len(expected)].tolist() == scores[row, expected].tolist()


def test_a_histogram_counts_every_correlation_once() -> None:
    values = torch.cat([torch.linspace(-1, 1, 999, dtype=torch.float64), torch.tensor([torch.nan])])
    expected, _ = np.histogram(values[:-1].numpy(), bins=200, range=(-1, 1))
    found = histogram(values).numpy()
    assert found.sum() == 999
    assert np.abs(found - expected).max() <= 1  # at the edges of bins, by rounding
    assert histogram(torch.tensor([1.0, -1.0, torch.nan]))[[0, 199]].tolist() == [1, 1]


def test_mutual_pairs_choose_each_other() -> None:
    scores = np.array([[0.9, 0.1, np.nan], [0.8, 0.2, np.nan], [0.95, 0.7, np.nan]])
    rows, columns = mutual(scores)
    assert list(zip(rows, columns, strict=True)) == [(2, 0)]
    rows, _ = mutual(np.full((3, 2), np.nan))
    assert len(rows) == 0


def test_the_hungarian_matching_has_the_largest_sum() -> None:
    """Greedy choice would take 0.9 and then 0.1; the largest sum is 0.8 + 0.7."""
    scores = np.array([[0.9, 0.8], [0.7, 0.1]])
    rows, columns = hungarian(scores)
    assert list(zip(rows, columns, strict=True)) == [(0, 1), (1, 0)]


def test_a_rectangular_matching_leaves_out_what_is_dead() -> None:
    random = np.random.default_rng(0)
    scores = random.standard_normal((5, 8))
    scores[2] = np.nan
    scores[:, [1, 7]] = np.nan
    rows, columns = hungarian(scores)
    assert rows.tolist() == [0, 1, 3, 4]
    assert not set(columns) & {1, 7}
    assert len(set(columns)) == 4
