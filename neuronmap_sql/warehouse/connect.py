"""Connections from Python: an in-memory database with the views, the macros and the UDFs."""

from __future__ import annotations

from pathlib import Path

import duckdb

from neuronmap_sql.warehouse.search_udfs import search_udfs
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.udfs import UDFS, register_udfs
from neuronmap_sql.warehouse.views import create_catalog, create_macros
from neuronmap_sql.warehouse.word_udfs import WORD_UDFS

__all__ = ["configure_connection", "connect"]


def connect(root: str | Path, *, udfs: bool = True) -> duckdb.DuckDBPyConnection:
    """Open a warehouse for queries.

    The connection is an in-memory database of its own: it takes no lock, its cursors see the
    views, and runs committed later appear in it (new label columns of `docs` excepted). Use one
    cursor (`con.cursor()`) a thread.

    Args:
        root: the warehouse folder.
        udfs: register the Python functions, and the macros of schema `py` that need them.

    Raises:
        StoreError: the folder is not a warehouse.
    """
    store = Store.open(root)
    con = duckdb.connect(":memory:")
    con.execute("SET GLOBAL parquet_metadata_cache = true")  # runs never change
    con.execute("BEGIN")
    create_catalog(con, store.root)
    con.execute("COMMIT")
    return configure_connection(con, store.root) if udfs else con


def configure_connection(
    con: duckdb.DuckDBPyConnection, root: str | Path | None = None
) -> duckdb.DuckDBPyConnection:
    """Register the UDFs and, where the views are there, the macros of schema `py`.

    Args:
        con: a connection with the tables or views of a warehouse.
        root: the warehouse folder, which py.top_values and py.nearest read.
    """
    register_udfs(con, (*UDFS, *WORD_UDFS, *search_udfs(None if root is None else Path(root))))
    con.execute("CREATE SCHEMA IF NOT EXISTS py")
    create_macros(con, "python")
    return con
