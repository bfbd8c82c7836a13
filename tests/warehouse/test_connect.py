from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_warehouse import ROW, TOKENS, add_activations, add_documents, fill

from neuronmap_sql.errors import QueryError, StoreError
from neuronmap_sql.warehouse import frames
from neuronmap_sql.warehouse.connect import configure_connection, connect
from neuronmap_sql.warehouse.result import execute
from neuronmap_sql.warehouse.schema import PARTITIONED, column_types, comments, table_names
from neuronmap_sql.warehouse.staging import Partition
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.udfs import register_udfs
from neuronmap_sql.warehouse.views import EMPTY_RUN


def test_every_view_is_there_before_the_first_run(store: Store) -> None:
    con = connect(store.root)
    for table in table_names():
        found = con.sql(f"DESCRIBE {table}").fetchall()
        assert {row[0]: row[1] for row in found} == column_types(table)
        assert con.sql(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
    views = dict(con.sql("SELECT view_name, comment FROM duckdb_views()").fetchall())
    assert all(views[table] == comments(table)[0] for table in table_names())


def test_runs_committed_later_appear_in_an_open_connection(store: Store) -> None:
    con = connect(store.root)
    add_documents(store)
    assert con.sql("SELECT count(*) FROM tokens").fetchall() == [(TOKENS,)]


def test_odd_names_and_odd_folders_are_read_back(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "it's [a] *;é")
    for number, name in enumerate(["openai/gpt-2@step=1000", "模型 %41", "..", "005"]):
        with store.stage(f"activations-{number}") as staging:
            staging.write(
                "firings",
                fill("firings", 1, model=name, dataset="d"),
                Partition(name, "d", "mlp", 0),
            )
            staging.commit(ROW)
    found = connect(store.root).sql("SELECT model FROM firings ORDER BY ALL").fetchall()
    assert found == [("..",), ("005",), ("openai/gpt-2@step=1000",), ("模型 %41",)]


def _where(model: str):
    from neuronmap_sql.warehouse.staging import Partition

    return Partition(model, "d", "mlp", 0)


def test_a_filter_on_the_path_opens_only_those_files(filled: Store) -> None:
    plan = connect(filled.root).sql(
        "EXPLAIN ANALYZE SELECT sum(n) FROM activations WHERE dataset = 'd' AND layer = 1"
    )
    assert "Total Files Read: 1" in plan.fetchall()[0][1]


def test_labels_of_all_datasets_are_joined_by_name(store: Store) -> None:
    add_documents(store, "d", topic=["x", "y"], year=[1, 2])
    add_documents(store, "e", topic=["z", None], year=["1900s", "?"], stars=[0.5, None])
    con = connect(store.root)
    found = con.sql("SELECT topic, year, stars FROM docs ORDER BY dataset, doc").fetchall()
    assert found == [("x", "1", None), ("y", "2", None), ("z", "1900s", 0.5), (None, "?", None)]
    comment = con.sql("SELECT comment FROM duckdb_views() WHERE view_name = 'docs'").fetchall()
    assert comment == [(comments("docs")[0],)]


def test_a_label_of_a_new_type_does_not_break_an_open_connection(store: Store) -> None:
    add_documents(store, "d", year=[1, 2])
    con = connect(store.root)
    add_documents(store, "e", year=[1.5, 2.5])
    assert con.sql("SELECT count(*), count(year) FROM docs").fetchall() == [(4, 4)]


@pytest.mark.parametrize("table", ["neuron_stats", "activations"])
def test_a_run_written_under_an_older_declaration_is_still_read(store: Store, table: str) -> None:
    add_activations(store)
    column = {"neuron_stats": "skewness", "activations": "sum"}[table]
    for path in (store.root / "runs").rglob(f"{table}/**/*.parquet"):
        pq.write_table(pq.ParquetFile(path).read().drop_columns([column]), path)
    store.refresh()
    add_activations(store, dataset="e")
    query = f"SELECT dataset, count({column}) > 0 FROM {table} GROUP BY ALL ORDER BY ALL"
    assert connect(store.root).sql(query).fetchall() == [("d", False), ("e", True)]
    assert column in frames.table(store.root, table).collect_schema()


def test_a_place_hooked_by_several_runs_is_one_row(store: Store) -> None:
    for number in (1, 2):
        with store.stage(f"activations-{number}") as staging:
            staging.write("sites", fill("sites", 2, model="m", site="mlp", layer=[0, 1]))
            staging.commit(ROW, keys=())
    found = connect(store.root).sql("SELECT run, layer FROM sites").fetchall()
    assert found == [("activations-1", 0), ("activations-1", 1)]
    frame = frames.table(store.root, "sites").sort("layer").collect()
    assert frame.select("run", "layer").rows() == found


def test_the_empty_run_has_each_table_where_its_glob_looks(store: Store) -> None:
    files = (store.root / "runs" / EMPTY_RUN).rglob("*.parquet")
    depths = {path.relative_to(store.root / "runs" / EMPTY_RUN).parts[0]: path for path in files}
    assert set(depths) == set(table_names())
    assert {t for t, path in depths.items() if "layer=-1" in path.parts} == PARTITIONED


def test_cursors_see_views_and_functions_from_many_threads(filled: Store) -> None:
    con = connect(filled.root)
    answers: list[object] = []

    def ask() -> None:
        cursor = con.cursor()
        query = "SELECT count(value) FROM py.values_of('m', 0, 0)"
        answers.extend(cursor.sql(query).fetchall() for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [[(2 * TOKENS,)]] * 20


def test_functions_on_blocks() -> None:
    con = duckdb.connect()
    register_udfs(con)
    found = execute(
        con,
        "SELECT f16(b), f16_at(b, 1), f16_at(b, 9), f16_dot(b, b), f16_topk(b, 2), f16(NULL) "
        "FROM (SELECT f16_from([1.5, -2, 'nan', 1e9, 4]) AS b)",
    ).fetchall()
    top = [{"i": 4, "value": 4.0}, {"i": 0, "value": 1.5}]
    assert found == [([1.5, -2.0, None, None, 4.0], -2.0, None, 22.25, top, None)]
    nothing = execute(con, "SELECT f16_at(NULL, 1), f16_at(f16_from([1]), NULL)").fetchall()
    assert nothing == [(None, None)]
    rows = execute(con, "SELECT f16_at(f16_from([i]), 0) FROM range(5000) t(i)").fetchall()
    assert [value for (value,) in rows[:2048]] == list(range(2048))
    with pytest.raises(QueryError, match="odd number of bytes"):
        execute(con, "SELECT f16('abc'::BLOB)").fetchall()
    with pytest.raises(QueryError, match="two blobs of one length"):
        execute(con, "SELECT f16_dot(f16_from([1]), f16_from([1, 2]))").fetchall()


def test_without_functions_the_plain_macros_are_there(filled: Store) -> None:
    con = connect(filled.root, udfs=False)
    assert len(execute(con, "FROM neuron('m', 0, 0)").fetchall()) == 2
    with pytest.raises(QueryError):
        execute(con, "FROM py.values_of('m', 0, 0)")
    assert configure_connection(con) is con
    assert len(execute(con, "FROM py.values_of('m', 0, 0)").fetchall()) == 2 * TOKENS


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("FROM neuron_stat", "did you mean 'neuron_stats'"),
        ("FROM top_token('m', 0, 0)", "did you mean 'top_tokens'"),
        ("SELECT bin_lo(3)", "did you mean 'bin_low'"),
        ("SELECT kurtossis FROM neuron_stats", 'Candidate bindings: .*"kurtosis"'),
        ("SELEC 1", "syntax error"),
        ("SELECT error('so')", "so"),
        ("SELECT $a", "parameter"),
    ],
)
def test_errors_of_the_engine_are_ours(filled: Store, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        execute(connect(filled.root), sql).fetchall()
    assert isinstance(caught.value.__cause__, duckdb.Error)
    assert "pg_" not in str(caught.value)


def test_errors_that_come_late_are_ours_too(filled: Store) -> None:
    result = execute(
        connect(filled.root),
        "SELECT CASE WHEN i > 150000 THEN error('late') ELSE i END AS i FROM range(200000) t(i)",
    )
    for fetch in (result.arrow, result.pl, lambda: list(result.reader(1000))):
        with pytest.raises(QueryError, match="late"):
            fetch()


def test_a_result_comes_in_every_form(filled: Store) -> None:
    con = connect(filled.root)
    result = execute(con, "SELECT tok FROM tokens WHERE dataset = $d ORDER BY tok", {"d": "d"})
    assert result.columns == ["tok"]
    assert result.arrow()["tok"].to_pylist() == list(range(TOKENS))
    assert result.pl()["tok"].to_list() == list(range(TOKENS))
    assert result.fetchall() == [(i,) for i in range(TOKENS)]
    batches = list(result.reader(5))
    assert pa.Table.from_batches(batches).num_rows == TOKENS
    assert "tok" in repr(result)
    assert execute(con, "CREATE TEMP TABLE t AS SELECT 1 AS x").arrow().num_rows in (0, 1)
    assert execute(con, "SELECT 1; SELECT created FROM runs LIMIT 1").arrow().num_rows == 1


def test_a_folder_that_is_no_warehouse_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a warehouse"):
        connect(tmp_path)
