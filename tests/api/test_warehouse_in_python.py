"""The warehouse in Python, against DuckDB and numpy on the files themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
import torch

import neuronmap_sql as nm


@pytest.fixture(scope="module")
def wh(demo_warehouse: Path) -> nm.Warehouse:
    return nm.open(demo_warehouse)


def rows_of(root: Path, table: str, sql: str) -> list[tuple[object, ...]]:
    """Ask DuckDB alone, over a table's files, called `t`."""
    with duckdb.connect() as con:
        con.sql(f"CREATE VIEW t AS FROM read_parquet('{root}/runs/*/{table}/**/*.parquet')")
        return con.sql(sql).fetchall()


def test_sql_in_every_form(wh: nm.Warehouse, demo_warehouse: Path) -> None:
    asked = (
        "SELECT layer, neuron, mean FROM {} WHERE site = 'mlp'"
        " ORDER BY kurtosis DESC, layer, neuron LIMIT 9"
    )
    expected = rows_of(demo_warehouse, "neuron_stats", asked.format("t"))
    assert len(expected) == 9
    found = asked.format("neuron_stats")
    assert wh.sql(found).pl().rows() == expected
    assert wh.sql(found).fetchall() == expected
    assert [tuple(row.values()) for row in wh.sql(found).arrow().to_pylist()] == expected
    assert list(wh.sql(found).df().itertuples(index=False, name=None)) == expected
    batches = wh.sql(found).reader(4)
    assert [tuple(row.values()) for batch in batches for row in batch.to_pylist()] == expected
    assert wh.sql(found).columns == ["layer", "neuron", "mean"]


def test_sql_parameters_by_name_and_by_place(wh: nm.Warehouse, demo_warehouse: Path) -> None:
    expected = rows_of(
        demo_warehouse, "neuron_stats", "SELECT count(*) FROM t WHERE layer = 2 AND mean > 0.01"
    )
    by_name = wh.sql(
        "SELECT count(*) FROM neuron_stats WHERE layer = $l AND mean > $m", {"l": 2, "m": 0.01}
    )
    by_place = wh.sql("SELECT count(*) FROM neuron_stats WHERE layer = ? AND mean > ?", [2, 0.01])
    assert by_name.fetchall() == by_place.fetchall() == expected
    assert 0 < int(str(expected[0][0])) < 640


def test_sql_errors_are_ours(wh: nm.Warehouse) -> None:
    with pytest.raises(nm.QueryError, match="did you mean 'neuron_stats'"):
        wh.sql("FROM neuron_stat")
    with pytest.raises(nm.QueryError):
        wh.sql("SELECT 'x'::INTEGER").fetchall()


def test_query(wh: nm.Warehouse, demo_model: Path) -> None:
    found = wh.query("layer_profile", model=demo_model.name).pl()
    assert sorted(set(found["layer"])) == [0, 1, 2, 3]
    with pytest.raises(nm.UnknownNameError, match="did you mean 'layer_profile'"):
        wh.query("layer_profil")
    with pytest.raises(nm.UsageError, match="did you mean 'model'"):
        wh.query("layer_profile", modle="a")


def test_tables_are_lazy_frames_over_the_files(wh: nm.Warehouse, demo_warehouse: Path) -> None:
    assert "neuron_stats" in wh.tables()
    for name in wh.tables():
        frame = wh.table(name)
        assert isinstance(frame, pl.LazyFrame)
        (expected,) = rows_of(demo_warehouse, name, "SELECT count(*) FROM t")
        assert frame.select(pl.len()).collect().item() == expected[0], name
        assert wh.sql(f"SELECT count(*) FROM {name}").fetchall() == [expected], name
    with pytest.raises(nm.UnknownNameError, match="neuron_stats"):
        wh.table("neuron_stat")


def test_matrix_agrees_with_the_statistics(wh: nm.Warehouse, demo_model: Path) -> None:
    values = wh.matrix(demo_model.name, 2)
    tokens = wh.table("tokens").select(pl.len()).collect().item()
    assert (values.shape, values.dtype) == ((tokens, 512), np.float16)
    stats = wh.sql(
        "SELECT mean, max, fraction_active FROM neuron_stats"
        " WHERE site = 'mlp' AND layer = 2 ORDER BY neuron"
    ).pl()
    exact = values.astype(np.float64)
    # float16 rounds each value by 2^-11 of its size at most.
    bound = 2**-11 * np.abs(exact).mean(axis=0) + 1e-7
    assert np.all(np.abs(exact.mean(axis=0) - stats["mean"].to_numpy()) <= bound)
    assert np.allclose(exact.max(axis=0), stats["max"].to_numpy(), rtol=2**-10, atol=1e-6)
    active = (exact > 0).mean(axis=0)
    assert np.allclose(active, stats["fraction_active"].to_numpy(), atol=2 / tokens)


def test_matrix_rows_are_tokens(wh: nm.Warehouse, demo_model: Path) -> None:
    values = wh.matrix(demo_model.name, 1, site="resid_post")
    assert values.shape[1] == 128
    top = wh.sql(
        "SELECT tok, value FROM top_activations WHERE site = 'resid_post' AND layer = 1"
        " AND neuron = 5 AND side = 'highest' ORDER BY rank"
    ).pl()
    assert np.allclose(values[top["tok"].to_numpy(), 5], top["value"].to_numpy(), rtol=2**-10)


def test_matrix_as_torch_shares_its_numbers(wh: nm.Warehouse, demo_model: Path) -> None:
    found = wh.matrix(demo_model.name, 0, kind="torch")
    assert (type(found), found.dtype) == (torch.Tensor, torch.float16)
    assert np.array_equal(found.numpy(), wh.matrix(demo_model.name, 0), equal_nan=True)


def test_matrix_errors_name_the_way_out(wh: nm.Warehouse, demo_model: Path) -> None:
    with pytest.raises(nm.UnknownNameError, match=r"demo-x.*activations"):
        wh.matrix("demo-x", 0)
    with pytest.raises(nm.UnknownNameError, match="layer 9"):
        wh.matrix(demo_model.name, 9)
    with pytest.raises(nm.UnknownNameError, match="'mpl'"):
        wh.matrix(demo_model.name, 0, site="mpl")


@pytest.mark.parametrize("side", ["highest", "lowest"])
def test_top_is_the_sorted_matrix(wh: nm.Warehouse, demo_model: Path, side: str) -> None:
    found = wh.top(demo_model.name, 2, 7, k=6, side=side)  # type: ignore[arg-type]
    assert found["rank"].to_list() == [1, 2, 3, 4, 5, 6]
    column = wh.matrix(demo_model.name, 2)[:, 7].astype(np.float64)
    expected = np.sort(column)[::-1][:6] if side == "highest" else np.sort(column)[:6]
    assert np.allclose(found["value"].to_numpy(), expected, rtol=2**-10, atol=1e-6)
    texts = dict(wh.sql("SELECT doc, text FROM docs").fetchall())
    for row in found.iter_rows(named=True):
        before, _, rest = row["context"].partition("[[")
        plain = before + rest.replace("]]", "", 1)
        assert plain in texts[row["doc"]].replace("\n", " ")
    named = wh.top(demo_model.name, 2, 7, k=6, side=side, dataset="text")  # type: ignore[arg-type]
    assert named.equals(found)


def test_top_errors_name_the_way_out(wh: nm.Warehouse, demo_model: Path) -> None:
    with pytest.raises(
        nm.UnknownNameError, match=f"stored model named 'demo-x'.*{demo_model.name}"
    ):
        wh.top("demo-x", 0, 0)
    with pytest.raises(nm.UnknownNameError, match="mlp 0/9999"):
        wh.top(demo_model.name, 0, 9999)
    with pytest.raises(nm.QueryError, match="highest or lowest"):
        wh.top(demo_model.name, 0, 0, side="both")  # type: ignore[arg-type]


def test_open_and_create(tmp_path: Path, demo_warehouse: Path) -> None:
    with pytest.raises(nm.StoreError, match="neuronmap init"):
        nm.open(tmp_path / "none")
    with nm.create(tmp_path / "new") as made:
        assert repr(made).endswith("0 runs)")
        assert made.sql("SELECT count(*) FROM neuron_stats").fetchall() == [(0,)]
    assert nm.open(tmp_path / "new").path == tmp_path / "new"
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(nm.UsageError, match="not empty"):
        nm.create(tmp_path)
    assert "5 runs" in repr(nm.open(demo_warehouse))


def test_a_closed_warehouse_opens_again(demo_warehouse: Path) -> None:
    with nm.open(demo_warehouse) as wh:
        held = wh.connection
        assert wh.connection is held
    assert wh.connection is not held
    assert wh.sql("SELECT 42").fetchall() == [(42,)]
    wh.close()


def test_threads_ask_at_once(demo_warehouse: Path, demo_model: Path) -> None:
    """Each thread has a connection; what one sets up for itself stays with it."""
    with nm.open(demo_warehouse) as wh:
        expected = [wh.top(demo_model.name, 1, n, k=3).rows() for n in range(40)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda n: wh.top(demo_model.name, 1, n, k=3).rows(), range(40)))
        assert found == expected
        wh.sql("SET VARIABLE mine = 7")
        assert wh.sql("SELECT getvariable('mine')").fetchall() == [(7,)]
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(
                lambda: (wh.connection, wh.sql("SELECT getvariable('mine')").fetchall())
            )
            assert other.result()[0] is not wh.connection
            assert other.result()[1] == [(None,)]


def test_ingest_in_python(tmp_path: Path, demo_model: Path) -> None:
    """A recipe file with overrides; a second time nothing is made; new label columns show."""
    (tmp_path / "text.jsonl").write_text('{"text": "one small step", "mood": "high"}\n')
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[model]\nsource = "{demo_model}"\n[data]\npath = "text.jsonl"\nlabels = ["mood"]\n'
    )
    with nm.create(tmp_path / "wh") as wh:
        before = wh.sql("FROM docs").columns
        done = wh.ingest(
            recipe, overrides={"keep.tables": ["stats"], "model.name": "m"}, progress=False
        )
        assert set(done.made) == set(done.runs.values()) == set(wh.store.run_ids())
        assert wh.sql("SELECT DISTINCT model FROM neuron_stats").fetchall() == [("m",)]
        assert wh.sql("SELECT mood FROM docs").fetchall() == [("high",)]
        assert "mood" not in before
        again = wh.ingest(
            recipe, overrides={"keep.tables": ["stats"], "model.name": "m"}, progress=False
        )
        assert (again.made, again.runs) == ((), done.runs)
        with pytest.raises(nm.RecipeError, match=r"recipe\.toml: unknown key 'modle'"):
            wh.ingest(recipe, overrides={"modle.name": "m"})
