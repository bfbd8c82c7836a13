"""Names that try to be paths, patterns, SQL or nothing: they work throughout, or are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo_recipes import demo_recipe
from known_values import asked, ingested, written

import neuronmap_sql as nm
from neuronmap_sql.errors import RecipeError, UnknownNameError
from neuronmap_sql.ingest.recipe import recipe_from_flags
from neuronmap_sql.ingest.settings import (
    CustomSite,
    DataSettings,
    ModelSettings,
    Recipe,
    SiteSettings,
)
from neuronmap_sql.warehouse.views import quote_literal

VALUES = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
DOCS = [[1, 2, 3]]
TABLES = ("activations", "token_matrices", "vectors", "firings", "neuron_stats")

GOOD = {
    "path traversal": "../x",
    "the folder above": "..",
    "an absolute path": "/tmp/x",
    "a path of Windows": "C:\\x\\..\\y",
    "a home": "~root",
    "an option": "-rf",
    "a combining mark": "e\u0301te\u0301",
    "its composed twin": "\u00e9t\u00e9",
    "right to left": "\u05e9\u202e\u05dc\u05d5\u05dd\u200f",
    "invisible": "\u200b",
    "emoji": "\U0001f642" * 10,
    "a partition": "run=none",
    "percent": "100%",
    "encoded already": "%2e%2e%2fx",
    "a glob": "a*b?[c]{d}",
    "quotes": 'it\'s "quoted"; DROP TABLE runs; --',
    "a placeholder": "{layer}",
    "reserved by Windows": "CON",
    "reserved with an ending": "nul.txt",
    "a dot at the end": "x.",
    "a hidden file": ".x",
    "a number": "007",
    "a date": "2024-01-01",
    "a truth": "true",
    "the empty run": "none",
    "spaces inside": "a  b",
    "a line separator": "a\u2028b",
}
BAD = {
    "300 characters": ("x" * 300, "is too long"),
    "70 characters of three bytes": ("\u5b57" * 70, "is too long"),
    "a new line": ("a\nb", "has control characters"),
    "an escape": ("\x1b[31mred", "has control characters"),
    "NUL": ("nul\0", "holds a NUL character"),
    "bytes that are no UTF-8": ("\udcff", "holds bytes that are no UTF-8"),
    "spaces at the end": ("x ", "has space around it"),
    "only a space": (" ", "has space around it"),
    "NULL": ("Null", "is read as NULL"),
    "NULL of Hive": ("__HIVE_DEFAULT_PARTITION__", "is read as NULL"),
}


def around(folder: Path) -> set[Path]:
    """Everything near a warehouse that is not in it."""
    near = {path for path in folder.rglob("*") if not path.is_relative_to(folder / "wh")}
    return near | set(folder.parent.iterdir())


@pytest.mark.parametrize("name", GOOD.values(), ids=GOOD)
def test_names_that_work_do_so_throughout(tmp_path: Path, name: str) -> None:
    written(tmp_path, DOCS)
    before = around(tmp_path)
    own = {"model": {"name": name}, "data": {"name": name}}
    with ingested(tmp_path, VALUES, DOCS, site=name, **own) as wh:
        assert around(tmp_path) == before
        only = "WHERE model = $n AND dataset = $n AND site = $n"
        query = " UNION ALL ".join(
            f"SELECT DISTINCT model, dataset, site FROM {table} {only}" for table in TABLES
        )
        assert wh.sql(query, {"n": name}).fetchall() == [(name, name, name)] * len(TABLES)
        literal = query.replace("$n", quote_literal(name))
        assert asked(wh, literal) == [[name, name, name]] * len(TABLES)
        for table in TABLES:
            frame = wh.table(table).select("model", "dataset", "site").unique().collect()
            assert frame.rows() == [(name, name, name)]
        expected = VALUES[DOCS[0]].astype(np.float16)
        assert np.array_equal(wh.matrix(name, 0, site=name, dataset=name), expected)
        assert len(wh.top(name, 0, 1, site=name, dataset=name)) == 3
        assert len(wh.top_values(name, 0, 1, site=name, dataset=name)) == 3
        assert wh.verify() == []
        for run in ("docs", "model"):
            (found,) = (one for one in wh.store.run_ids() if one.startswith(f"{run}-"))
            wh.store.drop(found, with_children=True)
        assert wh.store.run_ids() == ()
        assert wh.sql("SELECT count(*) FROM activations").fetchall() == [(0,)]
    assert around(tmp_path) == before


@pytest.mark.parametrize("key", ["model.name", "data.name", "sites"])
@pytest.mark.parametrize(("name", "message"), BAD.values(), ids=BAD)
def test_names_that_cannot_work_are_refused_before_anything_is_read(
    key: str, name: str, message: str
) -> None:
    least = {"model.source": "nowhere/at-all", "data.path": "nothing.jsonl"}
    own = {f"sites.{name}.module": "x"} if key == "sites" else {key: name}
    with pytest.raises(RecipeError, match=rf"^command line: (a key|site|{key}).*{message}"):
        recipe_from_flags({**least, **own})


def test_a_revision_is_part_of_the_name(tmp_path: Path) -> None:
    least = {"model.source": "nowhere", "data.path": "nothing.jsonl"}
    with pytest.raises(RecipeError, match=r"model\.name 'nowhere@a\\nb' has control characters"):
        recipe_from_flags({**least, "model.revision": "a\nb"})
    with pytest.raises(RecipeError, match=r"model\.name .* is too long"):
        recipe_from_flags({**least, "model.revision": "x" * 195})


def test_a_recipe_made_in_python_is_checked_too(tmp_path: Path) -> None:
    known = Recipe(ModelSettings("nowhere"), DataSettings("nothing.jsonl", name="d"))
    with nm.create(tmp_path / "wh") as wh:
        for wrong in (
            replace(known, data=replace(known.data, name="")),
            replace(known, data=replace(known.data, name="a\nb")),
            replace(known, model=replace(known.model, name="NULL")),
            replace(known, sites=SiteSettings((), custom=(CustomSite(" s", "x"),))),
        ):
            with pytest.raises(RecipeError, match=r"^recipe: .*; choose another name"):
                wh.ingest(wrong, progress=False)
        assert list((wh.path / "staging").iterdir()) == []


def test_a_site_of_a_family_file_is_checked_before_the_work(
    tmp_path: Path, demo_model: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        'title = "T"\nmodel_types = ["gpt2"]\n[blocks]\nlayers = "n_layer"\n'
        '[blocks.sites]\n"a\\nb" = { output = "h.{layer}" }\n'
    )
    own = {"family": str(tmp_path / "mine.toml")}
    recipe = demo_recipe(demo_model, 2, model=own, sites={"use": ["a\nb"]})
    with nm.create(tmp_path / "wh") as wh:
        with pytest.raises(RecipeError, match=r"site 'a\\nb' has control characters"):
            wh.ingest(recipe, progress=False)
        assert (wh.store.run_ids(), wh.store.unfinished()) == ((), ())


def test_names_that_differ_in_capitals_only(tmp_path: Path) -> None:
    for name in ("Name", "name"):
        own: dict[str, Any] = {"model": {"name": name}, "data": {"name": name}}
        ingested(tmp_path, VALUES * (1 + name.islower()), DOCS, site=name, **own).close()
    with nm.open(tmp_path / "wh") as wh:
        for name, factor in (("Name", 1), ("name", 2)):
            stored = wh.matrix(name, 0, site=name)
            assert np.array_equal(stored, (factor * VALUES[DOCS[0]]).astype(np.float16))
            query = "SELECT count(*) FROM neuron_stats WHERE model = $n AND site = $n"
            assert wh.sql(query, {"n": name}).fetchall() == [(4,)]
    # Folders of one run must lie side by side, on every file system.
    least = {"model.source": "nowhere", "data.path": "nothing.jsonl"}
    with pytest.raises(RecipeError, match="sites 'Conv' and 'conv' differ in capitals only"):
        recipe_from_flags({**least, "sites.Conv.module": "x", "sites.conv.module": "y"})


@pytest.mark.parametrize("run", ["../../outside", "/etc", "..", "run=none", "a/../b"])
def test_a_run_that_is_a_path_is_no_run(tmp_path: Path, run: str) -> None:
    store = nm.create(tmp_path / "wh").store
    (tmp_path / "outside").mkdir()
    with pytest.raises(UnknownNameError, match="no run named"):
        store.drop(run)
    assert (tmp_path / "outside").is_dir()


def test_a_dataset_of_a_glob_is_named_after_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = recipe_from_flags({"model.source": "nowhere", "data.path": "*.txt"})
    assert found.data.name == tmp_path.name
