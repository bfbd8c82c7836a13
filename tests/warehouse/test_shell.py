"""The stock `duckdb` shell on a warehouse: no Python on its side."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from small_warehouse import TOKENS, add_activations, add_documents, add_weights

from neuronmap_sql.warehouse.schema import comments, table_names
from neuronmap_sql.warehouse.shell import find_duckdb, shell_command
from neuronmap_sql.warehouse.store import Store

PROGRAM = find_duckdb()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="the duckdb shell is not installed")


def ask(root: Path | str, sql: str, cwd: Path, read_only: bool = False) -> list[list[str]]:
    options = ["-csv", "-noheader", *(["-readonly"] if read_only else []), "-c", sql]
    done = subprocess.run(
        [str(PROGRAM), "-init", f"{root}/init.sql", *options, f"{root}/warehouse.duckdb"],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return list(csv.reader(io.StringIO(done.stdout)))


def test_it_opens_from_any_folder_and_after_a_move(filled: Store, tmp_path: Path) -> None:
    count = "SELECT count(*) FROM tokens"
    assert ask(filled.root, count, Path("/")) == [[str(2 * TOKENS)]]
    moved = tmp_path / "it's [moved]"
    shutil.copytree(filled.root, moved)
    assert ask(moved, count, tmp_path) == [[str(2 * TOKENS)]]
    assert ask("it's [moved]", count, tmp_path) == [[str(2 * TOKENS)]]
    assert ask(".", count, moved, read_only=True) == [[str(2 * TOKENS)]]


def test_all_tables_columns_and_macros_are_commented(filled: Store, tmp_path: Path) -> None:
    found = ask(
        filled.root,
        "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
        tmp_path,
    )
    assert found == [[table, comments(table)[0]] for table in table_names()]
    columns = ask(
        filled.root,
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal",
        tmp_path,
    )
    assert {row[0] for row in columns} == set(table_names())
    assert [row for row in columns if not row[2]] == []
    macros = ask(
        filled.root,
        "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal",
        tmp_path,
    )
    assert {"neuron", "top_tokens", "importance"} <= {row[0] for row in macros}
    assert [row for row in macros if not row[1]] == []


def test_the_macros_answer(filled: Store, tmp_path: Path) -> None:
    for call in (
        "neuron('m', 0, 1)",
        "top_tokens('m', 0, 1)",
        "prompt(0)",
        "histogram_of('m', 0, 1)",
        "similar_neurons('m', 0, 1)",
        "similar_neurons('m', 0, 1, by := 'statistics')",
        "importance('m')",
    ):
        assert ask(filled.root, f"FROM {call}", tmp_path)


def test_it_reads_while_runs_are_committed_and_replaced(store: Store, tmp_path: Path) -> None:
    add_weights(store)
    failures: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(6):
                parent = add_documents(store, f"d{number}", **{f"label{number}": [1, 2]})
                add_activations(store, f"d{number}", parents=(parent,))
        except BaseException as error:
            failures.append(error)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    sql = "SELECT (SELECT count(*) FROM docs), (SELECT count(*) FROM neuron_weights)"
    while not done.is_set():
        seen.append(ask(store.root, sql, tmp_path)[0])
    writer.join()
    assert failures == []
    counts = [int(docs) for docs, _ in seen]
    assert counts == sorted(counts)
    assert {weights for _, weights in seen} == {"8"}
    assert ask(store.root, "SELECT count(label0), count(label5) FROM docs", tmp_path) == [
        ["2", "2"]
    ]


def test_a_shell_left_open_does_not_keep_writers_out(store: Store, tmp_path: Path) -> None:
    assert PROGRAM
    command = shell_command(store.root, PROGRAM, ["-csv", "-noheader"])
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as shell:
        assert shell.stdin
        assert shell.stdout
        shell.stdin.write("SELECT count(*) FROM docs;\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "0\n"
        add_documents(store)
        answer, _ = shell.communicate("SELECT count(*) FROM docs;\n")
    assert answer == "2\n"
