"""Layouts whose questions DuckDB answers: blocks through Arrow UDFs, long table, columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from layouts import BINS, Blocks, K, Values, _merge, _top
from numpy.typing import NDArray

from neuronmap_sql.numerics import blocks

__all__ = ["BlocksInDuckDB", "Columns", "Long"]


@dataclass
class BlocksInDuckDB(Blocks):
    """(b) The chosen blocks, scanned by DuckDB; Arrow UDFs decode whole batches of blocks."""

    con: duckdb.DuckDBPyConnection = field(default_factory=duckdb.connect)
    """Two threads, as many as the machine has cores."""

    def __post_init__(self) -> None:
        kinds = {"null_handling": "default", "type": "arrow"}
        self.con.create_function("f16_top", _udf_top, ["BLOB"], "FLOAT[]", **kinds)
        self.con.create_function("f16_codes", _udf_codes, ["BLOB"], "INTEGER[]", **kinds)
        self.con.create_function(
            "f16_far", _udf_far, ["BLOB", "FLOAT"], "FLOAT[]", **kinds
        )

    def ask(self, query: str) -> pa.Table:
        return self.con.sql(query.replace("$file", f"'{self.path}'")).to_arrow_table()
