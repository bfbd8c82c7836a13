from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.warehouse.schema import (
    PARTITIONED,
    arrow_schema,
    column_types,
    comments,
    create_tables,
    key_columns,
    table_names,
)


def test_every_table_and_column_has_a_comment() -> None:
    for table in table_names():
        about, columns = comments(table)
        assert about
        assert list(columns) == list(column_types(table))
        assert all(columns.values())


def test_arrow_types_are_the_engines() -> None:
    schema = arrow_schema("neuron_stats")
    assert schema.field("hist_bins").type == pa.list_(pa.field("l", pa.int16()))
    assert schema.field("mean").nullable
    assert not schema.field("neuron").nullable
    assert arrow_schema("runs").field("versions").type == pa.map_(pa.string(), pa.string())


def test_keys_name_the_model_or_the_tokenizer() -> None:
    assert key_columns("neuron_stats") == ("model", "dataset", "site", "layer")
    assert key_columns("tokens") == ("dataset", "tokenizer")
    assert key_columns("docs") == ("dataset",)
    assert key_columns("neuron_weights") == ("model", "site", "layer")
    for table in PARTITIONED:
        assert key_columns(table) == ("model", "dataset", "site", "layer")


def test_tables_can_be_made_in_a_plain_database() -> None:
    con = duckdb.connect()
    create_tables(con)
    assert con.sql("SELECT count(*) FROM neuron_stats").fetchall() == [(0,)]
    found = con.sql("SELECT comment FROM duckdb_tables() WHERE table_name = 'docs'").fetchall()
    assert found == [(comments("docs")[0],)]


def test_an_unknown_table_is_named_with_its_neighbour() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'neuron_stats'"):
        arrow_schema("neurons_stat")
