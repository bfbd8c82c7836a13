from __future__ import annotations

import numpy as np
import pytest
from small_warehouse import NEURONS, TOKENS, add_activations, add_documents, values

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.frames import matrix, table
from neuronmap_sql.warehouse.schema import column_types, table_names
from neuronmap_sql.warehouse.store import Store


def test_every_table_is_a_frame_even_when_empty(store: Store) -> None:
    for name in table_names():
        frame = table(store.root, name).collect()
        assert frame.columns == list(column_types(name))
        assert frame.height == 0


def test_frames_hold_what_the_views_show(filled: Store) -> None:
    con = connect(filled.root)
    for name in table_names():
        frame = table(filled.root, name).collect()
        assert frame.height == con.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0]
    mine = table(filled.root, "neuron_stats").sort("dataset", "layer", "neuron").collect()
    theirs = con.sql("FROM neuron_stats ORDER BY dataset, layer, neuron").pl()
    assert mine.equals(theirs)


def test_labels_of_all_datasets_are_joined(store: Store) -> None:
    add_documents(store, "d", year=[1, 2])
    add_documents(store, "e", year=["a", None], stars=[0.5, None])
    frame = table(store.root, "docs").sort("dataset", "doc").collect()
    assert frame["year"].to_list() == ["1", "2", "a", None]
    assert frame["stars"].to_list() == [None, None, 0.5, None]


@pytest.mark.parametrize("kind", ["token_matrices", "activations"])
def test_a_matrix_is_what_was_stored(store: Store, kind: str) -> None:
    add_documents(store)
    run = add_activations(store)
    other = {"token_matrices": "activations", "activations": "token_matrices"}[kind]
    for path in (store.root / "runs" / f"run={run}" / other).rglob("*.parquet"):
        path.unlink()
    tok, found = matrix(store.root, "m", 1)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(tok, np.arange(TOKENS))
    np.testing.assert_array_equal(found, values(1))
    shape = (TOKENS, NEURONS) if kind == "token_matrices" else (NEURONS, TOKENS)
    memory = np.empty(shape, np.float16)
    again = matrix(store.root, "m", 1, out=memory).values
    assert np.shares_memory(again, memory)
    np.testing.assert_array_equal(again, values(1))
    with pytest.raises(UsageError, match="C-contiguous float16 of shape"):
        matrix(store.root, "m", 1, out=np.empty((1, 1), np.float16))


def test_a_matrix_that_was_not_kept_is_refused(filled: Store) -> None:
    with pytest.raises(UsageError, match="name one: d, e"):
        matrix(filled.root, "m", 0)
    np.testing.assert_array_equal(matrix(filled.root, "m", 0, dataset="e").values, values(0, "e"))
    for model, layer, site, dataset in (
        ("other", 0, "mlp", None),
        ("m", 7, "mlp", "d"),
        ("m", 0, "x", "d"),
        ("m", 0, "mlp", "f"),
    ):
        with pytest.raises(UnknownNameError, match="--keep activations"):
            matrix(filled.root, model, layer, site, dataset)


def test_an_unknown_table_is_named_with_its_neighbour(filled: Store) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tokens'"):
        table(filled.root, "token")
