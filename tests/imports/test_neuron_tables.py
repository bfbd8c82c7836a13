"""Published neuron tables become rows: every number, under its own name here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import duckdb
import pytest
from published_tables import PUBLISHED, Cells, changed, place

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError, UnknownNameError, UsageError
from neuronmap_sql.imports.neuron_columns import COLUMNS
from neuronmap_sql.warehouse.schema import column_types

ABOUT: dict[str, Any] = {"model": "m", "dataset": "pile", "layers": 4, "width": 512}


def theirs(sql: str) -> Any:
    """What the engine's own reader finds in the file."""
    return duckdb.sql(sql.replace("FILE", f"read_csv('{PUBLISHED}')")).fetchall()


def test_every_number_arrives_under_its_name(wh: nm.Warehouse) -> None:
    wh.import_neurons(PUBLISHED, **ABOUT)
    for column in COLUMNS:
        found = wh.sql(
            f"SELECT layer, neuron, {column.name} FROM published_neurons ORDER BY ALL"
        ).fetchall()
        wanted = f"SELECT layer::INTEGER, neuron::INTEGER, {column.theirs} FROM FILE ORDER BY ALL"
        assert found == theirs(wanted)
    assert {column.name for column in COLUMNS} < set(column_types("published_neurons"))


def test_the_share_of_the_model_comes_out_in_sql(wh: nm.Warehouse) -> None:
    wh.import_neurons(PUBLISHED, **ABOUT)
    row = wh.query("published_universal_neurons", model="m", threshold=0.5).pl().row(0, named=True)
    [(rows, universal)] = theirs("SELECT count(*), count(*) FILTER (excess_corr > 0.5) FROM FILE")
    assert (row["published"], row["universal"], row["model_neurons"]) == (rows, universal, 2048)
    assert row["percent"] == 100 * universal / 2048


def test_medians_and_signs_are_those_of_the_file(wh: nm.Warehouse) -> None:
    wh.import_neurons(PUBLISHED, **ABOUT)
    found = dict(
        wh.query("published_properties", model="m", threshold=-1)
        .pl()[["property", "median"]]
        .rows()
    )
    names = {column.name: column.theirs for column in COLUMNS if column.name in found}
    medians = ", ".join(f"median({name})" for name in names.values())
    assert [found[name] for name in names] == pytest.approx(
        theirs(f"SELECT {medians} FROM FILE")[0]
    )
    signs = wh.query("published_vocabulary_signs", model="m").fetchall()[0][1:4]
    assert (
        signs
        == theirs(
            "SELECT count(*), count(*) FILTER (vocab_skew > 0), count(*) FILTER (vocab_skew < 0)"
            " FROM FILE WHERE vocab_kurt > 10 AND excess_corr > 0.5"
        )[0]
    )


def test_sparsity_has_its_true_meaning(wh: nm.Warehouse) -> None:
    wh.import_neurons(PUBLISHED, **ABOUT)
    [(low, high)] = wh.sql(
        "SELECT min(threshold), max(threshold) FROM published_neurons"
    ).fetchall()
    assert low == high == pytest.approx(-0.098, abs=5e-4)


def test_the_run_tells_where_the_rows_are_from(wh: nm.Warehouse) -> None:
    done = wh.import_neurons(PUBLISHED, **ABOUT, source="arXiv 2401.12181")
    row = wh.sql("FROM runs").pl().row(0, named=True)
    assert (row["run"], row["kind"], row["title"]) == (*done.runs, "import", "arXiv 2401.12181")
    recipe = tomllib.loads(row["recipe"])["import"]
    assert recipe["file"] == "published.csv"
    assert recipe["sha256"] == row["data_hash"]
    assert recipe["neurons"] == 2048
    assert str(PUBLISHED.parent) not in row["recipe"]
    assert row["versions"]


def test_the_same_again_does_nothing_and_another_needs_replace(
    wh: nm.Warehouse, tmp_path: Path
) -> None:
    first = wh.import_neurons(PUBLISHED, **ABOUT)
    again = wh.import_neurons(PUBLISHED, model="m", dataset="pile", neurons=2048)
    assert (first.made, again.made, again.runs) == (first.runs, (), first.runs)
    fewer = changed(tmp_path / "fewer.csv", lambda cells: cells.pop())
    with pytest.raises(UsageError, match="--replace"):
        wh.import_neurons(fewer, **ABOUT)
    assert wh.sql("SELECT DISTINCT run FROM published_neurons").fetchall() == [first.runs]
    other = wh.import_neurons(fewer, **ABOUT, replace=True)
    assert other.rows == first.rows - 1
    assert wh.store.run_ids() == other.runs
    assert wh.verify() == []


def test_gaps_are_null(wh: nm.Warehouse, tmp_path: Path) -> None:
    def gaps(cells: Cells) -> None:
        for line, text in enumerate(["", "nan", "NaN", "NA"], 1):
            cells[line][place("skew")] = text
        cells[1][place("sparsity")] = ""

    wh.import_neurons(changed(tmp_path / "gaps.csv", gaps), **ABOUT)
    asked = "SELECT count(*) - count(skewness), count(*) - count(threshold) FROM published_neurons"
    assert wh.sql(asked).fetchall() == [(4, 1)]


def test_columns_may_have_other_names_or_be_left_out(wh: nm.Warehouse, tmp_path: Path) -> None:
    def rename(cells: Cells) -> None:
        cells[0][place("skew")] = "s"
        cells[0][place("var")] = "variance"
        cells[0].append("note")
        for row in cells[1:]:
            row.append("=1+1")

    path = changed(tmp_path / "other.csv", rename)
    with pytest.raises(DataError, match=r"other.csv:1: unknown column 's'.*--column"):
        wh.import_neurons(path, **ABOUT)
    wh.import_neurons(path, **ABOUT, columns={"s": "skewness", "note": ""})
    [(found,)] = wh.sql("SELECT sum(skewness) FROM published_neurons").fetchall()
    assert found == pytest.approx(theirs("SELECT sum(skew) FROM FILE")[0][0])


def test_a_few_columns_are_enough_if_one_says_so(wh: nm.Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("layer,neuron,excess_corr\n0,1,0.5\n0,0,0.25\n")
    with pytest.raises(DataError, match=r"few.csv:1: no column 'max_corr'.*--partial"):
        wh.import_neurons(path, model="m", dataset="d")
    done = wh.import_neurons(path, model="m", dataset="d", partial=True)
    assert "kurtosis is NULL: the file has no such column" in done.notes
    assert any("--neurons" in note for note in done.notes)
    rows = wh.sql("SELECT neuron, excess_correlation, threshold FROM published_neurons").fetchall()
    assert rows == [(0, 0.25, None), (1, 0.5, None)]


def set_cell(line: int, name: str, text: str) -> Any:
    return lambda cells: cells[line].__setitem__(place(name), text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_cell(0, "kurt", "kurtt"), ":1: unknown column 'kurtt'; did you mean 'kurt'"),
        (set_cell(0, "kurt", "skew"), ":1: 'skew' and 'skew' would both be skewness"),
        (set_cell(3, "kurt", "1.2.3"), ":4, column kurt: '1.2.3' is no finite number"),
        (set_cell(3, "kurt", "inf"), ":4, column kurt: 'inf' is no finite number"),
        (set_cell(3, "kurt", "1e999"), ":4, column kurt: '1e999' is no finite number"),
        (set_cell(3, "kurt", "1_0"), ":4, column kurt: '1_0' is no finite number"),
        (set_cell(5, "max_corr", "1.5"), ":6, column max_corr: '1.5' is not from -1 to 1"),
        (set_cell(5, "w_in_norm", "-1"), ":6, column w_in_norm: '-1' is not from 0"),
        (set_cell(5, "sparsity", "2"), ":6, column sparsity: '2' is not from 0 to 1"),
        (set_cell(2, "layer", "4"), ":3, column layer: '4' is no index from 0 to 3"),
        (set_cell(2, "neuron", "512"), ":3, column neuron: '512' is no index from 0 to 511"),
        (set_cell(2, "neuron", "-1"), ":3, column neuron: '-1' is no index"),
        (set_cell(2, "neuron", "1.5"), ":3, column neuron: '1.5' is no index"),
        (set_cell(2, "neuron", ""), ":3, column neuron: '' is no index"),
        (lambda cells: cells[4].pop(), ":5: 22 fields, but the header has 23"),
        (lambda cells: cells.append(cells[2]), "is on line 3 already"),
        (lambda cells: cells.__delitem__(slice(1, None)), "no neuron"),
        (lambda cells: cells.clear(), ":1: no column 'layer'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    wh: nm.Warehouse, tmp_path: Path, change: Any, message: str
) -> None:
    path = changed(tmp_path / "bad.csv", change)
    with pytest.raises((DataError, UsageError)) as caught:
        wh.import_neurons(path, **ABOUT)
    assert message in str(caught.value)
    assert str(caught.value).startswith("bad.csv")
    assert wh.store.run_ids() == wh.store.unfinished() == ()


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"layers": 4}, "layers and width go together"),
        ({"layers": 4, "width": 2, "neurons": 8}, "once"),
        ({"neurons": 0}, "from 1"),
        ({"neurons": 5}, "48 neurons, of a model that has 5"),
        ({"columns": {"skew": "skewnes"}}, "did you mean 'skewness'"),
        ({"columns": {"skeww": "skewness"}}, "no column 'skeww' to map; did you mean 'skew'"),
    ],
)
def test_what_is_asked_wrongly_is_refused(
    wh: nm.Warehouse, about: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, DataError), match=message):
        wh.import_neurons(PUBLISHED, **{"model": "m", "dataset": "d", **about})


def test_a_model_without_such_rows_is_named_with_its_neighbour(wh: nm.Warehouse) -> None:
    wh.import_neurons(PUBLISHED, **ABOUT | {"model": "gpt2-small"})
    with pytest.raises(UnknownNameError, match=r"did you mean 'gpt2-small'.*import neurons"):
        wh.query("published_properties", model="gpt2-smal").fetchall()
