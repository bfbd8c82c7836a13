"""An analysis is a run: derived, content-named, idempotent, replaced only on demand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from planted_labels import Planted, warehouse

import neuronmap_sql as nm
from neuronmap_sql.analysis.label_run import analyze_labels
from neuronmap_sql.analysis.settings import LabelSettings
from neuronmap_sql.errors import UnknownNameError, UsageError


@pytest.fixture
def wh(unanalysed: Path, tmp_path: Path) -> Iterator[nm.Warehouse]:
    with nm.open(shutil.copytree(unanalysed, tmp_path / "wh")) as made:
        yield made


def test_its_row_says_what_it_was_made_from(analysed: nm.Warehouse) -> None:
    (row,) = analysed.sql("FROM runs WHERE kind = 'analysis'").pl().rows(named=True)
    others = {run for run in analysed.store.run_ids() if run != row["run"]}
    assert set(row["parents"]) == others
    assert (row["model"], row["dataset"], row["tokenizer"]) == ("m", "d", "t")
    assert 'labels = [\n    "token",' in row["recipe"]
    assert "lags = [\n    0,\n    1,\n]" in row["recipe"]
    assert row["rows"] == len(analysed.sql("FROM label_scores").pl()) + len(
        analysed.sql("FROM class_means").pl()
    )
    assert analysed.verify() == []


def test_the_same_again_is_there_already(wh: nm.Warehouse) -> None:
    first = wh.analyze_labels("m", labels=["digits"], progress=False)
    again = wh.analyze_labels("m", labels=["digits"], progress=False)
    assert (first.made, again.made) == (True, False)
    assert first.run == again.run
    assert first.rows == again.rows == 42 * 2 + 42 * 2 * 2


def test_another_needs_replace(wh: nm.Warehouse) -> None:
    first = wh.analyze_labels("m", labels=["digits"], progress=False)
    with pytest.raises(UsageError, match="--replace"):
        wh.analyze_labels("m", labels=["token"], progress=False)
    second = wh.analyze_labels("m", labels=["token"], replace=True, progress=False)
    assert {first.run, second.run} & set(wh.store.run_ids()) == {second.run}
    labels = wh.sql("SELECT DISTINCT label FROM label_scores").fetchall()
    assert labels == [("token",)]


def test_memory_changes_nothing(known: Planted, analysed: nm.Warehouse, wh: nm.Warehouse) -> None:
    """In pieces of a few neurons, the rows are those of all at once."""
    names = ("token", "window_position", "docs.source")
    told: list[tuple[int, int]] = []
    settings = LabelSettings("m", labels=names, memory=1 << 19)
    analyze_labels(wh.store, settings, progress=lambda *done: told.append(done))
    assert len(told) > 3
    assert told[-1] == (42, 42)
    query = (
        "SELECT * EXCLUDE (run, p_adjusted) FROM label_scores WHERE list_contains($names, label)"
        " ORDER BY neuron, label, lag"
    )
    mine, theirs = (each.sql(query, {"names": list(names)}).pl() for each in (wh, analysed))
    floats = [name for name, kind in mine.schema.items() if kind == pl.Float64]
    assert mine.drop(floats).equals(theirs.drop(floats))
    for name in floats:
        a, b = mine[name].to_numpy(), theirs[name].to_numpy()
        assert a == pytest.approx(b, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("table", ["token_matrices", "activations_int8"])
def test_other_tables_serve_as_well(
    known: Planted, analysed: nm.Warehouse, tmp_path: Path, table: str
) -> None:
    with nm.create(tmp_path / "other") as wh:
        warehouse(wh.store, known, (table,))
        wh.analyze_labels("m", labels=["token"], lags=[0], means=0, progress=False)
        query = (
            "SELECT variance_reduction FROM label_scores WHERE label = 'token' AND lag = 0"
            " ORDER BY neuron"
        )
        found, expected = (w.sql(query).pl().to_series().to_numpy() for w in (wh, analysed))
        exact = 1e-12 if table == "token_matrices" else 1e-3
        assert found == pytest.approx(expected, abs=exact, nan_ok=True)
        assert wh.sql("FROM class_means").fetchall() == []


def test_what_fails_leaves_nothing(wh: nm.Warehouse) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = wh.store.run_ids()
    with pytest.raises(KeyboardInterrupt):
        analyze_labels(wh.store, LabelSettings("m", labels=("digits",)), progress=interrupt)
    assert wh.store.run_ids() == before
    assert wh.store.unfinished() == ()


def test_what_cannot_be_is_said(wh: nm.Warehouse) -> None:
    with pytest.raises(UnknownNameError, match="no values kept of model 'n'"):
        wh.analyze_labels("n", progress=False)
    with pytest.raises(UnknownNameError, match="no label named 'tokens'"):
        wh.analyze_labels("m", labels=["tokens"], progress=False)
    with pytest.raises(UsageError, match="least = 0"):
        wh.analyze_labels("m", least=0, progress=False)
    with pytest.raises(UsageError, match="lags = -1"):
        wh.analyze_labels("m", lags=[-1], progress=False)


def test_the_values_do_not_leave_without_their_analysis(wh: nm.Warehouse) -> None:
    done = wh.analyze_labels("m", labels=["digits"], progress=False)
    (values,) = [run for run in wh.store.run_ids() if run.startswith("activations")]
    with pytest.raises(UsageError, match=done.run):
        wh.store.drop(values)


def test_it_leaves_torch_alone() -> None:
    said = "import sys, neuronmap_sql.analysis.label_run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0
