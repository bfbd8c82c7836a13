"""The report on universality: one set of numbers as JSON, as text and as a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest
from compared_models import IN_ALL, WIDTH

from neuronmap_sql.errors import StoreError, UsageError
from neuronmap_sql.plots.compared import Compared, compared
from neuronmap_sql.reports.save import save_universality
from neuronmap_sql.reports.sections import universality_sections
from neuronmap_sql.reports.universality import universality_report
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.schema import create_tables, table_names
from neuronmap_sql.warehouse.views import create_macros

DESCRIBED = Path(__file__).parents[2] / "docs" / "reports.md"


class Cells(HTMLParser):
    """The rows of all tables of a page, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def con(compared_warehouse: Path) -> duckdb.DuckDBPyConnection:
    return connect(compared_warehouse, udfs=False)


@pytest.fixture(scope="module")
def among(con: duckdb.DuckDBPyConnection) -> Compared:
    return compared(con, "original")


@pytest.fixture(scope="module")
def files(
    con: duckdb.DuckDBPyConnection, among: Compared, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The report in its formats, by ending."""
    report = universality_report(con, among, threshold=0.2, k=4)
    folder = tmp_path_factory.mktemp("reports") / "new"
    endings = ("json", "txt", "html")
    return {
        ending: save_universality(report, con, among, folder / f"r.{ending}").read_text()
        for ending in endings
    }


def test_the_numbers_are_those_of_the_tables(
    con: duckdb.DuckDBPyConnection, files: dict[str, str]
) -> None:
    report = json.loads(files["json"])
    [mine] = [
        row for row in report["universality"]
        if (row["model"], row["kind"]) == ("original", "standardised")
    ]  # fmt: skip
    assert (mine["partner_models"], mine["neurons"], mine["dead"]) == (2, 2 * WIDTH, 1)
    excess = con.sql(
        "SELECT excess FROM excess_correlation(kind := 'standardised')"
        " WHERE model = 'original' AND excess IS NOT NULL"
    ).fetchall()
    assert mine["mean_excess"] == pytest.approx(sum(x for (x,) in excess) / len(excess))
    assert [(cut["threshold"], cut["share"]) for cut in mine["shares"]] == [
        (t, sum(x > t for (x,) in excess) / (2 * WIDTH)) for t in (0.2, 0.3, 0.5)
    ]


def test_what_was_planted_is_reported(files: dict[str, str]) -> None:
    report = json.loads(files["json"])
    assert {(row["layer"], row["partner_layer"]) for row in report["corresponding_layers"]} == {
        (0, 0),
        (1, 1),
    }
    found = {(row["layer"], row["neuron"]) for row in report["in_all_models"]}
    assert found >= {(layer, n) for layer in (0, 1) for n in range(IN_ALL)}
    top = [row for row in report["top_neurons"] if row["model"] == "original"]
    assert len(top) == 4
    assert all(one["mutual"] for row in top for one in row["partners"])
    methods = {
        row["method"]: row for row in report["matchings"]
        if (row["model"], row["partner_model"]) == ("original", "copy")
    }  # fmt: skip
    assert methods["best"]["partners"] < methods["best"]["neurons"]
    assert methods["mutual"]["partners"] == methods["mutual"]["neurons"]
    assert set(methods) == {"best", "mutual", "hungarian"}


def test_text_and_page_have_the_numbers_of_the_json(files: dict[str, str]) -> None:
    report = json.loads(files["json"])
    page = Cells()
    page.feed(files["html"])
    lines = [re.split(r"  +", line.strip()) for line in files["txt"].splitlines()]
    for row in report["universality"]:
        wanted = [
            row["model"], row["kind"], str(row["partner_models"]), str(row["neurons"]),
            str(row["dead"]), str(row["overflowing"]), f"{row['mean_max_r']:.3f}",
            f"{row['mean_baseline']:.3f}", f"{row['mean_excess']:.3f}",
            *(f"{cut['share']:.2%}" for cut in row["shares"]),
        ]  # fmt: skip
        assert wanted in page.rows
        assert wanted in lines
    for section in universality_sections(report):
        for cells in section.rows:
            assert list(cells) in page.rows
            assert [cell for cell in cells if cell] in lines
    # Negative control: a number that is in no table.
    assert [*wanted[:-1], "99.99%"] not in [*page.rows, *lines]


def test_the_page_holds_pictures_and_dashboard_and_loads_nothing(files: dict[str, str]) -> None:
    page = files["html"]
    assert len(re.findall(r'<img src="data:image/svg\+xml;base64,', page)) == 3
    assert "no statistics of original on text are stored" in page
    assert 'vegaEmbed("#dashboard"' in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//|@import""", page)
    assert len(page) < 3_000_000


def keys(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}{name}"
            yield from keys(inner, f"{path}{name}.")
    if isinstance(value, list):
        for inner in value:
            yield from keys(inner, path)


def test_every_key_of_the_json_is_described(
    changed: duckdb.DuckDBPyConnection, among: Compared
) -> None:
    report = universality_report(changed, among)
    assert report["properties"], "so that its keys are looked up too"
    described = set(re.findall(r"^\| `([a-z_.0-9]+)`", DESCRIBED.read_text(), re.M))
    assert set(keys(report)) == described


@pytest.fixture
def changed(con: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same rows, with statistics, and a hostile token."""
    with duckdb.connect() as other:
        create_tables(other)
        create_macros(other, "macros")
        for table in table_names():
            other.register("rows", con.sql(f"FROM {table}").to_arrow_table())
            other.execute(f"INSERT INTO {table} BY NAME FROM rows")
        place = "'r' AS run, 'original' AS model, 'text' AS dataset, 'acts' AS site, l AS layer"
        grid = f"range(2) AS layers(l), range({WIDTH}) AS neurons(n)"
        other.execute(
            f"INSERT INTO neuron_stats BY NAME SELECT {place}, n AS neuron, 9 AS count,"
            f" 0 AS nonfinite, n AS mean FROM {grid}"
        )
        other.execute(
            f"INSERT INTO top_activations BY NAME SELECT {place}, n AS neuron, 't' AS tokenizer,"
            " 'highest' AS side, 1 AS rank, 1 AS value, 0 AS tok, 0 AS doc, 0 AS pos,"
            f" '</script><b>' AS token FROM {grid}"
        )
        yield other


def test_tokens_that_look_like_markup_stay_text(
    changed: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    report = universality_report(changed, among, k=2)
    page = save_universality(report, changed, among, tmp_path / "r.html").read_text()
    assert "</script><b>" not in page
    cells = Cells()
    cells.feed(page)
    assert any("</script><b>" in row for row in cells.rows)


def test_other_endings_and_places_are_refused(
    con: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    report = universality_report(con, among)
    with pytest.raises(UsageError, match=r"'r\.pdf': end it in \.html, \.json, \.txt"):
        save_universality(report, con, among, tmp_path / "r.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        save_universality(report, con, among, tmp_path / "file" / "r.txt")
