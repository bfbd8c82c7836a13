"""Pages on what is declared as SQL: tables, macros and functions, named queries."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from reference_page import Page, code, plain

from neuronmap_sql.content import folder
from neuronmap_sql.queries.catalog import Query, queries
from neuronmap_sql.queries.values import written
from neuronmap_sql.warehouse.schema import arrow_schema, column_types, comments, table_names
from neuronmap_sql.warehouse.search_udfs import search_udfs
from neuronmap_sql.warehouse.udfs import UDFS
from neuronmap_sql.warehouse.word_udfs import WORD_UDFS

__all__ = ["macros", "named_queries", "tables"]

_MACRO = re.compile(r"CREATE MACRO ([\w.]+)\s*\(([^)]*)\)\s+AS( TABLE)?", re.DOTALL)
_COMMENT = re.compile(r"COMMENT ON MACRO(?: TABLE)? ([\w.]+) IS\s*'((?:[^']|'')*)'")


def tables(page: Page) -> None:
    """Write the page on tables and columns, from warehouse/tables/*.sql."""
    page.add("# Tables", "Columns that may not be NULL are marked with a dot.")
    for table in table_names():
        about, columns = comments(table)
        page.add(f"## {table}", plain(page.said(f"table {table}", about)))
        schema = arrow_schema(table)
        rows = [
            (code(name), code(kind), "" if schema.field(name).nullable else "•",
             plain(page.said(f"column {table}.{name}", columns[name])))
            for name, kind in column_types(table).items()
        ]  # fmt: skip
        page.table(("column", "type", "", "meaning"), rows)


def macros(page: Page) -> None:
    """Write the page on macros and functions, from warehouse/ and the UDFs."""
    page.add("# Macros and functions", "## In every shell")
    _macros(page, folder("warehouse") / "macros")
    page.add("## With Python", "`neuronmap sql`, `wh.sql(...)` and `connect(...)` have them.")
    _macros(page, folder("warehouse") / "python")
    for udf in sorted((*UDFS, *WORD_UDFS, *search_udfs(None)), key=lambda udf: udf.name):
        page.add(
            f"### {udf.name}", code(f"{udf.name}({', '.join(udf.arguments)}) -> {udf.returns}")
        )
        page.add(plain(page.said(f"function {udf.name}", udf.about)))


def _macros(page: Page, place: Path) -> None:
    for path in sorted(place.glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        about = {name: said.replace("''", "'") for name, said in _COMMENT.findall(text)}
        for name, parameters, is_table in _MACRO.findall(text):
            call = f"{name}({' '.join(parameters.split())})"
            page.add(f"### {name}", code(f"FROM {call}" if is_table else call))
            page.add(plain(page.said(f"macro {name}", about.get(name))))


def named_queries(page: Page) -> None:
    """Write the page on named queries, from the headers in queries/."""
    page.add(
        "# Named queries",
        "In the command line `neuronmap query NAME -p model=demo-a`, in Python "
        '`wh.query("NAME", model="demo-a")`. In a stock shell the files run as prepared '
        "statements: `PREPARE q AS` and the file, then `EXECUTE q(model := 'demo-a', ...)` with a "
        "value for every parameter.",
    )
    found = queries().values()
    for topic in sorted({query.topic for query in found}):
        page.add(f"## {topic}")
        for query in (query for query in found if query.topic == topic):
            _query(page, query)


def _query(page: Page, query: Query) -> None:
    page.add(f"### {query.name}", plain(page.said(f"query {query.name}", query.title)))
    if query.description:
        page.add(plain(query.description))
    rows = [
        (code(p.name), code(p.type), "required" if p.required else code(written(p.default)),
         plain(p.doc))
        for p in query.params
    ]  # fmt: skip
    if rows:
        page.table(("parameter", "type", "default", "meaning"), rows)
    pairs = (f"{name}={value}" for name, value in query.example.items())
    options = "".join(f" -p {shlex.quote(pair)}" for pair in pairs)
    page.add(f"```sh\nneuronmap query {query.name}{options}\n```")
    page.add(f"[{query.topic}/{query.path.name}](../../queries/{query.topic}/{query.path.name})")
