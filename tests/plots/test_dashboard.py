"""The dashboard does in Vega what it says: counts, layers and the table follow its controls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import polars as pl
import pytest
import vl_convert
from compared_models import WIDTH

from neuronmap_sql.plots.compared import Compared, compared
from neuronmap_sql.plots.dashboard import dashboard_picture
from neuronmap_sql.plots.dashboard_rows import neuron_points, text_data
from neuronmap_sql.plots.picture import drawn
from neuronmap_sql.plots.save import save
from neuronmap_sql.warehouse.connect import connect


@pytest.fixture(scope="module")
def con(compared_warehouse: Path) -> duckdb.DuckDBPyConnection:
    return connect(compared_warehouse, udfs=False)


@pytest.fixture(scope="module")
def among(con: duckdb.DuckDBPyConnection) -> Compared:
    return compared(con, "original")


@pytest.fixture(scope="module")
def spec(con: duckdb.DuckDBPyConnection, among: Compared) -> dict[str, Any]:
    return dict(drawn(dashboard_picture(con, among)).to_dict())


def shown(spec: dict[str, Any], **values: Any) -> list[str]:
    """The texts of the page with its parameters set to values."""
    params = [
        {**param, "value": values[param["name"]]} if param["name"] in values else param
        for param in spec["params"]
    ]
    svg = vl_convert.vegalite_to_svg({**spec, "params": params})
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return [text.text or "" for text in found]


def universal(con: duckdb.DuckDBPyConnection, threshold: float) -> dict[str, int]:
    found = con.sql(
        f"SELECT model, count(*) FILTER (excess > {threshold})"
        " FROM excess_correlation(kind := 'standardised') GROUP BY model"
    )
    return dict(found.fetchall())


@pytest.mark.parametrize("threshold", [0.0, 0.29, 0.58])
def test_the_slider_counts_all_neurons(
    con: duckdb.DuckDBPyConnection, among: Compared, spec: dict[str, Any], threshold: float
) -> None:
    said = [text for text in shown(spec, threshold=threshold) if re.fullmatch(r"\d+ of \d+", text)]
    counts = universal(con, threshold)
    assert said == [f"{counts[model]} of {2 * WIDTH}" for model in among.models]


def test_the_table_lists_the_chosen_model_and_what_the_brush_holds(
    con: duckdb.DuckDBPyConnection, spec: dict[str, Any]
) -> None:
    names = [text for text in shown(spec, chosen="twin") if re.fullmatch(r"\d\.\d+ *", text)]
    best = con.sql(
        "SELECT layer || '.' || neuron FROM excess_correlation(kind := 'standardised')"
        " WHERE model = 'twin' ORDER BY excess DESC LIMIT 1"
    ).fetchall()
    assert best[0][0] in names
    inside = con.sql(
        "SELECT count(*) FROM excess_correlation(kind := 'standardised')"
        " WHERE model = 'original' AND round(max_r, 4) BETWEEN 0.6 AND 1"
        " AND round(baseline, 4) BETWEEN 0 AND 1"
    ).fetchall()[0][0]
    texts = " ".join(shown(spec, brush={"x": [0, 1], "y": [0.6, 1]}))
    assert f"of {inside} selected neurons" in texts
    assert f"of {2 * WIDTH - 1} selected neurons" in " ".join(shown(spec))


def test_points_have_their_partners(con: duckdb.DuckDBPyConnection, among: Compared) -> None:
    rows = neuron_points(con, among)
    assert rows.height == 6 * WIDTH - 1
    partners = rows.row(
        by_predicate=(pl.col("model") == "original") & (pl.col("layer") == 1)
        & (pl.col("neuron") == 3), named=True,
    )["partners"]  # fmt: skip
    assert sorted(re.findall(r"\w+ 1\.\d+", partners)) == [
        f"copy 1.{WIDTH - 4}",
        f"twin 1.{WIDTH - 4}",
    ]


def test_a_model_named_by_a_number_stays_text() -> None:
    data = text_data(pl.DataFrame({"model": ["7", 'a "b", c'], "r": [0.5, None]}))
    assert data.to_dict() == {
        "values": 'model,r\n7,0.5\n"a ""b"", c",\n',
        "format": {"type": "csv", "parse": {"model": "string", "r": "number"}},
    }


def test_the_page_is_small_and_loads_nothing(
    con: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    page = save(drawn(dashboard_picture(con, among)), tmp_path / "a.html")
    text = page.read_text()
    assert page.stat().st_size < 2_000_000
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import""", text)
    assert text.count('"input": "range"') == 1
