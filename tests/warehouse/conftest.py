from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from small_warehouse import add_activations, add_documents, add_weights

from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "wh")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One model on two datasets, with weights; nobody changes it."""
    store = Store.create(tmp_path_factory.mktemp("filled") / "wh")
    add_weights(store)
    for dataset in ("d", "e"):
        parent = add_documents(store, dataset, topic=["x", "y"])
        add_activations(store, dataset, parents=(parent,))
    return store


@pytest.fixture(scope="session")
def con(filled: Store) -> duckdb.DuckDBPyConnection:
    return connect(filled.root)
