"""The generator of docs/reference: complete, and it notices what is stale or undocumented."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import duckdb
import pytest
import typer

from neuronmap_sql.content import folder
from neuronmap_sql.queries.catalog import queries
from neuronmap_sql.warehouse.schema import table_names
from neuronmap_sql.warehouse.views import create_macros

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    sys.path.insert(0, str(DOCS))
    import generate

    return generate


@pytest.fixture
def page(generator: ModuleType) -> Any:
    return generator.Page()


@pytest.fixture(scope="module")
def texts(generator: ModuleType) -> dict[str, str]:
    return dict(generator.generate()[0])


def test_nothing_is_undocumented(generator: ModuleType) -> None:
    assert generator.generate()[1] == []


def test_every_table_column_query_and_parameter_is_there(texts: dict[str, str]) -> None:
    assert all(f"\n## {table}\n" in texts["tables"] for table in table_names())
    for query in queries().values():
        section = texts["queries"].split(f"\n### {query.name}\n")[1].split("\n### ")[0]
        assert all(f"| `{p.name}` | `{p.type}` |" in section for p in query.params)


def test_every_macro_that_the_engine_knows_is_there(texts: dict[str, str]) -> None:
    with duckdb.connect() as con:
        from neuronmap_sql.warehouse.schema import create_tables

        create_tables(con)
        create_macros(con, "macros")
        known = con.sql(
            "SELECT DISTINCT function_name, comment FROM duckdb_functions()"
            " WHERE NOT internal AND function_type LIKE '%macro'"
        ).fetchall()
    assert len(known) >= 6
    for name, comment in known:
        section = texts["macros"].split(f"\n### {name}\n")[1].split("\n### ")[0]
        assert comment.replace("<", "&lt;") in section


def test_every_recipe_key_is_there(texts: dict[str, str]) -> None:
    for key in ("source", "path", "layers", "top_k", "folding", "shard_tokens", "seed", "module"):
        assert f"| `{key}` |" in texts["recipe"]
    assert "| `custom` |" not in texts["recipe"]


def test_every_command_and_error_is_there(texts: dict[str, str]) -> None:
    for command in ("init", "ingest", "sql", "query", "runs", "models"):
        assert f"\n## neuronmap {command}" in texts["cli"]
    assert "| `StoreError` | 1 |" in texts["errors"]
    assert "\n### Warehouse.sql\n" in texts["python"]


def test_an_undocumented_option_is_noticed(
    page: Any, generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = typer.Typer()

    def told(name: Annotated[str, typer.Argument(help="A name.")], silent: bool = False) -> None:
        """Say something."""

    def untold() -> None: ...

    for function in (told, untold):
        bare.command()(function)
    monkeypatch.setattr(sys.modules["reference_code"], "app", bare)
    generator.command_line(page)
    assert page.gaps == ["neuronmap told --silent, --no-silent", "command neuronmap untold"]
    assert "neuronmap told [OPTIONS] NAME" in page.text()


def test_an_undocumented_column_is_noticed(
    page: Any, generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(table: str) -> tuple[str, dict[str, str]]:
        from neuronmap_sql.warehouse.schema import comments

        about, columns = comments(table)
        return about, {
            name: "" if name == "quantile_error" else said for name, said in columns.items()
        }

    monkeypatch.setattr(sys.modules["reference_declared"], "comments", silent)
    generator.tables(page)
    assert page.gaps == ["column neuron_stats.quantile_error"]


def test_an_undocumented_macro_is_noticed(
    page: Any, generator: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "macros").mkdir()
    (tmp_path / "python").mkdir()
    text = "CREATE MACRO silent(a, b := 'x') AS TABLE SELECT a, b;\n"
    (tmp_path / "macros" / "silent.sql").write_text(text)
    monkeypatch.setattr(sys.modules["reference_declared"], "folder", lambda _: tmp_path)
    generator.macros(page)
    assert page.gaps == ["macro silent"]
    assert "`FROM silent(a, b := 'x')`" in page.text()


def test_stale_missing_and_surplus_pages_are_noticed(generator: ModuleType, tmp_path: Path) -> None:
    texts = {"a": "one\ntwo\n", "b": "three\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.md").write_text(text)
    assert generator.stale(texts, tmp_path) == ""
    assert "-two" in generator.stale({**texts, "a": "one\n"}, tmp_path)
    assert "+four" in generator.stale({**texts, "c": "four\n"}, tmp_path)
    assert "-three" in generator.stale({"a": texts["a"]}, tmp_path)


def test_writing_then_checking_agrees(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(generator, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(generator, "PAGES", {"errors": generator.error_tree})
    assert generator.main(["--check"]) == 1
    assert "docs/reference is stale: run `make docs`" in capsys.readouterr().err
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0


def test_links_to_queries_lead_somewhere(texts: dict[str, str]) -> None:
    links = [part.split(")")[0] for part in texts["queries"].split("](../../")[1:]]
    assert len(links) == len(queries())
    assert all((folder("queries").parent / link).is_file() for link in links)
