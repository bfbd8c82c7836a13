"""Matrices of correlations become best partners, both ways: compared with sorting all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import pearsonr

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError, UsageError
from neuronmap_sql.imports import best_partners

Matrix = npt.NDArray[Any]
ABOUT: dict[str, Any] = {"model": "a", "partner": "b", "dataset": "d"}


def correlated(rows: int, columns: int, seed: int = 0) -> Matrix:
    """Pearson correlations of random neurons, by scipy."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(rows, 20)), random.normal(size=(columns, 20))
    return np.array([[pearsonr(x, y).statistic for y in b] for x in a])


def by_sorting(matrix: Matrix, k: int, ranked_by: str) -> list[list[tuple[int, float]]]:
    """The k best columns of each row: sorted by value, then by column."""
    found = []
    for row in matrix:
        score = np.abs(row) if ranked_by == "absolute" else row
        there = [j for j in range(len(row)) if not np.isnan(row[j])]
        order = sorted(there, key=lambda j: (-score[j], j))[:k]
        found.append([(j, float(row[j])) for j in order])
    return found


def pairs(wh: nm.Warehouse, model: str, ranked_by: str, width: int, other: int) -> Any:
    """The stored partners, neurons numbered through all layers of equal width."""
    rows = wh.sql(
        f"SELECT layer * {width} + neuron, rank, partner_layer * {other} + partner_neuron, r"
        " FROM neuron_pairs WHERE model = $model AND ranked_by = $by ORDER BY ALL",
        {"model": model, "by": ranked_by},
    ).fetchall()
    found: dict[int, list[tuple[int, float]]] = {}
    for neuron, rank, partner, r in rows:
        found.setdefault(neuron, []).append((partner, r))
        assert rank == len(found[neuron])
    return found


def check(wh: nm.Warehouse, matrix: Matrix, widths: tuple[int, int], k: int) -> None:
    for model, turned, (width, other) in (
        ("a", matrix, widths), ("b", matrix.T, widths[::-1]),
    ):  # fmt: skip
        for ranked_by in ("signed", "absolute"):
            wanted = by_sorting(turned, k, ranked_by)
            assert pairs(wh, model, ranked_by, width, other) == {
                i: row for i, row in enumerate(wanted) if row
            }
        rows = wh.sql(
            "SELECT state, max_r, min_r FROM neuron_matches WHERE model = $model"
            " ORDER BY layer, neuron", {"model": model},
        ).fetchall()  # fmt: skip
        for row, (state, highest, lowest) in zip(turned, rows, strict=True):
            there = row[~np.isnan(row)]
            assert state == ("live" if len(there) else "undefined")
            assert (highest, lowest) == ((there.max(), there.min()) if len(there) else (None, None))


def save(path: Path, matrix: Matrix) -> Path:
    if path.suffix == ".npy":
        np.save(path, matrix)
    elif path.suffix == ".pt":
        torch.save(torch.from_numpy(np.ascontiguousarray(matrix)), path)
    else:
        path.write_text("\n".join(",".join(map(repr, map(float, row))) for row in matrix) + "\n")
    return path


@pytest.mark.parametrize("ending", [".csv", ".npy", ".pt"])
def test_both_ways_as_by_sorting(wh: nm.Warehouse, tmp_path: Path, ending: str) -> None:
    matrix = correlated(6, 8)
    path = save(tmp_path / f"r{ending}", matrix)
    wh.import_correlations(path, **ABOUT, layers=2, k=3, n=1000)
    check(wh, matrix, (3, 4), 3)
    assert wh.sql("SELECT DISTINCT n FROM neuron_pairs").fetchall() == [(1000,)]
    assert wh.sql("FROM model_pairs").fetchall() == []
    assert wh.verify() == []


def test_the_planted_partner_is_found_in_its_layer(wh: nm.Warehouse, tmp_path: Path) -> None:
    matrix = np.full((6, 6), 0.1)
    matrix[1, 4] = 0.9
    matrix[5, 0] = -0.95
    path = save(tmp_path / "r.npy", matrix)
    wh.import_correlations(path, **ABOUT, layers=[2, 4], partner_layers=(3, 3), k=1)
    asked = (
        "SELECT layer, neuron, partner_layer, partner_neuron, r FROM neuron_pairs"
        " WHERE model = 'a' AND ranked_by = 'absolute' AND abs(r) > 0.5 ORDER BY ALL"
    )
    assert wh.sql(asked).fetchall() == [(0, 1, 1, 1, 0.9), (1, 3, 0, 0, -0.95)]


def test_ties_go_to_the_earlier_layer_and_neuron(
    wh: nm.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of two rows, so that ties lie in several blocks."""
    monkeypatch.setattr(best_partners, "_BLOCK", 18)
    random = np.random.default_rng(1)
    matrix = random.choice([-0.5, 0.0, 0.5], size=(12, 9))
    wh.import_correlations(save(tmp_path / "r.npy", matrix), **ABOUT, layers=3, k=4)
    check(wh, matrix, (4, 3), 4)


def test_neurons_without_numbers_are_undefined_and_nobodys_partner(
    wh: nm.Warehouse, tmp_path: Path
) -> None:
    matrix = correlated(5, 4)
    matrix[2] = np.nan
    matrix[:, 1] = np.nan
    matrix[0, 0] = np.nan
    wh.import_correlations(save(tmp_path / "r.csv", matrix), **ABOUT, k=9)
    check(wh, matrix, (5, 4), 9)


def test_four_axes_are_layers_and_neurons(wh: nm.Warehouse, tmp_path: Path) -> None:
    matrix = correlated(6, 8)
    path = save(tmp_path / "r.pt", matrix.reshape(2, 3, 2, 4).astype(np.float32))
    wh.import_correlations(path, **ABOUT, k=2)
    check(wh, matrix.astype(np.float32).astype(np.float64), (3, 4), 2)
    with pytest.raises(UsageError, match="rows: the file has 2 layers of 3 neurons"):
        wh.import_correlations(path, **ABOUT, layers=3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_it_is(
    wh: nm.Warehouse, tmp_path: Path, dtype: torch.dtype
) -> None:
    tensor = torch.from_numpy(correlated(4, 4)).to(dtype)
    torch.save({"correlation": tensor}, tmp_path / "r.pt")
    wh.import_correlations(tmp_path / "r.pt", **ABOUT, k=2)
    check(wh, tensor.double().numpy(), (4, 4), 2)


def test_csv_may_have_names(wh: nm.Warehouse, tmp_path: Path) -> None:
    matrix = correlated(2, 2)
    lines = [",x,y", *(f"n{i},{a!r},{b!r}" for i, (a, b) in enumerate(matrix.tolist()))]
    (tmp_path / "r.csv").write_text("\n".join(lines))
    done = wh.import_correlations(tmp_path / "r.csv", **ABOUT)
    check(wh, matrix, (2, 2), 2)
    assert "a is taken for one layer of 2 neurons: --layers cuts it" in done.notes


def test_a_gap_in_the_first_line_is_no_name(wh: nm.Warehouse, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(",0.2\n0.3,\n")
    wh.import_correlations(tmp_path / "r.csv", **ABOUT)
    check(wh, np.array([[np.nan, 0.2], [0.3, np.nan]]), (2, 2), 2)


def test_rounding_beyond_one_is_one(wh: nm.Warehouse, tmp_path: Path) -> None:
    path = save(tmp_path / "r.npy", np.array([[1 + 5e-7, -1 - 5e-7], [0.0, 0.5]]))
    wh.import_correlations(path, **ABOUT)
    assert wh.sql("SELECT max(r), min(r) FROM neuron_pairs").fetchall() == [(1, -1)]


def test_the_same_again_is_the_same_run(wh: nm.Warehouse, tmp_path: Path) -> None:
    path = save(tmp_path / "r.npy", correlated(4, 4))
    first = wh.import_correlations(path, **ABOUT, layers=2)
    again = wh.import_correlations(path, **ABOUT, layers=(2, 2), partner_layers=2)
    assert (first.made, again.made) == (first.runs, ())
    with pytest.raises(UsageError, match="already holds neuron_"):
        wh.import_correlations(path, **ABOUT, layers=1)
    with pytest.raises(UsageError, match="already holds neuron_"):  # it told of b and a too
        wh.import_correlations(path, model="b", partner="a", dataset="d", layers=2)
    wh.import_correlations(path, **ABOUT | {"dataset": "e"}, layers=1)
    wh.import_correlations(path, **ABOUT, layers=1, replace=True)
    assert len(wh.store.run_ids()) == 2
    assert wh.verify() == []


@pytest.mark.parametrize(
    ("matrix", "about", "message"),
    [
        ([[0.1, 1.1]], {}, "row 0, column 1 (from 0): 1.1 is no correlation"),
        ([[np.nan, np.nan]], {}, "holds no correlation, but NaN only"),
        ([0.1, 0.2], {}, "of shape [2] is no matrix of correlations"),
        ([[[0.1]]], {}, "of shape [1, 1, 1] is no matrix"),
        ([[]], {}, "of shape [1, 0] is no matrix"),
        ([["0.1"]], {}, "<U3 of shape [1, 1] is no matrix"),
        ([[0.1, 0.2, 0.3]], {"layers": 2}, "rows: 1 neurons are not 2 layers"),
        (
            [[0.1, 0.2, 0.3]],
            {"layers": 1, "partner_layers": [1, 1]},
            "columns: layers of 2 neurons",
        ),
        ([[0.1]], {"layers": 0}, "not 0 layers"),
        ([[0.1]], {"layers": ()}, "layers of 0 neurons"),
        ([[0.1]], {"k": 0}, "k is a number from 1"),
        ([[0.1]], {"partner": "a"}, "compared with itself"),
    ],
)
def test_what_is_no_such_matrix_is_refused(
    wh: nm.Warehouse, tmp_path: Path, matrix: Any, about: dict[str, Any], message: str
) -> None:
    np.save(tmp_path / "r.npy", np.array(matrix))
    with pytest.raises((DataError, UsageError)) as caught:
        wh.import_correlations(tmp_path / "r.npy", **ABOUT | about)
    assert message in str(caught.value)
    assert wh.store.run_ids() == wh.store.unfinished() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1,0.2\n0.3\n", "r.csv:2: 1 fields, but the first line has 2"),
        ("0.1,0.2\n0.3,=1+1\n", "r.csv:2, field 2: '=1+1' is no finite number"),
        ("0.1,inf\n", "r.csv:1, field 2: 'inf' is no finite number"),
        (",0.2\n0.3,0.4,0.5\n", "r.csv:2: 3 fields"),
        ("x,y\n", "no row of numbers"),
        ("", "no row of numbers"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(
    wh: nm.Warehouse, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        wh.import_correlations(tmp_path / "r.csv", **ABOUT)
    assert message in str(caught.value)
