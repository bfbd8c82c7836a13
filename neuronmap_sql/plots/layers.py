"""The profile of a model's layers: one small panel a measure, several models side by side."""

from __future__ import annotations

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.errors import UsageError
from neuronmap_sql.plots.theme import data, measured_dataset, panel_title, styled
from neuronmap_sql.queries.run import run

__all__ = ["layers_chart"]

_PANELS = {
    "fraction_active": ("values above zero", "~%"),
    "rms": ("root mean square", "~r"),
    "mean_kurtosis": ("mean kurtosis (Gaussian: 3)", "~r"),
    "mean_skewness": ("mean skewness", "~r"),
    "max": ("largest value", "~r"),
    "dead_fraction": ("neurons never above zero", "~%"),
}
_COLUMNS = 3


def layers_chart(
    con: duckdb.DuckDBPyConnection,
    *models: str,
    site: str = "mlp",
    dataset: str | None = None,
) -> alt.VConcatChart:
    """Draw the statistics of layers against depth, one line a model.

    Args:
        con: a connection with the warehouse's tables.
        models: one or more values of the column `model`, in the order of the legend.
        site: hooked place.
        dataset: needed if a model was measured on several.

    Raises:
        UnknownNameError: no statistics of a model at that site.
        UsageError: no model, or several datasets and none named.
    """
    if not models:
        raise UsageError("name at least one model to draw")
    frames = []
    chosen = dataset
    for model in models:
        chosen = measured_dataset(con, model, site, chosen)
        profile = run(con, "layer_profile", model=model, site=site, dataset=chosen).pl()
        frames.append(profile.with_columns(pl.lit(model).alias("model")))
    rows = pl.concat(frames).with_columns(
        (pl.col("dead") / pl.col("neurons")).alias("dead_fraction")
    )
    panels = [_panel(rows, name, list(models)) for name in _PANELS]
    lines = [
        alt.hconcat(*panels[at : at + _COLUMNS], spacing=34)
        for at in range(0, len(panels), _COLUMNS)
    ]
    subtitle = f"{max(rows['token_count']):,} tokens of {chosen}, {site}, all neurons of each layer"
    title = f"Layer profile of {models[0] if len(models) == 1 else f'{len(models)} models'}"
    return styled(alt.vconcat(*lines, spacing=26), title, [subtitle])


def _panel(rows: pl.DataFrame, name: str, models: list[str]) -> alt.Chart:
    title, form = _PANELS[name]
    depth = max(rows["layer"])
    step = max(1, -(-(depth + 1) // 12))
    axis = panel_title(title)
    axis.format, axis.tickCount = form, 5
    legend = alt.Legend(title=None, orient="bottom", labelLimit=400) if len(models) > 1 else None
    return (
        alt.Chart(data(rows.select("model", "layer", name)))
        .mark_line(point=alt.OverlayMarkDef(size=40), strokeWidth=2)
        .encode(
            x=alt.X("layer:Q", title="layer", scale=alt.Scale(nice=False, padding=8)).axis(
                values=list(range(0, depth + 1, step)), format="d", grid=False
            ),
            y=alt.Y(f"{name}:Q", scale=_scale(rows, name), axis=axis),
            color=alt.Color("model:N", sort=models, legend=legend),
            tooltip=["model:N", "layer:Q", alt.Tooltip(f"{name}:Q", format=".4g")],
        )
        .properties(width=230, height=150)
    )


def _scale(rows: pl.DataFrame, name: str) -> alt.Scale:
    """Return a scale from zero; where all is zero it still has a height."""
    return alt.Scale() if any(rows[name]) else alt.Scale(domain=[0, 0.1])
