"""Ingests that keep codes of one byte: what is stored, what is told of it, what can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from brute_force import BruteForce
from demo_recipes import demo_recipe
from known_values import Values, documents, ingested

import neuronmap_sql as nm
from neuronmap_sql.ingest.estimate import estimate
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.connect import connect

WORDS, NEURONS = 300, 4
DOCS = documents(6000, WORDS)
IDS = np.concatenate(DOCS)


def table() -> Values:
    values = np.random.default_rng(4).standard_normal((WORDS, NEURONS)).astype(np.float32)
    values[:, 1] = 2.5
    values[0, 2] = 3e4  # beside it, all others are one code
    values[:, 3] = np.nan
    return values


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    folder = tmp_path_factory.mktemp("codes")
    with ingested(folder, table(), DOCS, keep={"tables": ["int8"]}) as wh:
        yield wh


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    folder = tmp_path_factory.mktemp("beside")
    with ingested(folder, table(), DOCS, keep={"tables": ["int8", "matrices"]}) as wh:
        yield wh


def test_the_run_tells_the_largest_error(codes: nm.Warehouse) -> None:
    (run,) = codes.sql("FROM runs WHERE kind = 'activations'").pl().to_dicts()
    errors = codes.sql(
        "SELECT DISTINCT neuron, rms_error FROM activations_int8 ORDER BY neuron"
    ).fetchall()
    values = table()[IDS, 2].astype(np.float16).astype(np.float64)
    found = codes.matrix("m", 0, site="s")[:, 2].astype(np.float64)
    made = np.sqrt(np.square(found - values).mean()) / values.std()
    assert [error for _, error in errors[1:4:2]] == [0, 0]
    assert run["quantization_error"] == max(error for _, error in errors)
    assert errors[2][1] == pytest.approx(made, rel=1e-2)
    others = codes.sql("SELECT count(quantization_error) FROM runs WHERE kind <> 'activations'")
    assert others.fetchall() == [(0,)]
    assert codes.verify() == []


def test_other_runs_tell_none(tmp_path: Path, demo_model: Path) -> None:
    with nm.create(tmp_path / "wh") as wh:
        recipe = demo_recipe(demo_model, 1, sites={"layers": "0"}, keep={"tables": ["matrices"]})
        done = wh.ingest(recipe, progress=False)
        found = wh.sql("SELECT quantization_error FROM runs WHERE kind = 'activations'")
        assert found.fetchall() == [(None,)]
        same = demo_recipe(
            demo_model, 1, sites={"layers": "0"}, keep={"tables": ["matrices", "int8"]}
        )
        other = wh.ingest(same, progress=False, replace=True)
        assert done.runs["activations"] != other.runs["activations"]


@pytest.mark.parametrize("side", ["highest", "lowest"])
@pytest.mark.parametrize("neuron", [0, 1, 2, 3])
def test_beside_matrices_the_top_is_that_of_float16(
    beside: nm.Warehouse, neuron: int, side: Any
) -> None:
    values = table()[IDS, neuron].astype(np.float16).astype(np.float64)
    sign = -1 if side == "highest" else 1
    order = np.argsort(sign * values, kind="stable")[: 50 if neuron < 3 else 0]
    found = beside.top_values("m", 0, neuron, 50, site="s", side=side)
    assert found["tok"].to_list() == order.tolist()
    assert found["value"].to_list() == values[order].tolist()
    assert set(found["error"]) <= {0.0}


def test_alone_they_say_how_far_off_they_are(codes: nm.Warehouse) -> None:
    found = codes.top_values("m", 0, 0, 50, site="s")
    values = table()[:, 0].astype(np.float16).astype(np.float64)
    step = np.ptp(values) / 254
    assert found["error"].n_unique() == 1
    assert found["error"][0] == pytest.approx(0.5625 * step)
    exact = np.sort(values[IDS])[::-1][:50]
    off = np.abs(found["value"].to_numpy() - exact)
    assert 0 < off.max() <= found["error"][0]
    assert codes.top_values("m", 0, 1, 5, site="s")["error"].to_list() == [0] * 5  # constant


def test_an_estimate_knows_them(demo_model: Path) -> None:
    sizes = [
        estimate(
            demo_recipe(demo_model, 2, sites={"layers": "0"}, keep={"tables": tables}),
            Reporter(show=False),
        )
        for tables in (["int8"], ["activations"], ["int8", "activations"])
    ]
    values = sizes[0].tokens * sizes[0].neurons
    assert sizes[1].disk_bytes - sizes[0].disk_bytes == values
    assert sizes[2].disk_bytes - sizes[1].disk_bytes == values
    assert {size.staging_bytes for size in sizes} == {2 * values}


@pytest.mark.parametrize("place", [("mlp", 1), ("resid_post", 3)])
def test_codes_of_a_trained_model(
    demo_warehouse: Path, oracle: BruteForce, place: tuple[str, int]
) -> None:
    """The numbers that docs/design.md states."""
    values = oracle.values[place].astype(np.float16).astype(np.float64)
    with connect(demo_warehouse) as con:
        here = f"site = '{place[0]}' AND layer = {place[1]}"
        rows = con.sql(
            f"SELECT first_tok, scale, center, rms_error, vals FROM activations_int8 WHERE {here}"
            " ORDER BY neuron, block"
        ).fetchall()
        (told,) = con.sql(
            "SELECT quantization_error FROM runs WHERE kind = 'activations'"
        ).fetchall()[0]
    flat = [
        np.frombuffer(vals, np.int8).astype(np.float64) * scale + center
        for _, scale, center, _, vals in rows
    ]
    found = np.concatenate(flat).reshape(values.shape[1], -1).T
    off = np.sqrt(np.square(found - values).mean(axis=0)) / values.std(axis=0)
    assert off.max() <= told * 1.001 < 0.03
    assert 0.006 < np.median(off) < 0.014
    assert max(error for _, _, _, error, _ in rows) == pytest.approx(off.max(), rel=1e-2)
    (path,) = demo_warehouse.glob(
        f"runs/run=activations-*/activations_int8/*/*/site={place[0]}/layer={place[1]}/0.parquet"
    )
    assert path.stat().st_size / values.size < 1.06
