"""Layers read stripe by stripe are the planted values, from each table, in any memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from planted_labels import BROKEN, TOKENS, Planted, warehouse

from neuronmap_sql.errors import StoreError, UnknownNameError
from neuronmap_sql.warehouse.layer_values import LayerValues, kept_layers, layer_values
from neuronmap_sql.warehouse.store import Store

Make = Callable[..., Store]


@pytest.fixture(scope="module")
def make(known: Planted, tmp_path_factory: pytest.TempPathFactory) -> Make:
    @cache
    def made(*tables: str) -> Store:
        store = Store.create(tmp_path_factory.mktemp("values") / "wh")
        warehouse(store, known, tables)
        return store

    return made


def joined(values: LayerValues, memory: int) -> np.ndarray:
    stripes = []
    for stripe in values.stripes(memory):
        assert stripe.first == sum(map(len, stripes))
        assert stripe.values.nbytes <= max(memory, 2 * TOKENS)
        stripes.append(stripe.values.copy())
    return np.concatenate(stripes).T


@pytest.mark.parametrize("memory", [1, 5 * 2 * TOKENS + 7, 1 << 30])
@pytest.mark.parametrize("table", ["activations", "token_matrices"])
def test_all_values_come_bit_by_bit(make: Make, known: Planted, table: str, memory: int) -> None:
    values = layer_values(make(table).root, "m", 2)
    assert (values.dataset, values.tokenizer, values.table) == ("d", "t", table)
    found = joined(values, memory)
    assert np.array_equal(found.view(np.int16), known.values.view(np.int16))


def test_codes_come_decoded(make: Make, known: Planted) -> None:
    found = joined(layer_values(make("activations_int8").root, "m", 2), 1 << 20)
    scale = (np.nanmax(known.values, axis=0) - np.nanmin(known.values, axis=0)) / 254.0
    off = np.abs(found.astype(np.float64) - known.values)
    assert np.nanmax(off - 0.6 * scale) <= 0.002
    assert np.array_equal(np.isnan(found), np.isnan(known.values))
    assert np.isnan(found[:, BROKEN]).any()


def test_values_themselves_go_before_codes(make: Make) -> None:
    store = make("activations_int8", "token_matrices")
    assert layer_values(store.root, "m", 2).table == "token_matrices"
    assert kept_layers(store.root, "m") == (2,)
    assert len(layer_values(store.root, "m", 2).runs) == 1


def test_what_is_not_kept_is_unknown(make: Make) -> None:
    store = make("activations")
    for asked in (("n",), ("m", "attn"), ("m", "mlp", "e")):
        with pytest.raises(UnknownNameError, match="no values kept"):
            kept_layers(store.root, *asked)
    with pytest.raises(UnknownNameError, match="layer 3"):
        layer_values(store.root, "m", 3)


@pytest.mark.parametrize("rows", [slice(1, None), slice(0, -1), [0, 0, *range(2, 378)]])
def test_blocks_that_are_missing_or_doubled_are_an_error(
    make: Make, tmp_path: Path, rows: slice | list[int]
) -> None:
    root = shutil.copytree(make("activations").root, tmp_path / "own")
    values = layer_values(root, "m", 2)
    table = pq.read_table(values.files[0], partitioning=None)
    kept = np.arange(len(table))[rows]
    Path(values.files[0]).chmod(0o644)
    pq.write_table(table.take(kept), values.files[0])
    with pytest.raises(StoreError, match="missing, doubled"):
        joined(values, 1 << 20)
