"""The page of one neuron: how its values are distributed, and its top tokens in context."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import altair as alt
import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.plots.theme import BLUE, GREY, MONO, RED, data, measured_dataset, styled
from neuronmap_sql.queries.run import run

__all__ = ["neuron_chart"]

_WIDTH = 760
_CONTEXT = 43
_ROW = 19
_MARKED = {0.5: "median", 0.99: "99 %", 0.999: "99.9 %"}


def neuron_chart(
    con: duckdb.DuckDBPyConnection,
    model: str,
    layer: int,
    neuron: int,
    *,
    site: str = "mlp",
    dataset: str | None = None,
    k: int = 20,
) -> alt.VConcatChart:
    """Draw one neuron: a histogram of its activations, and its highest tokens in context.

    The histogram's bars have equal width and a symlog height, since most values lie near zero and
    those that matter do not; rules mark the median, 99 % and 99.9 %. Without kept top tokens the
    page is the histogram.

    Args:
        con: a connection with the warehouse's tables.
        model: value of the column `model`.
        layer: layer index.
        neuron: index of the neuron in its layer.
        site: hooked place.
        dataset: needed if the model was measured on several.
        k: tokens to show.

    Raises:
        UnknownNameError: no statistics of that model, dataset or neuron.
        UsageError: several datasets, and none named.
    """
    chosen = measured_dataset(con, model, site, dataset)
    place = {"model": model, "layer": layer, "neuron": neuron, "site": site, "dataset": chosen}
    bars = run(con, "histogram_of_neuron", **place, bars=60).pl()
    if bars.is_empty():
        raise UnknownNameError(f"no neuron {neuron} in layer {layer} of {model} at {site}")
    quantiles = run(con, "quantiles_of_neuron", **place).pl()
    parts: list[alt.LayerChart] = [_histogram(bars, quantiles)]
    # Where no top activations of the model were kept, the query says so instead of giving none.
    with suppress(UnknownNameError):
        tokens = run(con, "tokens_of_neuron", **place, k=k, context=_CONTEXT).pl()
        parts += [] if tokens.is_empty() else [_concordance(tokens)]
    title = f"{model} · {site} · layer {layer} · neuron {neuron}"
    facts = run(con, "describe_neuron", **place).pl().row(0, named=True)
    return styled(alt.vconcat(*parts, spacing=26), title, _story(facts))


def _story(facts: dict[str, Any]) -> list[str]:
    """Return the lines under the title: where measured, moments and ranks, what it promotes."""
    where = f"{facts['count']:,} tokens of {facts['dataset']}; above zero on "
    lines = [
        f"{where}{facts['fraction_active']:.2%} (rank {facts['sparsity_rank']:,} of "
        f"{facts['neurons']:,} in the layer, 1 = most rarely)"
    ]
    if facts["kurtosis"] is not None:
        lines.append(
            f"mean {facts['mean']:.3g}, standard deviation {facts['standard_deviation']:.3g}, "
            f"skewness {facts['skewness']:.3g}, kurtosis {facts['kurtosis']:.3g} "
            f"(rank {facts['kurtosis_rank']:,}; a Gaussian has 3)"
        )
    for word in ("promoted", "suppressed"):
        if facts[word]:
            lines.append(
                f"{word}:\u2003" + "\u2003".join(shown(token) for token in facts[word][:10])
            )
    return lines


def shown(token: str) -> str:
    """Return a token as one visible word: a space as ·, a line break as ¶, a tab as →."""
    return token.replace(" ", "·").replace("\n", "¶").replace("\r", "¶").replace("\t", "→")


def _histogram(bars: pl.DataFrame, quantiles: pl.DataFrame) -> alt.LayerChart:
    columns = (
        alt.Chart(data(bars.select("bar_from", "bar_to", "count")))
        .mark_rect(color=BLUE, opacity=0.85)
        .encode(
            x=alt.X("bar_from:Q", title="activation", scale=alt.Scale(nice=False)),
            x2="bar_to:Q",
            y=alt.Y("count:Q", title="tokens (symlog)", scale=alt.Scale(type="symlog")).axis(
                values=[0, *(10**power for power in range(10))], format=",d"
            ),
            y2=alt.datum(0),
            tooltip=[
                alt.Tooltip("bar_from:Q", format=".3f", title="from"),
                alt.Tooltip("bar_to:Q", format=".3f", title="to"),
                alt.Tooltip("count:Q", format=",.0f", title="tokens"),
            ],
        )
    )
    marks = _marks(quantiles)
    base = alt.Chart(data(marks)).encode(x="value:Q")
    rules = base.mark_rule(color=RED, strokeDash=[4, 3])
    labels = base.mark_text(color=RED, align="left", dx=4, fontSize=11).encode(
        text="name:N", y=alt.Y("height:Q", scale=None)
    )
    return alt.layer(columns, rules, labels).properties(width=_WIDTH, height=220)


def _marks(quantiles: pl.DataFrame) -> pl.DataFrame:
    """Return the quantiles to mark, with label heights at which close ones do not overlap."""
    values = dict(quantiles.select("fraction", "value").iter_rows())
    reach = (values[1.0] - values[0.0]) or 1.0
    rows: list[dict[str, Any]] = []
    for fraction, name in _MARKED.items():
        close = [row for row in rows if (values[fraction] - row["value"]) / reach * _WIDTH < 60]
        height = min((row["height"] for row in close), default=4) - 12
        rows.append({"name": name, "value": values[fraction], "height": height})
    return pl.DataFrame(rows)


def _concordance(tokens: pl.DataFrame) -> alt.LayerChart:
    """Draw tokens in context: what stands before, the token in its box, what stands after."""
    rows = tokens.select(
        "rank",
        "value",
        "doc_id",
        pl.col("before").str.replace_all(r"\s+", " "),
        pl.col("after").str.replace_all(r"\s+", " "),
        pl.Series("token", [shown(token) for token in tokens["token"]]),
    )
    base = alt.Chart(data(rows)).encode(
        y=alt.Y("rank:O", title=None, axis=None), tooltip=["doc_id:N", "value:Q", "token:N"]
    )
    edge = 52
    half = 62
    middle = edge + (_WIDTH - edge) // 2
    text = {"font": MONO, "fontSize": 11, "baseline": "middle"}
    colour = alt.Color("value:Q", scale=alt.Scale(scheme="blues", domainMin=0), legend=None)
    box = base.mark_bar(height=_ROW - 3, cornerRadius=3).encode(
        x=alt.value(middle - half), x2=alt.value(middle + half), color=colour
    )
    value = base.mark_text(align="right", color=GREY, fontSize=11, baseline="middle").encode(
        x=alt.value(edge - 12), text=alt.Text("value:Q", format=".2f")
    )
    before = base.mark_text(align="right", color="#444444", **text).encode(
        x=alt.value(middle - half - 5), text="before:N"
    )
    after = base.mark_text(
        align="left", color="#444444", limit=middle - edge - half, **text
    ).encode(x=alt.value(middle + half + 5), text="after:N")
    dark = f"datum.value > 0.6 * {max([0.0, *rows['value']])}"
    token = base.mark_text(align="center", fontWeight="bold", limit=2 * half - 6, **text).encode(
        x=alt.value(middle),
        text="token:N",
        color=alt.condition(dark, alt.value("white"), alt.value("black")),
    )
    title = alt.TitleParams(
        f"highest {rows.height} tokens in context", fontSize=13, fontWeight="normal", anchor="start"
    )
    return alt.layer(box, value, before, after, token).properties(
        width=_WIDTH, height=_ROW * rows.height, title=title
    )
