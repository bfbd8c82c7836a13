"""A query that finds nothing says which name is unknown, or what would have kept its table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from row_fixtures import database

from neuronmap_sql.errors import QueryError, UnknownNameError
from neuronmap_sql.ingest.recipe import TABLES
from neuronmap_sql.queries import unknown
from neuronmap_sql.queries.catalog import load, queries
from neuronmap_sql.queries.run import run
from neuronmap_sql.warehouse.result import Result
from neuronmap_sql.warehouse.schema import table_names

GIVEN = {
    "models": "model | name\ndemo-a | demo-a\ndemo-b | demo-b\nbare | bare",
    "docs": "dataset | doc | source:VARCHAR | kind:VARCHAR\nd | 0 | web | x",
    "tokens": "dataset | tok | doc\nd | 0 | 0",
    "neuron_stats": (
        "model | dataset | site | layer | neuron | fraction_active\n"
        "demo-a | d | mlp | 0 | 0 | 0.5\ndemo-a | d | mlp | 1 | 0 | 0.5\n"
        "demo-a | d | attn | 0 | 0 | 0.5\ndemo-b | e | mlp | 0 | 0 | 0.5"
    ),
    "firings": "model | layer | neuron | tok | value\ndemo-a | 0 | 0 | 0 | 1",
}


def empty(con: duckdb.DuckDBPyConnection, name: str, /, **params: object) -> None:
    assert run(con, name, **params).fetchall() == []


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("dead_neurons", {"model": "demo-c"},
         "no model named 'demo-c'; did you mean 'demo-b' or 'demo-a'? the query model_overview"),
        ("dead_neurons", {"model": "demo-a", "site": "mpl"},
         "no site named 'mpl'; did you mean 'mlp'? looked in neuron_stats of demo-a, which"
         " `--keep stats` writes"),
        ("dead_neurons", {"model": "demo-a", "dataset": "e"},
         "no dataset named 'e'; known: d; looked in neuron_stats of demo-a"),
        ("dead_neurons", {"model": "demo-a", "layer": 7}, "no layer named '7'; known: 0, 1;"),
        ("dead_neurons", {"model": "demo-a", "site": "attn", "layer": 1},
         "no layer named '1'; known: 0;"),
        ("dead_neurons", {"model": "bare"},
         "no neuron_stats of bare are stored: ingest it with `--keep stats`"),
        ("label_means", {"model": "demo-b", "layer": 0, "neuron": 0, "label": "source"},
         "no firings of demo-b are stored: ingest it with `--keep firings`"),
        ("documents_of_neuron", {"model": "demo-a", "layer": 0, "neuron": 0},
         "no vectors of demo-a are stored: ingest it with `--keep vectors`"),
        ("tokens_of_neuron", {"model": "demo-a", "layer": 0, "neuron": 0},
         "no top_activations of demo-a are stored: ingest it with `--keep top`"),
        ("compare_models", {"model_a": "demo-a", "model_b": "demo-x"},
         "no model named 'demo-x'; did you mean"),
        ("compare_models", {"model_a": "demo-x", "model_b": "demo-a"},
         "no model named 'demo-x'; did you mean"),
        ("checkpoint_drift", {"name": "demo"},
         "no model named 'demo'; did you mean"),
        ("label_overview", {"label": "source", "dataset": "dd"},
         "no dataset named 'dd'; did you mean 'd'? looked in docs"),
    ],
)  # fmt: skip
def test_the_name_that_is_not_stored_is_named(
    name: str, params: dict[str, object], message: str
) -> None:
    with database(GIVEN) as con, pytest.raises(UnknownNameError, match="^" + re.escape(message)):
        empty(con, name, **params)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dead_neurons", {"model": "demo-a"}),
        ("dead_neurons", {"model": "demo-a", "site": "mlp", "dataset": "d", "layer": 1}),
        ("describe_neuron", {"model": "demo-a", "layer": 0, "neuron": 99}),
        ("label_means", {"model": "demo-a", "layer": 0, "neuron": 9, "label": "kind"}),
        ("compare_models", {"model_a": "demo-a", "model_b": "demo-b"}),
        ("provenance", {}),
    ],
)
def test_an_empty_answer_about_stored_names_is_an_answer(
    name: str, params: dict[str, object]
) -> None:
    """Weights, which a LEFT JOIN may miss, are no reason either."""
    with database(GIVEN) as con:
        empty(con, name, **params)


@pytest.mark.parametrize(
    "fetch",
    [Result.arrow, Result.pl, Result.df, Result.fetchall, lambda r: r.reader().read_all()],
    ids=["arrow", "pl", "df", "fetchall", "reader"],
)
def test_every_way_to_fetch_tells(fetch: Callable[[Result], Any]) -> None:
    method = getattr(fetch, "__name__", "")
    with database(GIVEN) as con:
        result = run(con, "dead_neurons", model="demo-c")
        with pytest.raises(UnknownNameError, match="no model named 'demo-c'"):
            getattr(result, method)() if hasattr(result, method) else fetch(result)


def test_an_answer_with_rows_asks_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuronmap_sql.queries.run.refuse_unknown_names", None)
    with database(GIVEN) as con:
        assert len(run(con, "neurons_of_model", model="demo-a").pl()) == 2


@pytest.mark.parametrize("name", ["label_overview", "label_means"])
def test_an_unknown_label_names_the_nearest(name: str) -> None:
    params = {"label": "Source", "model": "demo-a", "layer": 0, "neuron": 0}
    wanted = {p.name: params[p.name] for p in load(name).params if p.name in params}
    with database(GIVEN) as con, pytest.raises(UnknownNameError) as caught:
        run(con, name, **wanted)
    assert str(caught.value) == "no label named 'Source'; did you mean 'source'?"


def test_documents_without_labels_say_how_to_keep_some() -> None:
    with database({"docs": "doc\n0"}) as con, pytest.raises(UnknownNameError) as caught:
        run(con, "label_overview", label="source")
    assert str(caught.value) == (
        "no label named 'source'; docs has none: `--labels` of an ingest keeps columns of the data"
    )


def test_what_else_the_engine_refuses_stays_a_query_error() -> None:
    with database(GIVEN) as con:
        con.execute("ALTER TABLE tokens RENAME COLUMN tok TO token_row")
        with pytest.raises(QueryError, match="label_overview") as caught:
            run(con, "label_overview", label="source")
    assert not isinstance(caught.value, UnknownNameError)


def base_tables(node: Any) -> Iterator[str]:
    """Tables in the engine's syntax tree, but for those on the right of a LEFT JOIN."""
    if isinstance(node, list):
        for item in node:
            yield from base_tables(item)
    elif isinstance(node, dict):
        if node.get("type") == "BASE_TABLE":
            yield node["table_name"]
        left = node.get("join_type") == "LEFT"
        yield from base_tables([v for k, v in node.items() if not (left and k == "right")])


@pytest.mark.parametrize("name", list(queries()))
def test_the_tables_that_must_have_rows_are_found_as_the_engine_parses_them(name: str) -> None:
    with database({}) as con:
        [(tree,)] = con.sql("SELECT json_serialize_sql($1)", params=[load(name).sql]).fetchall()
    wanted = set(base_tables(json.loads(tree))) & set(table_names())
    assert set(unknown.needed_tables(load(name).sql)) == wanted


def test_what_keep_calls_the_tables() -> None:
    assert set(unknown.KEPT.values()) == set(TABLES)
    assert set(unknown.KEPT) < set(table_names())
