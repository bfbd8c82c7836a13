"""The oracle for the shared warehouse, and small recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from brute_force import BruteForce, brute_force, texts_of

from neuronmap_sql.content import folder
from neuronmap_sql.warehouse.connect import connect


@pytest.fixture(scope="session")
def oracle(demo_model: Path) -> BruteForce:
    """All values of the documents in `demo_warehouse`."""
    return brute_force(demo_model, texts_of(folder("demo") / "text.jsonl.gz", 60))


@pytest.fixture(scope="session")
def con(demo_warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to `demo_warehouse`."""
    with connect(demo_warehouse) as connection:
        yield connection
