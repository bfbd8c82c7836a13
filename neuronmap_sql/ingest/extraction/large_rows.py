"""The large tables, from the spool: blocks, codes, firings and token-major rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neuronmap_sql.ingest.extraction.rows import Place
from neuronmap_sql.ingest.settings import KeepSettings
from neuronmap_sql.numerics.blocks import iter_block_tables
from neuronmap_sql.numerics.int8 import iter_int8_tables
from neuronmap_sql.numerics.turning import neuron_major

__all__ = ["block_rows", "firing_rows", "int8_rows", "token_rows"]

_GROUP_BYTES = 64 << 20
_TINY = np.float16(6e-8)
"""The smallest float16 above zero."""

Half = npt.NDArray[np.float16]


def block_rows(place: Place, values: Half) -> Iterator[pa.Table]:
    """Rows of `activations`, one row group at a time, by neuron and block.

    Args:
        place: the key columns.
        values: [tokens, neurons], the spool.
    """
    for blocks in iter_block_tables(values):
        yield _keyed(place, blocks)


def int8_rows(place: Place, values: Half) -> Iterator[pa.Table]:
    """Rows of `activations_int8`, one row group at a time, by neuron and block."""
    for blocks in iter_int8_tables(values):
        yield _keyed(place, blocks)


def firing_rows(place: Place, values: Half, keep: KeepSettings) -> Iterator[pa.Table]:
    """Rows of `firings`, by neuron and token.

    The threshold is the recipe's, or the value that `firings_fraction` of the neuron's values
    reach; in the latter case never at or below zero: a neuron that rests at zero does not fire.
    """
    tokens, neurons = values.shape
    group = max(1, _GROUP_BYTES // max(1, 2 * tokens))
    for first in range(0, neurons, group):
        turned = neuron_major(values[:, first : first + group])
        turned[~np.isfinite(turned)] = -np.inf
        threshold = _thresholds(turned, keep)
        # A value that is -inf was not finite: it never fires, whatever the threshold.
        neuron, tok = np.nonzero((turned >= threshold[:, None]) & (turned > -np.inf))
        rows = pa.table(
            {
                "neuron": (neuron + first).astype(np.int32),
                "tok": tok,
                "value": turned[neuron, tok].astype(np.float32),
                "threshold": threshold[neuron].astype(np.float32),
            }
        )
        yield _keyed(place, rows)


def token_rows(place: Place, values: Half) -> Iterator[pa.Table]:
    """Rows of `token_matrices`, by token."""
    tokens, width = values.shape
    group = max(1, _GROUP_BYTES // (2 * width))
    for first in range(0, tokens, group):
        part = np.array(values[first : first + group])
        part[~np.isfinite(part)] = np.nan
        offsets = pa.py_buffer(np.arange(0, part.nbytes + 1, 2 * width, dtype=np.int32))
        vals = pa.Array.from_buffers(pa.binary(), len(part), [None, offsets, pa.py_buffer(part)])
        tok = np.arange(first, first + len(part))
        yield _keyed(place, pa.table({"tok": tok, "vals": vals}))


def _thresholds(turned: Half, keep: KeepSettings) -> Half:
    if keep.firings_threshold is not None:
        return np.full(len(turned), keep.firings_threshold, dtype=np.float16)
    tokens = turned.shape[1]
    wanted = max(1, round(keep.firings_fraction * tokens))
    reached: Half = np.partition(turned, tokens - wanted, axis=1)[:, tokens - wanted]
    return np.maximum(reached, _TINY)


def _keyed(place: Place, rows: pa.Table) -> pa.Table:
    keys = place.columns(len(rows))
    return pa.table(keys | {name: rows[name] for name in rows.column_names})
