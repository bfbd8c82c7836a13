"""Rows of the statistics tables, from what the reducers found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from neuronmap_sql.ingest.extraction.quantiles import quantiles
from neuronmap_sql.ingest.extraction.reducers import Reduced
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.settings import KeepSettings
from neuronmap_sql.numerics.bins import HALF

__all__ = [
    "LEVELS",
    "Place",
    "layer_stats",
    "neuron_stats",
    "nullable",
    "sample_rows",
    "site_rows",
    "top_rows",
    "vector_rows",
]

LEVELS = (1, 10, 50, 250, 500, 750, 950, 990, 999)
"""Quantiles of `neuron_stats`, in per mille."""


@dataclass(frozen=True)
class Place:
    """The key columns that all rows of a hook share."""

    model: str
    """Model."""
    dataset: str
    """Dataset."""
    tokenizer: str
    """Tokenizer."""
    site: str
    """Site."""
    layer: int
    """Layer."""

    def columns(self, rows: int, *, tokenizer: bool = True) -> dict[str, pa.Array]:
        """Return the key columns, `rows` long."""
        keys = {k: v for k, v in vars(self).items() if tokenizer or k != "tokenizer"}
        kinds = {"layer": pa.int32()}
        return {
            k: pa.repeat(pa.scalar(v, kinds.get(k, pa.string())), rows) for k, v in keys.items()
        }


def nullable(values: npt.NDArray[np.generic]) -> pa.Array:
    """Return an Arrow array with NULL for what is not finite."""
    return pa.array(values, mask=~np.isfinite(values))


def neuron_stats(place: Place, found: Reduced) -> pa.Table:
    """One row a neuron of `neuron_stats`."""
    neurons = len(found.count)
    low, high = found.lowest[0][:, 0], found.highest[0][:, 0]
    levels, error = quantiles(found, np.array(LEVELS) / 1000)
    bins, counts = _sparse(found.histogram)
    moments = {name: nullable(values) for name, values in vars(found.moments).items()}
    return pa.table(
        {
            **place.columns(neurons, tokenizer=False),
            "neuron": np.arange(neurons, dtype=np.int32),
            "count": found.count,
            "nonfinite": found.nonfinite,
            **moments,
            "min": _value_or_null(low, found.lowest[1][:, 0]),
            "max": _value_or_null(high, found.highest[1][:, 0]),
            "fraction_active": nullable(_above_zero(found) / _some(found.count)),
            **{
                f"q{level:03d}": nullable(levels[:, at].astype(np.float32))
                for at, level in enumerate(LEVELS)
            },
            "quantile_error": nullable(np.where(found.count > 0, error, np.nan).astype(np.float32)),
            "hist_bins": bins,
            "hist_counts": counts,
        }
    )


def layer_stats(place: Place, found: Reduced) -> pa.Table:
    """The one row of `layer_stats`."""
    n, m = found.count.sum(), found.moments
    weight = found.count / max(n, 1)
    mean = float(np.nansum(weight * m.mean)) if n else np.nan
    square = float(np.nansum(weight * (m.variance + m.mean**2))) if n else np.nan
    low = found.lowest[0][:, 0][found.lowest[1][:, 0] >= 0]
    high = found.highest[0][:, 0][found.highest[1][:, 0] >= 0]

    def average(values: npt.NDArray[np.float64]) -> float:
        finite = values[np.isfinite(values)]
        return float(finite.mean()) if len(finite) else np.nan

    numbers = {
        "mean": mean,
        "variance": square - mean**2,
        "rms": np.sqrt(square),
        "min": low.min() if len(low) else np.nan,
        "max": high.max() if len(high) else np.nan,
        "fraction_active": _above_zero(found).sum() / n if n else np.nan,
        "mean_skewness": average(m.skewness),
        "mean_kurtosis": average(m.kurtosis),
    }
    return pa.table(
        {
            **place.columns(1, tokenizer=False),
            "neurons": [len(found.count)],
            "token_count": [int((found.count + found.nonfinite).max())],
            **{name: nullable(np.array([value])) for name, value in numbers.items()},
            "dead": [int((_above_zero(found) == 0).sum())],
            "constant": [int((m.variance == 0).sum())],
        }
    )


def top_rows(place: Place, found: Reduced, tokens: pa.Table) -> pa.Table:
    """Rows of `top_activations`, by neuron, side and rank."""
    sides = []
    for side, (value, tok) in (("highest", found.highest), ("lowest", found.lowest)):
        neurons, k = value.shape
        columns = {
            "neuron": np.repeat(np.arange(neurons, dtype=np.int32), k),
            "side": pa.repeat(side, neurons * k),
            "rank": np.tile(np.arange(1, k + 1, dtype=np.int32), neurons),
        }
        sides.append(_with_tokens(place, columns, value, tok, tokens))
    return pa.concat_tables(sides).sort_by(
        [(key, "ascending") for key in ("neuron", "side", "rank")]
    )


def sample_rows(
    place: Place,
    found: Reduced,
    sample_tok: npt.NDArray[np.int64],
    tokens: pa.Table,
    keep: KeepSettings,
    seed: int,
) -> pa.Table:
    """Rows of `activation_samples`: random tokens from equal shares of each neuron's values."""
    sampled, neurons = found.sample.shape
    bounds = np.linspace(0, sampled, keep.sample_bins + 1).astype(np.int64)
    random = np.random.default_rng((seed, place.layer))
    picks = [
        np.sort(random.permutation(np.arange(low, high))[: keep.samples_per_bin])
        for low, high in pairwise(bounds.tolist())
    ]
    sizes = [len(pick) for pick in picks]
    # NaN sort last: a neuron with some of them spreads its ranks over the finite values.
    finite = np.isfinite(found.sample).sum(axis=0)
    ranks = np.concatenate(picks)[None, :] * finite[:, None] // max(sampled, 1)
    at = np.take_along_axis(_ascending(found.sample.T), ranks, axis=1)
    value = np.take_along_axis(found.sample.T, at, axis=1)
    columns: dict[str, object] = {
        "neuron": np.repeat(np.arange(neurons, dtype=np.int32), at.shape[1]),
        "bin": np.tile(np.repeat(np.arange(keep.sample_bins), sizes), neurons).astype(np.int32),
        "rank": np.tile(np.concatenate([np.arange(n) + 1 for n in sizes]), neurons).astype(
            np.int32
        ),
    }
    tok = np.where(np.isfinite(value), sample_tok[at], -1)
    return _with_tokens(place, columns, value, tok, tokens)


def vector_rows(
    place: Place,
    first_doc: int,
    count: npt.NDArray[np.int64],
    pools: dict[str, npt.NDArray[np.float32]],
) -> pa.Table:
    """Rows of `vectors` of one shard: documents with counted tokens, by document and pool."""
    docs = np.flatnonzero(count)
    tables = []
    for pool, values in pools.items():
        flat = values[docs]
        offsets = np.arange(0, flat.size + 1, values.shape[1], dtype=np.int32)
        tables.append(
            pa.table(
                {
                    **place.columns(len(docs)),
                    "doc": docs + first_doc,
                    "pool": pa.repeat(pool, len(docs)),
                    "n": count[docs].astype(np.int32),
                    "vector": pa.ListArray.from_arrays(offsets, nullable(flat.reshape(-1))),
                }
            )
        )
    return pa.concat_tables(tables)


def site_rows(model: str, hooks: list[Hook]) -> pa.Table:
    """Rows of `sites`."""
    names = ("site", "layer", "module", "capture", "width", "heads", "kind", "alias")
    rows = [{name: getattr(hook, name) for name in names} | {"model": model} for hook in hooks]
    kinds = {"layer": pa.int32(), "width": pa.int32(), "heads": pa.int32()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in ("model", *names)])
    return pa.Table.from_pylist(rows, schema=schema)


def _with_tokens(
    place: Place,
    columns: dict[str, object],
    value: npt.NDArray[np.float32],
    tok: npt.NDArray[np.int64],
    tokens: pa.Table,
) -> pa.Table:
    """Add value, token and its place to rows, and leave out those without a token."""
    there = tok.reshape(-1) >= 0
    at = pa.array(tok.reshape(-1)[there])
    rows = pa.table(columns).filter(pa.array(there))
    found = {name: tokens[name].take(at) for name in ("doc", "pos", "token")}
    values = pa.array(value.reshape(-1)[there])
    return pa.table(
        place.columns(len(at))
        | {name: rows[name] for name in rows.column_names}
        | {"value": values, "tok": at, **found}
    )


def _ascending(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return `np.argsort(values, axis=1, kind="stable")`, NaN last, in half its time.

    Integers of the value's order above and its place below are sorted: none are equal.
    """
    bits = np.add(values, 0.0, order="C").view(np.int32).astype(np.int64)
    keys = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits) << 32 | np.arange(values.shape[1])
    keys.sort(axis=1)
    return keys & 0xFFFFFFFF


def _sparse(histogram: npt.NDArray[np.int32]) -> tuple[pa.Array, pa.Array]:
    """Return the bins that hold values, and how many, as lists."""
    neuron, bin_ = np.nonzero(histogram)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(neuron, minlength=len(histogram)))])
    starts = pa.array(offsets, pa.int32())
    bins = pa.ListArray.from_arrays(starts, pa.array(bin_, pa.int16()))
    return bins, pa.ListArray.from_arrays(starts, pc.cast(histogram[neuron, bin_], pa.int64()))


def _above_zero(found: Reduced) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = found.histogram[:, HALF:].sum(axis=1, dtype=np.int64)
    return counts


def _some(count: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.where(count > 0, count, np.nan)


def _value_or_null(value: npt.NDArray[np.float32], tok: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(value, mask=tok < 0)
