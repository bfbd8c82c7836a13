"""The classic HDF5 layout, read and written: nothing of it is lost on the way."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from classic_files import LAYERS, QUESTIONS, bare, classic, statistics, vector

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError, UnknownNameError, UsageError
from neuronmap_sql.imports import hdf5_rows
from neuronmap_sql.imports.hdf5_layout import natural, place_of

TABLES = ("docs", "vectors", "vector_stats")


def rows(wh: nm.Warehouse, table: str) -> list[Any]:
    return wh.sql(f"SELECT * EXCLUDE (run) FROM {table} ORDER BY ALL").fetchall()


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> nm.Warehouse:
    """A warehouse with a classic file in it; read it, do not write it."""
    folder = tmp_path_factory.mktemp("classic")
    wh = nm.create(folder / "wh")
    wh.import_hdf5(classic(folder / "classic.h5"), source="an old disk")
    return wh


def test_a_question_is_a_document(read: nm.Warehouse) -> None:
    found = read.sql("SELECT dataset, doc, doc_id, text FROM docs ORDER BY doc").fetchall()
    assert found == [
        ("classic", doc, f"question_{number}", text)
        for doc, (number, text) in enumerate(QUESTIONS.items())
    ]


def test_vectors_and_statistics_are_those_of_the_file(read: nm.Warehouse) -> None:
    found = read.sql(
        "SELECT doc, name, v.site, v.layer, vector, mean, standard_deviation, min, max,"
        " fraction_zero, attributes, n, tokenizer, pool"
        " FROM vectors AS v JOIN vector_stats USING (model, dataset, site, layer, doc, pool)"
    ).fetchall()
    assert len(found) == len(QUESTIONS) * len(LAYERS)
    for doc, name, site, layer, values, *stats, attributes, n, tokenizer, pool in found:
        wanted = vector([*QUESTIONS][doc], name)
        assert values == wanted.tolist()
        assert stats == [*statistics(wanted).values()]
        assert (attributes, n, tokenizer, pool) == ("{}", None, None, "mean")
        assert f"h_{layer}_" in name
        assert site == name.replace(f"_{layer}_", "_")


def test_what_the_file_tells_of_itself_is_in_the_recipe(read: nm.Warehouse) -> None:
    runs = read.sql("SELECT run, title, parents, recipe FROM runs ORDER BY len(parents)").fetchall()
    (docs, *_), (_, title, parents, recipe) = runs
    assert (title, parents) == ("an old disk", [docs])
    assert "max_length" in recipe


def odd_file(path: Path) -> Path:
    """A classic file with attributes of every kind in every place."""
    with h5py.File(classic(path, pool="last", tokenizer="tk", dataset="d"), "a") as file:
        for number, question in enumerate(QUESTIONS):
            group = file[f"activations/question_{question}"]
            group.attrs.update({"topic": "maths", "level": number, "odd": [1, 2], "text": "mine"})
            if number % 2:
                group.attrs.update({"Run": "a taken name", "hit": True, "weight": 0.5})
        layer = file[f"activations/question_0/{LAYERS[0]}"]
        layer.attrs.update({"n_tokens": 7, "unit": "mV", "names": ["a", "b"], "mean": 99.5})
        layer["vector"].attrs.update({"scale": 2.0, "bytes": np.bytes_(b"x\xff")})
        layer.attrs["stats"] = json.dumps({"std": 1, "entropy": 0.5, "max": float("nan")})
        file["activations/question_1"].attrs["nothing"] = h5py.Empty("f")
        bad = np.array([np.nan, np.inf, 0, 1, 2])
        file[f"activations/question_1/{LAYERS[0]}/vector"][...] = bad
        del file[f"activations/question_2/{LAYERS[1]}"]
        del file["questions/question_2"]
        file["questions/question_2"] = np.void(b"a\0b")
    return path


def test_no_attribute_is_lost(wh: nm.Warehouse, tmp_path: Path) -> None:
    wh.import_hdf5(odd_file(tmp_path / "odd.h5"))
    docs = wh.sql("SELECT topic, level, hit, weight, attributes FROM docs ORDER BY doc").fetchall()
    assert [row[:4] for row in docs[:2]] == [("maths", 0, None, None), ("maths", 1, True, 0.5)]
    odd = {"odd": [1, 2], "text": "mine"}
    assert json.loads(docs[0][4]) == odd
    assert json.loads(docs[1][4]) == odd | {"Run": "a taken name", "nothing": None}
    row = wh.sql(
        "SELECT mean, standard_deviation, max, attributes, n, tokenizer, pool FROM vector_stats"
        f" JOIN vectors USING (site, layer, doc, pool) WHERE doc = 0 AND name = '{LAYERS[0]}'"
    ).fetchall()[0]
    assert (row[:3], row[4:]) == ((99.5, 1.0, None), (7, "tk", "last"))
    assert json.loads(row[3]) == {
        "unit": "mV", "names": ["a", "b"], "stats": {"entropy": 0.5, "max": "NaN"},
        "vector": {"scale": 2.0, "bytes": "x\\xff"},
    }  # fmt: skip
    asked = (
        "SELECT vector FROM vectors JOIN vector_stats USING (site, layer, doc)"
        f" WHERE doc = 1 AND name = '{LAYERS[0]}'"
    )
    assert wh.sql(asked).fetchall() == [([None, None, 0, 1, 2],)]
    assert wh.sql("SELECT text FROM docs WHERE doc = 2").fetchall() == [("a\0b",)]
    assert wh.verify() == []


def test_there_and_back(wh: nm.Warehouse, tmp_path: Path) -> None:
    wh.import_hdf5(odd_file(tmp_path / "odd.h5"))
    assert wh.export_hdf5(tmp_path / "again.h5", model="gpt2") == 11
    other = nm.create(tmp_path / "other")
    other.import_hdf5(tmp_path / "again.h5")
    for table in TABLES:
        assert rows(other, table) == rows(wh, table)
        assert rows(wh, table)


def test_the_export_is_what_classic_readers_expect(read: nm.Warehouse, tmp_path: Path) -> None:
    read.export_hdf5(tmp_path / "again.h5", model="gpt2")
    with h5py.File(tmp_path / "again.h5") as file:
        assert (file.attrs["model_name"], file.attrs["num_questions"]) == ("gpt2", len(QUESTIONS))
        assert [text[()].decode() for text in file["questions"].values()] == [*QUESTIONS.values()]
        for doc, number in enumerate(QUESTIONS):
            for name in LAYERS:
                layer = file[f"activations/question_{doc}/{name}"]
                assert layer["vector"][()].tolist() == vector(number, name).tolist()
                assert json.loads(layer.attrs["stats"]) == statistics(vector(number, name))
                assert {key: layer.attrs[key] for key in statistics(np.zeros(1))} == statistics(
                    vector(number, name)
                )


def test_vectors_of_an_ingest_go_out_and_in(demo_warehouse: Path, tmp_path: Path) -> None:
    """Under another model's name they join the documents that are there."""
    wh = nm.open(demo_warehouse)
    [(model,)] = wh.sql("SELECT DISTINCT model FROM vectors").fetchall()
    with pytest.raises(UsageError, match="--pool"):
        wh.export_hdf5(tmp_path / "out.h5", model=model)
    count = wh.export_hdf5(tmp_path / "out.h5", model=model, site="mlp", pool="max")
    with h5py.File(tmp_path / "out.h5") as file:
        layer = next(iter(next(iter(file["activations"].values())).values()))
        wanted = statistics(layer["vector"][()].astype(np.float64))
        assert json.loads(layer.attrs["stats"]) == wanted
    other = nm.create(tmp_path / "other")
    other.import_hdf5(tmp_path / "out.h5")
    done = other.import_hdf5(tmp_path / "out.h5", model="copy")
    assert (len(done.made), len(other.store.run_ids())) == (1, 3)
    asked = (
        "SELECT doc, site, layer, n, vector, tokenizer, doc_id, text, source FROM vectors"
        " JOIN docs USING (dataset, doc) WHERE model = '{}' AND pool = 'max' AND site = 'mlp'"
        " ORDER BY ALL"
    )
    wanted_rows = wh.sql(asked.format(model)).fetchall()
    assert len(wanted_rows) == count
    for name in (model, "copy"):
        assert other.sql(asked.format(name)).fetchall() == wanted_rows


def test_documents_that_differ_need_another_name(wh: nm.Warehouse, tmp_path: Path) -> None:
    first = wh.import_hdf5(classic(tmp_path / "a.h5"), dataset="d")
    again = wh.import_hdf5(classic(tmp_path / "a.h5"), dataset="d")
    assert (first.made, again.made) == (first.runs, ())
    with h5py.File(classic(tmp_path / "b.h5"), "a") as file:
        del file["questions/question_0"]
        file["questions/question_0"] = "What is three?"
    with pytest.raises(UsageError, match="already holds docs"):
        wh.import_hdf5(tmp_path / "b.h5", dataset="d", model="other")
    with pytest.raises(UsageError, match="--with-children"):
        wh.import_hdf5(tmp_path / "b.h5", dataset="d", model="other", replace=True)
    done = wh.import_hdf5(tmp_path / "b.h5", dataset="d", replace=True)
    assert wh.store.run_ids() == tuple(sorted(done.runs))
    assert wh.verify() == []


@pytest.mark.parametrize(
    ("name", "given", "site", "wanted"),
    [
        ("transformer_h_5_mlp_c_proj", {}, None, ("transformer_h_mlp_c_proj", 5)),
        ("transformer.h.5.mlp", {}, None, ("transformer.h.mlp", 5)),
        ("encoder_layer_3_output_dense", {}, None, ("encoder_layer_output_dense", 3)),
        ("layer_7", {}, None, ("layer", 7)),
        ("layer7", {}, None, ("layer", 7)),
        ("7", {}, None, ("layer", 7)),
        ("ln_f", {}, None, ("ln_f", 0)),
        ("fc2", {}, None, ("fc2", 0)),
        ("layer_7", {}, "mlp", ("mlp", 7)),
        ("layer_7", {"site": "attn", "layer": 2}, None, ("attn", 2)),
    ],
)
def test_names_tell_site_and_layer(
    name: str, given: dict[str, Any], site: str | None, wanted: tuple[str, int]
) -> None:
    place = place_of(name, given, site)
    assert (place.site, place.layer) == wanted


def test_numbers_in_names_sort_as_numbers() -> None:
    names = ["question_10", "question_9", "a", "1", "question_9b", "question"]
    assert sorted(names, key=natural) == [
        "1", "a", "question", "question_9", "question_9b", "question_10",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"site": "mlp"}, "would both be site 'mlp', layer 0: do not give a site"),
        ({"pool": "men"}, "no pool 'men'; did you mean 'mean'"),
        ({"model": "a\nb"}, "control characters"),
    ],
)
def test_what_cannot_be_is_refused(
    wh: nm.Warehouse, tmp_path: Path, about: dict[str, Any], message: str
) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        wh.import_hdf5(classic(tmp_path / "c.h5"), **about)
    assert wh.store.run_ids() == wh.store.unfinished() == ()


def test_a_file_without_a_model_needs_one(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(bare(tmp_path / "c.h5", layer_0=[1.0]), "a") as file:
        del file.attrs["model_name"]
    with pytest.raises(UsageError, match="--model"):
        wh.import_hdf5(tmp_path / "c.h5")
    wh.import_hdf5(tmp_path / "c.h5", model="m")
    assert rows(wh, "vectors") == [("m", "c", None, "layer", 0, 0, "mean", None, [1.0])]


def test_an_unknown_choice_names_the_nearest(read: nm.Warehouse, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'gpt2'.*--keep vectors"):
        read.export_hdf5(tmp_path / "out.h5", model="gpt-2")
    with pytest.raises(UnknownNameError, match="no site named 'transformer_attn'"):
        read.export_hdf5(tmp_path / "out.h5", model="gpt2", site="transformer_attn")
    assert not (tmp_path / "out.h5").exists()


def test_without_h5py_the_way_out_is_named(
    wh: nm.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = classic(tmp_path / "c.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"pip install 'neuronmap-sql\[hdf5\]'"):
        wh.import_hdf5(path)
    with pytest.raises(UsageError, match=r"pip install 'neuronmap-sql\[hdf5\]'"):
        wh.export_hdf5(tmp_path / "out.h5", model="gpt2")


def test_many_values_are_written_some_at_a_time(
    wh: nm.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_rows, "_ROWS", 11)  # after every third vector
    path = classic(tmp_path / "c.h5")
    done = wh.import_hdf5(path)
    files = [entry.path for entry in wh.store.manifest(done.runs[1]).files]
    assert sum(name.startswith("vector_stats/") for name in files) == 4
    found = wh.sql(
        "SELECT doc, name, vector FROM vectors JOIN vector_stats USING (site, layer, doc)"
    )
    rows = {(doc, name): values for doc, name, values in found.fetchall()}
    assert rows == {
        (doc, name): vector(question, name).tolist()
        for doc, question in enumerate(QUESTIONS) for name in LAYERS
    }  # fmt: skip
    assert wh.verify() == []
