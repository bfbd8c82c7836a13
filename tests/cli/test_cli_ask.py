"""`sql`, `query`, `queries`, `shell`: the answers, and what is said when the question is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import neuronmap_sql as nm
from neuronmap_sql.queries.catalog import queries


def test_sql_from_standard_input(cli: Any, demo_warehouse: Path) -> None:
    answer = cli("sql", "-", "-w", demo_warehouse, "-f", "csv", stdin="SELECT 6 * 7 AS n\n")
    assert (answer.code, answer.text) == (0, "n\n42\n")


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_sql_is_wrong_usage(cli: Any, demo_warehouse: Path, text: str) -> None:
    answer = cli("sql", "-", "-w", demo_warehouse, stdin=text)
    assert (answer.code, answer.err) == (2, "error: there is no SQL to run\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sql", "FROM neuron_stat"), "did you mean 'neuron_stats'"),
        (("sql", "SELECT bin_lo(3)"), "did you mean 'bin_low'"),
        (("sql", "SELECT kurtosi FROM neuron_stats"), "kurtosis"),
        (("sql", "SELECT FROM"), "syntax error"),
        (("query", "layer_profil"), "did you mean 'layer_profile'"),
        (("query", "layer_profile", "-p", "modle=a"), "'modle'; did you mean 'model'"),
        (("query", "layer_profile"), "wants the parameter 'model' (VARCHAR)"),
        (("query", "layer_profile", "-p", "model"), "--param model: write name=value"),
        (("query", "neurons_of_model", "-p", "model=a", "-p", "k=x"), "INTEGER"),
        (("runs", "show", "tokens-0"), "no run named 'tokens-0'"),
        (("runs", "drop", "tokens-0"), "no run named 'tokens-0'"),
        (("plot", "model", "demo", "-o", "a.png"), "demo-a"),
        (("plot", "neuron", "demo-x", "0", "1", "-o", "a.png"), "demo-a"),
    ],
)  # fmt: skip
def test_wrong_usage_names_the_way_out(
    cli: Any, demo_warehouse: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = cli(*arguments, "-w", demo_warehouse)
    assert (answer.code, answer.out) == (2, b"")
    assert answer.err.startswith("error: ")
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_an_unknown_command_or_option(cli: Any) -> None:
    assert cli("querys").code == 2
    assert cli("sql", "SELECT 1", "--fromat", "csv").code == 2
    assert cli("sql", "SELECT 1", "-f", "xml").code == 2


@pytest.mark.parametrize("arguments", [("sql", "SELECT 1"), ("runs",), ("shell",)])
def test_no_warehouse_names_the_option(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = cli(*arguments)
    assert (answer.code, answer.out) == (1, b"")
    assert "not a warehouse" in answer.err
    assert "-w FOLDER" in answer.err
    assert "NEURONMAP_WAREHOUSE" in answer.err


def test_the_warehouse_may_be_here_or_in_the_environment(
    cli: Any, demo_warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo_warehouse)
    assert cli("sql", "SELECT count(*) > 0 AS n FROM tokens", "-f", "csv").text == "n\ntrue\n"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEURONMAP_WAREHOUSE", str(demo_warehouse))
    assert cli("sql", "SELECT count(*) > 0 AS n FROM tokens", "-f", "csv").text == "n\ntrue\n"


def test_a_folder_that_is_no_warehouse(cli: Any, tmp_path: Path) -> None:
    answer = cli("sql", "SELECT 1", "-w", tmp_path / "none")
    assert answer.code == 1
    assert "none is not a warehouse: make one with `neuronmap init" in answer.err


def test_python_functions_are_there(cli: Any, demo_warehouse: Path) -> None:
    """A macro of schema py needs our UDFs."""
    functions = cli(
        "sql", "SELECT count(*) AS n FROM duckdb_functions() WHERE schema_name = 'py'",
        "-w", demo_warehouse, "-f", "csv",
    )  # fmt: skip
    assert int(functions.text.split()[1]) > 0


def test_query_gives_the_rows_of_the_python_call(
    cli: Any, demo_warehouse: Path, demo_model: Path
) -> None:
    with nm.open(demo_warehouse) as wh:
        expected = wh.query("layer_profile", model=demo_model.name).arrow().to_pylist()
    answer = cli(
        "query", "layer_profile", "-p", f"model={demo_model.name}", "-w", demo_warehouse,
        "-f", "jsonl",
    )  # fmt: skip
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert len(rows) == len(expected) >= 4
    assert [row["layer"] for row in rows] == [row["layer"] for row in expected]


def test_queries_lists_all_of_them(cli: Any) -> None:
    listed = cli("queries").text
    assert all(name in listed for name in queries())
    assert all(query.title in listed for query in queries().values() if len(query.title) < 100)


def test_queries_shows_one_in_full(cli: Any) -> None:
    query = queries()["layer_profile"]
    assert cli("queries", "layer_profile").text.strip() == query.path.read_text().strip()
    unknown = cli("queries", "layer_profiles")
    assert unknown.code == 2
    assert "did you mean 'layer_profile'" in unknown.err


def test_the_stock_shell_reads_sql_from_a_pipe(process: Any, demo_warehouse: Path) -> None:
    sql = ".mode csv\nSELECT count(*) AS n FROM neuron_stats WHERE site = 'mlp';\n"
    answer = process("shell", "-w", demo_warehouse, stdin=sql)
    assert answer.code == 0, answer.err
    assert answer.text.split() == ["n", "2048"]


def test_our_own_shell_reads_sql_from_a_pipe(cli: Any, demo_warehouse: Path) -> None:
    """A semicolon ends a statement; errors and talk stay out of the answers."""
    answer = cli(
        "shell", "--python", "-w", demo_warehouse,
        stdin="SELECT 6 *\n\n7 AS n;\n\nFROM neuron_stat; \nSELECT 'last'\nAS word\n",
    )  # fmt: skip
    assert answer.code == 0
    assert "42" in answer.text
    assert "last" in answer.text
    assert "neuronmap>" not in answer.text
    assert "did you mean 'neuron_stats'" in answer.err
