"""The tables of a report as text cells: what a page and a terminal both show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neuronmap_sql.plots.neuron import shown

__all__ = ["Section", "headline", "universality_sections"]


@dataclass(frozen=True)
class Section:
    """One table, or a sentence in its place."""

    title: str
    """What the rows are."""
    note: str
    """What is counted, and over what."""
    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """Cells, numbers already written out."""
    words: frozenset[int] = frozenset({0})
    """Columns of words, which stand on the left; all others hold numbers."""


def headline(report: dict[str, Any]) -> tuple[str, str]:
    """Return the title of a report on universality, and a line on what was compared."""
    units = "" if report["compared"] is None else f"{report['compared']:,} tokens of "
    return (
        f"Universality of neurons: {', '.join(report['models'])}",
        f"{report['site']}, {units}{report['dataset']}; baseline {report['kind']}; universal:"
        f" excess above {report['threshold']:g}; made {report['created']} from"
        f" {', '.join(report['runs'])}",
    )


def universality_sections(report: dict[str, Any]) -> list[Section]:
    """Return the tables of a report on universality, in their order.

    Args:
        report: of `universality_report`.
    """
    return [
        _models(report),
        _layers(report),
        _corresponding(report),
        _matchings(report),
        _top_neurons(report),
        _in_all(report),
        _properties(report),
    ]


def _models(report: dict[str, Any]) -> Section:
    cuts = [part["threshold"] for part in report["universality"][0]["shares"]]
    heads = ("model", "baseline", "partners", "neurons", "dead", "overflow", "mean max r")
    rows = [
        (
            row["model"], row["kind"], *(_count(row[name]) for name in _COUNTS),
            *(_real(row[name]) for name in ("mean_max_r", "mean_baseline", "mean_excess")),
            *(_percent(part["share"]) for part in row["shares"]),
        )
        for row in report["universality"]
    ]  # fmt: skip
    return Section(
        "Models",
        "Means over partner models, then over live neurons; shares of all neurons whose excess, the"
        " largest correlation less the baseline, is above the number in the heading.",
        (*heads, "baseline r", "excess", *(f"> {cut:g}" for cut in cuts)),
        tuple(rows),
        frozenset({0, 1}),
    )


def _layers(report: dict[str, Any]) -> Section:
    rows = [
        (
            row["model"], str(row["layer"]), _count(row["neurons"]), _real(row["mean_max_r"]),
            _real(row["mean_baseline"]), _real(row["mean_excess"]), _percent(row["share"]),
        )
        for row in _in_order(report, report["layers"])
    ]  # fmt: skip
    return Section(
        "Layers",
        f"Baseline {report['kind']}; the share is of neurons with an excess above"
        f" {report['threshold']:g}.",
        ("model", "layer", "neurons", "mean max r", "baseline r", "excess", "share"),
        tuple(rows),
    )


def _corresponding(report: dict[str, Any]) -> Section:
    rows = [
        (
            row["partner_model"], str(row["layer"]), str(row["partner_layer"]),
            _percent(row["matched_share"]), _percent(row["mutual_share"]),
            _real(row["mean_max_r"]), _real(row["cka"]),
        )
        for row in report["corresponding_layers"]
    ]  # fmt: skip
    return Section(
        f"Best-matched layers of {report['model']}",
        "Each layer with the layer of the partner that holds most of its neurons' best partners."
        if rows
        else "Pairs of layers are not stored.",
        ("partner", "layer", "its layer", "best partners there", "mutual", "mean max r", "CKA"),
        tuple(rows),
    )


def _matchings(report: dict[str, Any]) -> Section:
    rows = [
        (
            row["partner_model"], row["method"], _count(row["neurons"]), _count(row["partners"]),
            _real(row["mean_r"]), _real(row["median_r"]),
        )
        for row in report["matchings"]
        if row["model"] == report["model"]
    ]  # fmt: skip
    return Section(
        f"Matchings of {report['model']}",
        "best: each neuron's best partner in any layer, which several may share; mutual: those"
        " that are each other's best; hungarian: one to one with the best-matched layer, which two"
        " layers may share.",
        ("partner", "method", "neurons", "partners", "mean r", "median r"),
        tuple(rows),
        frozenset({0, 1}),
    )


def _top_neurons(report: dict[str, Any]) -> Section:
    rows = [
        (
            row["model"], f"{row['layer']}.{row['neuron']}", _real(row["max_r"]),
            _real(row["baseline"]), _real(row["excess"]), _partners(row["partners"] or []),
            _tokens(row["tokens"]),
        )
        for row in _in_order(report, report["top_neurons"])
    ]  # fmt: skip
    return Section(
        "Most universal neurons",
        "Neurons as layer.neuron; the best partner in each other model with the correlation, ="
        " where each is the other's best; tokens of the highest activations.",
        ("model", "neuron", "max r", "baseline", "excess", "partners", "top tokens"),
        tuple(rows),
        frozenset({0, 5, 6}),
    )


def _in_all(report: dict[str, Any]) -> Section:
    found = report["in_all_models"]
    rows = [
        (
            f"{row['layer']}.{row['neuron']}",
            _real(row["least_r"]),
            _partners(row["partner_neurons"]),
        )
        for row in found[:_LISTED]
    ]
    first = report["model"]
    return Section(
        "Neurons in all models",
        f"{len(found):,} neurons of {first} have a partner in every other model, each of them the"
        " other's best, pair by pair, at any correlation"
        + (f"; the {_LISTED} with the largest least correlation:" if len(found) > _LISTED else "."),
        (f"neuron of {first}", "least r", "partners"),
        tuple(rows),
        frozenset({2}),
    )


def _properties(report: dict[str, Any]) -> Section:
    found = report["properties"]
    rows = [
        (
            row["measure"], _digits(row["universal_median"]), _digits(row["other_median"]),
            _real(row["cohens_d"]), _real(row["chance_larger"]), _digits(row["p_corrected"]),
        )
        for row in found
    ]  # fmt: skip
    note = "None: statistics of the model are not stored, or no neuron is universal, or all are."
    if found:
        note = (
            f"{found[0]['universal']:,} neurons above {report['threshold']:g} and"
            f" {found[0]['others']:,} others: medians, Cohen's d, the chance that a universal"
            " neuron has the larger value, and p of the Mann-Whitney test corrected for all rows."
        )
    return Section(
        f"Statistics of the universal neurons of {report['model']}",
        note,
        ("statistic", "universal", "others", "d", "P(larger)", "p"),
        tuple(rows),
    )


_COUNTS = ("partner_models", "neurons", "dead", "overflowing")
_LISTED = 20
"""Neurons in all models that a page lists; the JSON has all."""


def _in_order(report: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order of the models, checkpoints as they were trained."""
    return sorted(rows, key=lambda row: report["models"].index(row["model"]))


def _partners(found: Sequence[dict[str, Any]]) -> str:
    return ", ".join(
        f"{one['model']} {one['layer']}.{one['neuron']}"
        f" {'=' if one.get('mutual') else ''}{one['r']:.2f}"
        for one in found
    )


def _tokens(tokens: Sequence[str] | None) -> str:
    return "(not stored)" if tokens is None else " ".join(shown(token) for token in tokens)


def _count(value: int) -> str:
    return f"{value:,}"


def _real(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
