"""Every block of the cookbook runs, in the order of the page, and answers something."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import duckdb
import numpy as np
import pytest

import neuronmap_sql as nm
from neuronmap_sql.content import folder
from neuronmap_sql.ingest.comparison.recipe import parse_comparison
from neuronmap_sql.warehouse.connect import configure_connection, connect
from neuronmap_sql.warehouse.schema import table_names
from neuronmap_sql.warehouse.views import create_macros

PAGE = Path(__file__).parents[2] / "docs" / "cookbook.md"
PUBLISHED = Path(__file__).parents[1] / "imports" / "published.csv"
RECIPES = re.findall(r"^## (.+?)\n(?:(?!^## ).)*?^```sql\n(.+?)^```", PAGE.read_text(), re.M | re.S)
MODELS = (("demo-a", "NULL"), ("demo-a@step400", "400"), ("demo-b", "NULL"))
LARGE = {"activations", "activations_int8", "token_matrices", "vectors", "firings"}


def copied(source: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A database with the demo's tables, its one model under the names that the page uses."""
    con = duckdb.connect()
    for table in table_names():
        rows = source.sql(f"FROM {table}").to_arrow_table()
        con.register("rows", rows)
        changed = []
        for model, step in MODELS[:1] if table in LARGE else MODELS:
            values = {"model": f"'{model}'", "name": f"'{model.split('@')[0]}'", "step": step}
            wanted = values if table == "models" else {"model": values["model"]}
            parts = [
                f"{value} AS {name}" for name, value in wanted.items() if name in rows.column_names
            ]
            changed.append(
                f"SELECT * REPLACE ({', '.join(parts)}) FROM rows" if parts else "FROM rows"
            )
        con.execute(f"CREATE TABLE {table} AS " + " UNION ".join(changed))
        con.unregister("rows")
    create_macros(con, "macros")
    return con


def with_imports(con: duckdb.DuckDBPyConnection, root: Path) -> duckdb.DuckDBPyConnection:
    """Add what the page imports: a published table, and correlations."""
    with nm.create(root) as wh:
        wh.import_neurons(PUBLISHED, model="demo-a", dataset="pile", layers=4, width=512)
        np.save(root.parent / "r.npy", np.eye(8))
        wh.import_correlations(
            root.parent / "r.npy", model="demo-a", partner="demo-b", dataset="demo", layers=4
        )
        for table in ("published_neurons", "neuron_pairs"):
            con.register("rows", wh.sql(f"FROM {table}").arrow())
            con.execute(f"INSERT INTO {table} BY NAME FROM rows")
            con.unregister("rows")
    return con


def with_comparison(con: duckdb.DuckDBPyConnection, place: Path) -> None:
    """Add two models of the demo beside each other, on a little of its text."""
    raw = tomllib.loads((folder("ingest") / "compare-demo.toml").read_text())
    raw["models"] = [m for m in raw["models"] if m.get("name") is None][:2]
    raw["data"] |= {"limit": 20, "name": "some"}
    recipe = parse_comparison(raw, "test", folder("ingest"))
    with nm.create(place / "wh") as wh:
        wh.compare(recipe, progress=False)
        for table in ("neuron_matches", "neuron_pairs", "neuron_baseline", "layer_pairs"):
            con.register("rows", wh.sql(f"FROM {table}").arrow())
            con.execute(f"INSERT INTO {table} BY NAME FROM rows")
            con.unregister("rows")


@pytest.fixture(scope="module")
def analysed(demo_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with its labels analysed, and a neuron ablated."""
    root = shutil.copytree(demo_warehouse, tmp_path_factory.mktemp("analysed") / "warehouse")
    neuron = "SELECT model, 1 AS layer, 7 AS neuron FROM models"
    with nm.open(root) as wh:
        wh.analyze_labels("demo-a", progress=False)
        wh.ablate(neuron, "text", limit=3, controls=1, progress=False)
    return root


@pytest.fixture(scope="module")
def plain(analysed: Path, tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """What a stock shell has: tables and macros, no function of ours."""
    con = copied(connect(analysed, udfs=False))
    with_comparison(con, tmp_path_factory.mktemp("compared"))
    return with_imports(con, tmp_path_factory.mktemp("imports") / "wh")


@pytest.fixture(scope="module")
def full(demo_warehouse: Path) -> duckdb.DuckDBPyConnection:
    return configure_connection(copied(connect(demo_warehouse, udfs=False)), demo_warehouse)


def test_the_page_has_questions_with_one_block_each() -> None:
    text = PAGE.read_text()
    assert len(RECIPES) >= 20
    assert len(RECIPES) == text.count("\n## ") == text.count("```sql")
    assert all(question.endswith("?") for question, _ in RECIPES)


@pytest.mark.parametrize(("question", "sql"), RECIPES, ids=[question for question, _ in RECIPES])
def test_it_answers(
    question: str, sql: str, request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    con = request.getfixturevalue("full" if "py." in sql else "plain")
    result = con.sql(sql)
    if sql.startswith("COPY"):
        assert len((tmp_path / "neurons.csv").read_text().splitlines()) > 100
    else:
        assert result.to_arrow_table().num_rows > 0


def test_those_that_need_python_fail_without_it(plain: duckdb.DuckDBPyConnection) -> None:
    needy = [sql for _, sql in RECIPES if "py." in sql]
    assert len(needy) == 5
    for sql in needy:
        with pytest.raises(duckdb.Error):
            plain.sql(sql)
