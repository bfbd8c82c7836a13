"""Pictures of a comparison of planted models: what they show, and what they say is missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from compared_models import COPIED, IN_ALL, WIDTH

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.plots.compared import Compared, compared
from neuronmap_sql.plots.excess import excess_picture
from neuronmap_sql.plots.layer_pairs import layer_pairs_picture
from neuronmap_sql.plots.network import network_picture
from neuronmap_sql.plots.network_places import places
from neuronmap_sql.plots.picture import Picture, drawn
from neuronmap_sql.plots.properties import properties_picture
from neuronmap_sql.plots.save import save
from neuronmap_sql.plots.universality import Part, part_named, universality_chart
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.schema import create_tables, table_names
from neuronmap_sql.warehouse.views import create_macros

THRESHOLD = 0.3


@pytest.fixture(scope="module")
def con(compared_warehouse: Path) -> duckdb.DuckDBPyConnection:
    return connect(compared_warehouse, udfs=False)


@pytest.fixture
def changeable(con: duckdb.DuckDBPyConnection) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same rows in tables that a test may change."""
    with duckdb.connect() as other:
        create_tables(other)
        create_macros(other, "macros")
        for table in table_names():
            other.register("rows", con.sql(f"FROM {table}").to_arrow_table())
            other.execute(f"INSERT INTO {table} BY NAME FROM rows")
        yield other


@pytest.fixture(scope="module")
def among(con: duckdb.DuckDBPyConnection) -> Compared:
    return compared(con, "original")


def rows_with(picture: Picture, column: str) -> list[dict[str, Any]]:
    """All data rows of a picture that have a column."""
    found = drawn(picture).to_dict()["datasets"].values()
    return [row for rows in found for row in rows if column in row]


def one(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    [(value,)] = con.sql(sql).fetchall()
    return value


def test_the_comparison_meant_is_found(con: duckdb.DuckDBPyConnection) -> None:
    found = compared(con)
    assert found.models == ("copy", "original", "twin")
    assert (found.model, found.kind, found.site) == ("copy", "standardised", "acts")
    chosen = compared(con, "original", ["twin"], kind="gaussian")
    assert (chosen.models, chosen.partners) == (("original", "twin"), ["twin"])
    assert chosen.kind == "gaussian"


def test_what_was_not_compared_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(
        UnknownNameError, match=r"no model named 'origina'; did you mean 'original'"
    ):
        compared(con, "origina")
    with pytest.raises(UnknownNameError, match=r"'twi'; did you mean 'twin'\? among those that"):
        compared(con, "original", ["twi"])
    with pytest.raises(UnknownNameError, match=r"no baseline named 'orthogonal'; known: gaussian"):
        compared(con, kind="orthogonal")
    with pytest.raises(UnknownNameError, match="no dataset named 'none'"):
        compared(con, dataset="none")


def test_without_a_comparison_or_baselines_the_way_out_is_named(
    changeable: duckdb.DuckDBPyConnection,
) -> None:
    changeable.execute("DELETE FROM neuron_baseline")
    with pytest.raises(UsageError, match=r"no baselines of copy are stored.*neuronmap compare"):
        compared(changeable)
    changeable.execute("DELETE FROM neuron_matches")
    with pytest.raises(UsageError, match=r"no comparison of models .*neuronmap compare"):
        compared(changeable)


def test_one_of_several_datasets_must_be_named(changeable: duckdb.DuckDBPyConnection) -> None:
    for table in ("neuron_matches", "neuron_baseline"):
        changeable.execute(f"INSERT INTO {table} SELECT * REPLACE ('e' AS dataset) FROM {table}")
    with pytest.raises(UsageError, match="were compared on e, text: name the dataset"):
        compared(changeable)
    assert compared(changeable, dataset="e").dataset == "e"


def test_bars_hold_every_live_neuron_and_the_words_their_share(
    con: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    picture = excess_picture(con, among, threshold=THRESHOLD)
    live = 2 * 3 * WIDTH - 1
    bars = [row for row in rows_with(picture, "measure") if row["measure"] != "excess"]
    assert sum(row["neurons"] for row in bars) == 2 * live
    svg = save(drawn(picture), tmp_path / "a.svg").read_text()
    for model in among.models:
        share = one(
            con,
            f"SELECT count(*) FILTER (excess > {THRESHOLD}) / count(*)"
            f" FROM excess_correlation(kind := 'standardised') WHERE model = '{model}'",
        )
        assert f"{share:.2%} above 0.3" in svg


def test_a_bin_is_cut_at_the_threshold(con: duckdb.DuckDBPyConnection, among: Compared) -> None:
    spec = drawn(excess_picture(con, among, threshold=0.25)).to_dict()
    panels = [row["hconcat"][1]["layer"][1] for row in spec["vconcat"][0]["vconcat"]]
    reds = [row for panel in panels for row in spec["datasets"][panel["data"]["name"]]]
    assert min(row["low"] for row in reds) == 0.25
    assert any(row["low"] == pytest.approx(0.24) for row in rows_with_excess(spec))


def rows_with_excess(spec: dict[str, Any]) -> list[dict[str, Any]]:
    found = spec["datasets"].values()
    return [row for rows in found for row in rows if row.get("measure") == "excess"]


@pytest.mark.parametrize("measure", ["mean_max_r", "cka"])
def test_heat_maps_hold_the_pairs_of_layers(
    con: duckdb.DuckDBPyConnection, among: Compared, measure: str
) -> None:
    picture = layer_pairs_picture(con, among, measure=measure)
    cells = {
        (row["layer"], row["partner_layer"], row[measure]) for row in rows_with(picture, measure)
    }
    wanted = con.sql(
        f"SELECT layer, partner_layer, {measure} FROM layer_pairs WHERE model = 'original'"
    )
    assert cells == set(wanted.fetchall())
    spec = drawn(picture).to_dict()
    maps = [one for line in spec["vconcat"][0]["vconcat"] for one in line["hconcat"]]
    scales = [part["layer"][0]["encoding"]["color"]["scale"]["domain"] for part in maps]
    assert len(maps) == 2
    assert scales[0] == scales[1], "one scale of colours for all"


def test_an_unknown_measure_of_layers_is_refused(
    con: duckdb.DuckDBPyConnection, among: Compared
) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cka'"):
        layer_pairs_picture(con, among, measure="ckaa")


def test_properties_say_where_no_statistics_are_stored(
    con: duckdb.DuckDBPyConnection, among: Compared
) -> None:
    picture = properties_picture(con, among)
    assert picture.body is None
    assert "no statistics of original on text are stored: `neuronmap ingest`" in picture.notes[0]


def test_properties_show_both_groups_with_effect_and_p(
    changeable: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    changeable.execute(
        "INSERT INTO neuron_stats BY NAME SELECT 'r' AS run, 'original' AS model,"
        " 'text' AS dataset, 'acts' AS site, l AS layer, n AS neuron, 9 AS count, 0 AS nonfinite,"
        f" CASE WHEN n < {COPIED} THEN 5 ELSE 1 END + n / 100 AS mean"
        f" FROM range(2) AS layers(l), range({WIDTH}) AS neurons(n)"
    )
    picture = properties_picture(changeable, among, threshold=0.2)
    groups = {row["group"]: row["median"] for row in rows_with(picture, "group")}
    assert groups["universal"] > 5
    assert groups["others"] < 2
    svg = save(drawn(picture), tmp_path / "a.svg").read_text()
    assert re.search(r"P 1\.00, p \d(\.\d)?e-\d\d", svg)
    everything = properties_picture(changeable, among, threshold=-1)
    assert everything.notes == ("no neuron has an excess above -1, or all have",)


def test_the_network_marks_what_all_models_share(
    con: duckdb.DuckDBPyConnection, among: Compared
) -> None:
    picture = network_picture(con, among, threshold=0.2)
    lines = rows_with(picture, "pair")
    shared = [line for line in lines if line["group"] == "all models"]
    assert len(shared) == 3 * 2 * IN_ALL, "three lines a set, in both layers"
    ends = {name for line in shared for name in line["pair"].split(" and ")}
    assert ends >= {f"original {layer}.{neuron}" for layer in (0, 1) for neuron in range(IN_ALL)}
    pairs = {line["pair"] for line in lines}
    alone = {f"copy {layer}.{WIDTH - 1 - n} and original {layer}.{n}"
             for layer in (0, 1) for n in range(IN_ALL, COPIED)}  # fmt: skip
    assert len(alone & pairs) > 20
    assert f"{len(ends)} of them in a set that all models share" in picture.notes[1]
    dots = rows_with(picture, "pairs")
    assert all(int(dot["neuron"].split()[1].split(".")[0]) == int(dot["y"]) for dot in dots)


def test_a_network_without_pairs_says_so(con: duckdb.DuckDBPyConnection, among: Compared) -> None:
    picture = network_picture(con, among, threshold=0.99)
    assert picture.notes == ("no pair of mutual partners has an excess above 0.99",)


def test_neurons_stand_so_that_lines_do_not_cross() -> None:
    crossed = [(("a", 0, n), ("b", 0, 9 - n)) for n in range(10)]
    heights = places(crossed, ["a", "b"])
    start = sorted(range(10), key=lambda n: heights["a", 0, n])
    end = sorted(range(10), key=lambda n: heights["b", 0, 9 - n])
    assert start == end
    assert all(0 < height < 1 for height in heights.values())
    assert len(set(heights.values())) == 10


def test_one_page_has_every_picture_or_what_is_missing(
    con: duckdb.DuckDBPyConnection, among: Compared, tmp_path: Path
) -> None:
    svg = save(universality_chart(con, among), tmp_path / "a.svg").read_text()
    texts = " ".join(ElementTree.fromstring(svg).itertext())
    assert "original beside copy and twin" in texts
    for words in ("Largest correlations", "Layers of original", "no statistics", "mutual best"):
        assert words in texts
    alone = universality_chart(con, among, Part.layers).to_dict()
    assert alone["title"]["text"] == "Layers of original and of other models"


def test_an_unknown_part_is_refused() -> None:
    assert part_named("network") is Part.network
    with pytest.raises(UnknownNameError, match="no part named 'networks'; did you mean 'network'"):
        part_named("networks")
