"""Rows of `label_scores` and `class_means`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from neuronmap_sql.analysis.label_pass import Scored

__all__ = ["adjusted", "mean_rows", "score_rows"]

Columns = dict[str, Any]
Floats = NDArray[np.float64]


def score_rows(scored: Scored, keys: dict[str, Any], least: int) -> pa.Table:
    """Return rows of `label_scores`, one a neuron, without `p_adjusted` and `run`.

    Args:
        scored: scores of some neurons.
        keys: model, dataset, tokenizer, site and layer.
        least: tokens that the best and the top class have at least.
    """
    found, counts = scored.reduction, _counts(scored)
    some = counts >= least
    best = _best(scored, np.where(some, found.of_class, np.nan))
    top = _largest(np.where(some, found.mean, np.nan))
    return pa.table(
        _keys(scored, keys, np.arange(len(found.count)))
        | {
            "n": found.count,
            "classes": found.classes.astype(np.int32),
            "variance_reduction": _nullable(found.reduction),
            "adjusted_reduction": _nullable(found.adjusted),
            "p": _nullable(scored.p),
        }
        | _named("best", scored, best, {"reduction": found.of_class,
                                        "difference": found.difference})
        | _named("top", scored, top, {"mean": found.mean + scored.shift})
        | {"mutual_information": _nullable(
            np.full(len(found.count), np.nan) if scored.information is None
            else scored.information
        )}
    )  # fmt: skip


def mean_rows(scored: Scored, keys: dict[str, Any], least: int, most: int) -> pa.Table:
    """Return rows of `class_means` without `run`, by neuron and rank.

    Args:
        scored: scores of some neurons.
        keys: model, dataset, tokenizer, site and layer.
        least: tokens that a class has at least.
        most: classes kept of a neuron.
    """
    found, counts = scored.reduction, _counts(scored)
    # A class that has all tokens explains nothing, and is still one.
    explains = np.where(counts >= least, np.nan_to_num(found.of_class), -1.0)
    order = _first(explains, most)
    neuron, rank = np.nonzero(np.take_along_axis(explains, order, axis=0).T >= 0)
    at = order[rank, neuron], neuron
    return pa.table(
        _keys(scored, keys, neuron)
        | {
            "rank": (rank + 1).astype(np.int32),
            "class": scored.label.classes.take(pa.array(at[0])),
            "count": counts[at],
            "mean": found.mean[at] + scored.shift[neuron],
            "difference": _nullable(found.difference[at]),
            "reduction": _nullable(found.of_class[at]),
        }
    )


def adjusted(scores: pa.Table) -> pa.Table:
    """Return the rows with `p_adjusted`: p after Benjamini and Hochberg, over all of them."""
    p = scores["p"].combine_chunks().to_numpy(zero_copy_only=False)
    found, some = np.full(len(p), np.nan), ~np.isnan(p)
    if some.any():
        found[some] = false_discovery_control(p[some], method="bh")
    return scores.append_column("p_adjusted", _nullable(found))


def _best(scored: Scored, explains: Floats) -> NDArray[np.int64]:
    """Return the class that explains most; two explain the same, and the later is named."""
    found = _largest(explains)
    if len(scored.label.classes) == 2:
        found = np.where(found >= 0, 1, found)
    return found


def _largest(values: Floats) -> NDArray[np.int64]:
    """Return the row of the largest value of each column, the first of several; -1 without any."""
    some = ~np.isnan(values)
    return np.where(some.any(axis=0), np.where(some, values, -np.inf).argmax(axis=0), -1)


def _first(values: Floats, most: int) -> NDArray[np.int64]:
    """Return the rows of the largest values of each column, largest first, ties in order."""
    rows = np.arange(len(values))[:, None]
    if len(values) > most:
        few = np.sort(np.argpartition(-values, most - 1, axis=0)[:most], axis=0)
    else:
        few = np.broadcast_to(rows, values.shape)
    order = np.argsort(-np.take_along_axis(values, few, axis=0), axis=0, kind="stable")
    return np.take_along_axis(few, order, axis=0)


def _named(what: str, scored: Scored, at: NDArray[np.int64], told: dict[str, Floats]) -> Columns:
    """Return class, count and more of one class a neuron, NULL where it is -1."""
    none, neuron = at < 0, np.arange(len(at))
    place = np.maximum(at, 0), neuron
    columns = {
        f"{what}_class": scored.label.classes.take(pa.array(at, mask=none)),
        f"{what}_count": pa.array(_counts(scored)[place], mask=none),
    }
    for name, values in told.items():
        columns[f"{what}_{name}"] = _nullable(np.where(none, np.nan, values[place]))
    return columns


def _counts(scored: Scored) -> NDArray[np.int64]:
    return np.broadcast_to(scored.counts, scored.reduction.mean.shape)


def _keys(scored: Scored, keys: dict[str, Any], neuron: NDArray[np.int64]) -> Columns:
    told = keys | {"label": scored.label.name}
    columns: Columns = {name: pa.repeat(value, len(neuron)) for name, value in told.items()}
    columns["layer"] = pa.repeat(pa.scalar(keys["layer"], pa.int32()), len(neuron))
    columns["lag"] = pa.repeat(pa.scalar(scored.label.lag, pa.int32()), len(neuron))
    return columns | {"neuron": (scored.first + neuron).astype(np.int32)}


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
