"""The report on universality: its numbers, as they stand in the JSON file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.queries.run import run

__all__ = ["FORMAT", "THRESHOLDS", "universality_report"]

FORMAT = 1
"""Version of the keys: a reader of JSON reports may rely on it."""

THRESHOLDS = (0.2, 0.3, 0.5)
"""Excess correlations whose shares are given."""


def universality_report(
    con: duckdb.DuckDBPyConnection, among: Compared, *, threshold: float = 0.2, k: int = 10
) -> dict[str, Any]:
    """Return the numbers of a comparison; docs/reports.md says what each key holds.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation from which neurons count as universal.
        k: universal neurons listed of each model.
    """
    given = among.given
    every = {**given, "thresholds": list(THRESHOLDS), "kind": None}
    models = [_with_shares(row) for row in _rows(con, "universality_by_model", every)]
    places = {key: given[key] for key in ("models", "site", "dataset")}
    ordered = [among.model, *among.partners]
    return {
        "report": "universality",
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": among.dataset,
        "site": among.site,
        "kind": among.kind,
        "threshold": threshold,
        "compared": among.n,
        "model": among.model,
        "models": list(among.models),
        "runs": list(among.runs),
        "universality": models,
        "layers": _rows(con, "universality_by_layer", {**given, "threshold": threshold}),
        "corresponding_layers": _corresponding(con, among),
        "top_neurons": _rows(con, "top_universal_neurons", {**given, "k": k}),
        "in_all_models": _rows(con, "neurons_in_all_models", {**places, "models": ordered}),
        "matchings": _rows(con, "matching_summary", places),
        "properties": _properties(con, among, threshold),
    }


def _rows(
    con: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of a query, without the dataset, which is one for all."""
    rows: pl.DataFrame = run(con, query, **params).pl()
    return rows.drop("dataset").to_dicts()


def _with_shares(row: dict[str, Any]) -> dict[str, Any]:
    """Return a model's row with the threshold beside each share."""
    pairs: Sequence[tuple[float, float]] = list(zip(THRESHOLDS, row["shares"], strict=True))
    return {**row, "shares": [{"threshold": at, "share": share} for at, share in pairs]}


def _corresponding(con: duckdb.DuckDBPyConnection, among: Compared) -> list[dict[str, Any]]:
    """Return each layer of the model with the layer of each partner that matches it best."""
    place = {"model": among.model, "site": among.site, "dataset": among.dataset}
    found: list[dict[str, Any]] = []
    for partner in among.partners:
        for row in _rows(con, "corresponding_layers", {**place, "partner": partner}):
            if row.pop("best"):
                found.append({"partner_model": partner, **row})
    return found


def _properties(
    con: duckdb.DuckDBPyConnection, among: Compared, threshold: float
) -> list[dict[str, Any]]:
    """Return how universal neurons differ; empty where no statistics of the model are stored."""
    params = {**among.given, "site": among.site, "model": among.model, "threshold": threshold}
    try:
        return _rows(con, "universal_properties", params)
    except UnknownNameError:
        return []
