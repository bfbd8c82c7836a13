"""`neuronmap import` and `neuronmap export`: what they print, and how they fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

TABLE = Path(__file__).parents[1] / "imports" / "published.csv"
NAMES = ("--model", "demo-a", "--dataset", "pile")


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "wh"


def test_a_table_a_share_and_the_same_again(cli: Any, warehouse: Path) -> None:
    size = ("--layers", 4, "--width", 512)
    made = cli("import", "neurons", TABLE, *NAMES, *size, "--source", "made up", "--to", warehouse)
    assert (made.code, made.err) == (0, "")
    run, word = made.text.split("\t")
    assert (run.startswith("import-"), word) == (True, "made\n")
    again = cli("import", "neurons", TABLE, *NAMES, "--neurons", 2048, "--to", warehouse)
    assert again.text == f"{run}\twas there\n"
    asked = cli(
        "query", "published_universal_neurons", "-p", "model=demo-a", "-w", warehouse, "-f", "csv"
    )
    assert asked.text.splitlines()[1].startswith("pile,48,27,2048,1.318")
    assert "made up" in cli("runs", "show", run, "-w", warehouse).text


def test_columns_by_name(cli: Any, warehouse: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("L,neuron,excess_corr,note\n0,1,0.6,x\n")
    base = ("import", "neurons", path, *NAMES, "--to", warehouse)
    wrong = cli(*base, "--column", "L")
    assert (wrong.code, "--column L: write theirs=ours" in wrong.err) == (2, True)
    lacking = cli(*base, "--column", "L=layer", "--column", "note=")
    assert (lacking.code, "--partial leaves it NULL" in lacking.err) == (1, True)
    done = cli(*base, "--column", "L=layer", "--column", "note=", "--partial")
    assert done.code == 0
    assert "max_max_r is NULL: the file has no such column" in done.err


def test_correlations_both_ways(cli: Any, warehouse: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "r.npy", np.eye(4))
    base = ("import", "correlations", tmp_path / "r.npy", "--model", "a", "--partner", "b",
            "--dataset", "d", "--to", warehouse)  # fmt: skip
    twice = cli(*base, "--layers", 2, "--widths", "2,2")
    assert (twice.code, "two ways" in twice.err) == (2, True)
    assert "--partner-widths 2;2" in cli(*base, "--partner-widths", "2;2").err
    done = cli(*base, "--widths", "1,3", "--partner-layers", 2, "-k", 1, "-n", 100)
    assert (done.code, done.err) == (0, "")
    asked = (
        "SELECT layer, neuron, partner_layer, partner_neuron, n FROM neuron_pairs"
        " WHERE model = 'a' AND ranked_by = 'signed' ORDER BY ALL"
    )
    rows = cli("sql", asked, "-w", warehouse, "-f", "csv").text.splitlines()[1:]
    assert rows == ["0,0,0,0,100", "1,0,0,1,100", "1,1,1,0,100", "1,2,1,1,100"]


def test_vectors_out_and_in(
    cli: Any, demo_warehouse: Path, warehouse: Path, tmp_path: Path
) -> None:
    file = tmp_path / "out.h5"
    model = cli("sql", "SELECT DISTINCT model FROM vectors", "-w", demo_warehouse, "-f", "csv")
    name = model.text.split()[1]
    done = cli("export", "hdf5", file, "--model", name, "--pool", "mean", "-w", demo_warehouse)
    assert (done.code, done.text.endswith(" vectors\n")) == (0, True)
    read = cli("import", "hdf5", file, "--to", warehouse)
    assert (read.code, len(read.text.splitlines())) == (0, 2)
    asked = ("sql", "SELECT count(*) AS n FROM vectors WHERE pool = 'mean'", "-f", "csv", "-w")
    assert cli(*asked, warehouse).text == cli(*asked, demo_warehouse).text


def test_a_warehouse_must_be_named(cli: Any) -> None:
    answer = cli("import", "neurons", TABLE, *NAMES)
    assert (answer.code, "--to FOLDER" in answer.err) == (2, True)
