"""The rows that the dashboard holds: counts of all neurons, and some neurons themselves."""

from __future__ import annotations

from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.queries.run import run

__all__ = ["STEP", "neuron_counts", "neuron_points", "text_data"]

STEP = 0.01
"""Step of the slider, and width of the bins that are counted: so the counts are exact."""

_POINTS = 8000


def text_data(rows: pl.DataFrame) -> alt.InlineData:
    """Return rows as data in CSV: half as large, and not copied each time a chart is.

    Vega would guess types, and read a model named 7 as a number: they are told.
    """
    kinds = {
        name: "number" if kind.is_numeric() else "string" for name, kind in rows.schema.items()
    }
    return alt.InlineData(
        values=rows.write_csv(), format=alt.CsvDataFormat(type="csv", parse=kinds)
    )


def neuron_counts(con: duckdb.DuckDBPyConnection, among: Compared) -> pl.DataFrame:
    """Return neurons by model, layer and step of excess; `step` is NULL for those not live.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
    """
    found = run(con, "excess_distribution", **among.given, width=STEP, by_layer=True).pl()
    layers = run(con, "universality_by_layer", **among.given).pl()
    live = found.filter(pl.col("measure") == "excess").select(
        "model", "layer", (pl.col("high") / STEP).round().cast(pl.Int32).alias("step"), "neurons"
    )
    counted = live.group_by("model", "layer").agg(pl.col("neurons").sum().alias("live"))
    rest = layers.join(counted, on=["model", "layer"], how="left").select(
        "model", "layer", pl.lit(None, pl.Int32).alias("step"),
        (pl.col("neurons") - pl.col("live").fill_null(0)).alias("neurons"),
    )  # fmt: skip
    return pl.concat([live, rest.filter(pl.col("neurons") > 0)]).sort("model", "layer", "step")


def neuron_points(con: duckdb.DuckDBPyConnection, among: Compared) -> pl.DataFrame:
    """Return the neurons to draw, rounded, with their partners as text.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
    """
    most = _POINTS // len(among.models)
    rows = run(con, "compared_neurons", **among.given, k=most).pl()
    named = [_partners(partners) for partners in rows["partners"].to_list()]
    return rows.select(
        "model", "layer", "neuron",
        *(pl.col(name).round(4) for name in ("max_r", "baseline", "excess")),
        pl.Series("partners", named, pl.String), "total",
    )  # fmt: skip


def _partners(found: list[dict[str, Any]] | None) -> str:
    return ", ".join(
        f"{one['model']} {one['layer']}.{one['neuron']} ({one['r']:.2f})" for one in found or []
    )
