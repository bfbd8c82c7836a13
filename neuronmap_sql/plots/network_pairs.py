"""The pairs of neurons that a network shows, and how many models agree on each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb

from neuronmap_sql.plots.compared import Compared
from neuronmap_sql.plots.network_places import Neuron
from neuronmap_sql.queries.run import run

__all__ = ["ALL", "ALONE", "SOME", "network_pairs"]

ALL, SOME, ALONE = "all models", "three or more", "this pair only"
"""How many models agree on a pair."""


def network_pairs(
    con: duckdb.DuckDBPyConnection, among: Compared, threshold: float, most: int
) -> list[dict[str, Any]]:
    """Return rows of the query `universal_network`, with keys `from`, `to` and `group` more.

    Args:
        con: a connection with the warehouse's tables.
        among: the comparison.
        threshold: excess correlation of a pair to exceed.
        most: pairs at most.
    """
    place = {"models": list(among.models), "dataset": among.dataset}
    found = run(con, "universal_network", **place, kind=among.kind, threshold=threshold, k=most)
    rows = [_with_ends(row) for row in found.pl().to_dicts()]
    shared = _shared(rows, _sets(con, among), len(among.models))
    return [{**row, "group": _group(row, shared)} for row in rows]


def _with_ends(row: dict[str, Any]) -> dict[str, Any]:
    start = (row["model"], row["layer"], row["neuron"])
    return {**row, "from": start, "to": (row["partner_model"], row["partner_layer"],
                                         row["partner_neuron"])}  # fmt: skip


def _sets(con: duckdb.DuckDBPyConnection, among: Compared) -> dict[Neuron, int]:
    """Return the neurons that every model has, with the number of the set they belong to."""
    place = {"models": list(among.models), "site": among.sites, "dataset": among.dataset}
    members: dict[Neuron, int] = {}
    for number, row in enumerate(run(con, "neurons_in_all_models", **place).pl().to_dicts()):
        members[among.models[0], row["layer"], row["neuron"]] = number
        for partner in row["partner_neurons"]:
            members[partner["model"], partner["layer"], partner["neuron"]] = number
    return members


def _shared(rows: list[dict[str, Any]], sets: dict[Neuron, int], models: int) -> set[Neuron]:
    """Return the neurons of those sets all of whose pairs are above the threshold."""
    pairs = Counter(
        sets[row["from"]] for row in rows
        if row["from"] in sets and sets[row["from"]] == sets.get(row["to"])
    )  # fmt: skip
    wanted = models * (models - 1) // 2
    return {key for key, number in sets.items() if models > 2 and pairs[number] == wanted}


def _group(row: dict[str, Any], shared: set[Neuron]) -> str:
    # A neuron has one mutual partner in each model, so both ends are of one set.
    if row["from"] in shared and row["to"] in shared:
        return ALL
    return SOME if row["agreeing"] else ALONE
