"""Charts of a real warehouse: what they show, how they are saved, what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import altair as alt
import duckdb
import pytest

from neuronmap_sql.errors import StoreError, UnknownNameError, UsageError
from neuronmap_sql.plots.layers import layers_chart
from neuronmap_sql.plots.neuron import neuron_chart
from neuronmap_sql.plots.overview import overview_chart
from neuronmap_sql.plots.save import FORMATS, save
from neuronmap_sql.plots.theme import measured_dataset
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.schema import create_tables

# What a browser would load over the network.
LOADED = re.compile(
    r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import|import\s*\(?\s*["']http"""
)


@pytest.fixture(scope="module")
def con(demo_warehouse: Path) -> duckdb.DuckDBPyConnection:
    return connect(demo_warehouse, udfs=False)


@pytest.fixture(scope="module")
def model(con: duckdb.DuckDBPyConnection) -> str:
    [(name,)] = con.sql("SELECT model FROM models").fetchall()
    return str(name)


def rows_with(spec: dict[str, Any], column: str) -> Iterator[dict[str, Any]]:
    """All data rows of a chart that have a column."""
    for rows in spec["datasets"].values():
        yield from (row for row in rows if column in row)


def titles(chart: alt.TopLevelMixin) -> str:
    title = chart.to_dict()["title"]
    return "\n".join([title["text"], *title["subtitle"]])


@pytest.fixture(scope="module")
def page(con: duckdb.DuckDBPyConnection, model: str) -> alt.VConcatChart:
    return neuron_chart(con, model, 1, 7)


def test_the_bars_of_a_neuron_hold_every_token(
    con: duckdb.DuckDBPyConnection, model: str, page: alt.VConcatChart
) -> None:
    bars = list(rows_with(page.to_dict(), "bar_from"))
    [(count, least, largest)] = con.sql(
        "SELECT count, min, max FROM neuron_stats WHERE site = 'mlp' AND layer = 1 AND neuron = 7"
    ).fetchall()
    assert sum(bar["count"] for bar in bars) == pytest.approx(count)
    assert bars[0]["bar_from"] == pytest.approx(least)
    assert bars[-1]["bar_to"] == pytest.approx(largest)


def test_a_neuron_page_shows_its_top_tokens_in_their_order(
    con: duckdb.DuckDBPyConnection, model: str, page: alt.VConcatChart
) -> None:
    wanted = con.sql(
        "SELECT value FROM top_activations WHERE site = 'mlp' AND layer = 1 AND neuron = 7"
        " AND side = 'highest' ORDER BY rank"
    ).fetchall()
    shown = {row["rank"]: row["value"] for row in rows_with(page.to_dict(), "before")}
    assert shown == {rank: value for rank, (value,) in enumerate(wanted, start=1)}
    assert f"{model} · mlp · layer 1 · neuron 7" in titles(page)


def test_a_layer_profile_has_a_point_for_every_layer(
    con: duckdb.DuckDBPyConnection, model: str
) -> None:
    chart = layers_chart(con, model)
    points = {(row["layer"], row["rms"]) for row in rows_with(chart.to_dict(), "rms")}
    wanted = con.sql("SELECT layer, rms FROM layer_stats WHERE site = 'mlp'").fetchall()
    assert points == set(wanted)


def test_an_overview_scatters_every_neuron_and_its_shares_sum_to_one(
    con: duckdb.DuckDBPyConnection, model: str
) -> None:
    spec = overview_chart(con, model).to_dict()
    points = {(row["layer"], row["neuron"]) for row in rows_with(spec, "neuron")}
    [(neurons, layers)] = con.sql(
        "SELECT count(*) FILTER (kurtosis IS NOT NULL), count(DISTINCT layer)"
        " FROM neuron_stats WHERE site = 'mlp'"
    ).fetchall()
    assert len(points) == neurons
    assert sum(row["share"] for row in rows_with(spec, "share")) == pytest.approx(4 * layers)


def labels_of(spec: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(row["name"] for row in rows_with(spec, "name")))


@pytest.fixture
def made() -> Iterator[duckdb.DuckDBPyConnection]:
    """Three layers of four neurons, whose most peaked are: 0.0, near it 0.1, far away 2.3, 1.0."""
    with duckdb.connect() as con:
        create_tables(con)
        columns = "'r' AS run, 'm' AS model, 'd' AS dataset, 'mlp' AS site, l AS layer"
        con.execute(
            f"INSERT INTO layer_stats BY NAME SELECT {columns}, 4 AS neurons, 9 AS token_count,"
            " 0 AS dead, 0 AS constant FROM range(3) AS layers(l)"
        )
        con.execute(
            f"INSERT INTO neuron_stats BY NAME SELECT {columns}, n AS neuron, 9 AS count,"
            " 0 AS nonfinite, [] AS hist_bins, [] AS hist_counts, 0 AS quantile_error,"
            " CASE (l, n) WHEN (0, 0) THEN 200 WHEN (0, 1) THEN 190 WHEN (2, 3) THEN 180"
            " WHEN (1, 0) THEN 100 ELSE 3 + 0.1 * (4 * l + n) END AS kurtosis,"
            " CASE (l, n) WHEN (0, 0) THEN 0.01 WHEN (0, 1) THEN 0.012 WHEN (2, 3) THEN 0.065"
            " WHEN (1, 0) THEN 0.012 ELSE 0.5 + 0.03 * n END AS fraction_active"
            " FROM range(3) AS layers(l), range(4) AS neurons(n)"
        )
        yield con


def test_the_most_peaked_are_ringed_listed_and_labelled_where_there_is_room(
    con: duckdb.DuckDBPyConnection, model: str, made: duckdb.DuckDBPyConnection
) -> None:
    chart = overview_chart(made, "m")
    named = labels_of(chart.to_dict())
    assert named[:3] == ["0.0", "2.3", "1.0"], "0.1 lies under the label of 0.0"
    assert "0.0 (200), 0.1 (190), 2.3 (180), 1.0 (100)" in titles(chart)
    real = overview_chart(con, model)
    wanted = con.sql(
        "SELECT layer || '.' || neuron, round(kurtosis, 6) FROM neuron_stats"
        " WHERE site = 'mlp' ORDER BY kurtosis DESC, layer, neuron LIMIT 8"
    ).fetchall()
    assert labels_of(real.to_dict())[0] == wanted[0][0]
    assert set(labels_of(real.to_dict())) <= {name for name, _ in wanted}
    rings = {
        (f"{row['layer']}.{row['neuron']}", round(row["kurtosis"], 6))
        for rows in real.to_dict()["datasets"].values()
        for row in (rows if len(rows) == 8 and "kurtosis" in rows[0] else [])
    }
    assert rings == set(wanted)


def test_the_legend_names_each_layer_once(made: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    drawn = save(overview_chart(made, "m"), tmp_path / "m.svg").read_text()
    svg = ElementTree.fromstring(drawn)
    legend = next(g for g in svg.iter() if g.get("class", "").endswith("role-legend"))
    assert [text.text for text in legend.iter() if text.tag.endswith("text")] == [
        *["0", "1", "2"],
        "layer",
    ]


def test_another_site_is_drawn_without_weights(con: duckdb.DuckDBPyConnection, model: str) -> None:
    spec = overview_chart(con, model, site="resid_post").to_dict()
    assert len(list(rows_with(spec, "neuron"))) > 0
    assert "promoted" not in titles(neuron_chart(con, model, 0, 3, site="resid_post"))


def test_a_neuron_without_kept_top_tokens_is_its_histogram(
    con: duckdb.DuckDBPyConnection, model: str
) -> None:
    with duckdb.connect() as bare:
        create_tables(bare)
        for table in ("models", "layer_stats", "neuron_stats"):
            bare.register("rows", con.sql(f"FROM {table}").to_arrow_table())
            bare.execute(f"INSERT INTO {table} BY NAME FROM rows")
        spec = neuron_chart(bare, model, 1, 7).to_dict()
    assert any(rows_with(spec, "bar_from"))
    assert not any(rows_with(spec, "before"))


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_written(page: alt.VConcatChart, tmp_path: Path, ending: str) -> None:
    path = save(page, tmp_path / "new folder" / f"page{ending.upper()}")
    magic = {
        ".png": b"\x89PNG",
        ".pdf": b"%PDF",
        ".svg": b"<svg",
        ".html": b"<!DOCTYPE",
        ".json": b"{",
    }
    assert path.read_bytes().startswith(magic[ending])
    assert path.stat().st_size > 5_000


def test_a_page_loads_nothing_over_the_network(page: alt.VConcatChart, tmp_path: Path) -> None:
    text = save(page, tmp_path / "page.html").read_text()
    assert not LOADED.search(text)
    assert "vegaEmbed" in text
    # Negative control: a page of Altair's own loads its scripts.
    assert LOADED.search(alt.Chart(alt.InlineData(values=[])).mark_point().to_html())


def test_text_that_looks_like_markup_stays_text(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!--"
    chart = alt.Chart(alt.InlineData(values=[{"t": evil}]), title=evil).mark_text()
    text = save(chart.encode(text="t:N"), tmp_path / "page.html").read_text()
    assert evil not in text
    assert text.count("</script>") == 2
    spec = re.search(r'vegaEmbed\("#chart", (\{.*\}), \{renderer', text)
    assert spec
    assert next(rows_with(json.loads(spec[1]), "t"))["t"] == evil


def test_an_unknown_ending_is_refused(page: alt.VConcatChart, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'page\.gif': end it in \.html, \.json, \.pdf, \.png"):
        save(page, tmp_path / "page.gif")


def test_a_place_that_cannot_be_written_is_a_store_error(
    page: alt.VConcatChart, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        save(page, tmp_path / "file" / "page.json")


def test_unknown_names_are_refused(con: duckdb.DuckDBPyConnection, model: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{model}'"):
        neuron_chart(con, model + "x", 0, 0)
    with pytest.raises(UnknownNameError, match=r"^no site named 'mpl'; did you mean 'mlp'\?"):
        layers_chart(con, model, site="mpl")
    with pytest.raises(UnknownNameError, match=r"^no layer named '99'; known: 0, 1"):
        neuron_chart(con, model, 99, 0)
    with pytest.raises(UnknownNameError, match=r"no neuron 9999 in layer 0 of .* at mlp"):
        neuron_chart(con, model, 0, 9999)
    with pytest.raises(UnknownNameError, match="no dataset named 'none'"):
        layers_chart(con, model, dataset="none")
    with pytest.raises(UsageError, match="name at least one model"):
        layers_chart(con)


def test_one_of_several_datasets_must_be_named() -> None:
    with duckdb.connect() as con:
        create_tables(con)
        for dataset in ("a", "b"):
            con.execute(
                "INSERT INTO layer_stats BY NAME SELECT 'r' AS run, 'm' AS model, ? AS dataset,"
                " 'mlp' AS site, 0 AS layer, 1 AS neurons, 1 AS token_count,"
                " 0 AS dead, 0 AS constant",
                [dataset],
            )
        assert measured_dataset(con, "m", "mlp", "b") == "b"
        with pytest.raises(UsageError, match="measured on a, b: name the dataset"):
            measured_dataset(con, "m", "mlp", None)
