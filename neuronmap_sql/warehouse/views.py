"""The views over the runs' files, and the macros: the same SQL for the file and for Python.

A view finds the runs by a glob below `wh_root()`, so that it shows every run committed so far.
The run `none`, without rows, gives each glob its first match and each view its columns.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from neuronmap_sql.content import folder
from neuronmap_sql.warehouse.files import whole
from neuronmap_sql.warehouse.names import glob_escape
from neuronmap_sql.warehouse.parquet import parquet_options
from neuronmap_sql.warehouse.schema import (
    PARTITIONED,
    arrow_schema,
    column_types,
    comments,
    table_names,
)

__all__ = [
    "EMPTY_RUN",
    "columns_differ",
    "create_catalog",
    "create_macros",
    "create_movable_catalog",
    "quote_literal",
    "quote_name",
    "write_empty_run",
]

EMPTY_RUN = "run=none"
"""Folder of the run without rows."""

_NOWHERE = Path("model=none", "dataset=none", "site=none", "layer=-1")
_HIVE = (
    "hive_partitioning = true, hive_types = {'run': VARCHAR, 'model': VARCHAR, "
    "'dataset': VARCHAR, 'site': VARCHAR, 'layer': INTEGER}"
)
_ONE_OF_MANY = {
    # Every run that hooks a place describes it, each in the same words.
    "sites": (
        "DISTINCT ON (f.model, f.site, f.layer)",
        "ORDER BY f.model, f.site, f.layer, f.run",
    )
}
_ROOT_COMMENT = (
    "COMMENT ON MACRO wh_root IS "
    "'Folder of the warehouse, as the start of a glob; init.sql sets it in a stock shell.'"
)
_LABEL = "Label of the documents, from the data files."


def write_empty_run(root: Path) -> None:
    """Write the run without rows: for each table one file a declaration that was ever in use."""
    for table in table_names():
        files = _empty_files(root, table)
        if not any(pq.read_schema(path).equals(arrow_schema(table)) for path in files):
            with whole(_empty_folder(root, table) / f"{len(files)}.parquet") as part:
                empty = arrow_schema(table).empty_table()
                pq.write_table(empty, part, **parquet_options(table))


def columns_differ(root: Path, table: str) -> bool:
    """Whether a table's files must be matched by column names, which opens every footer.

    `docs` has labels, and a table may have been declared otherwise when older runs were written.
    """
    return table == "docs" or len(_empty_files(root, table)) > 1


def create_catalog(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Create views and macros for this process: with the root as a constant, so that cursors
    see it, and without the comments on columns, which take 0.1 seconds.
    """
    prefix = glob_escape(root.resolve().as_posix())
    con.execute(f"CREATE MACRO wh_root() AS {quote_literal(prefix)}; {_ROOT_COMMENT}")
    for table in table_names():
        con.execute(_view(con, root, table, quote_literal(prefix + _pattern(table))))
    create_macros(con, "macros")


def create_movable_catalog(con: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Create views and macros that find the warehouse by the variable that init.sql sets."""
    con.execute(f"CREATE MACRO wh_root() AS coalesce(getvariable('wh_root'), '.'); {_ROOT_COMMENT}")
    # Creating a view reads its files' columns, so the root must be known here too.
    con.execute(f"SET VARIABLE wh_root = {quote_literal(glob_escape(root.resolve().as_posix()))}")
    for table in table_names():
        con.execute(_view(con, root, table, f"wh_root() || {quote_literal(_pattern(table))}"))
        con.execute(_column_comments(con, table))
    create_macros(con, "macros")


def create_macros(con: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Create the macros of a folder: `macros`, or `python` for those that need UDFs."""
    for path in sorted((folder("warehouse") / kind).glob("*.sql")):
        con.execute(path.read_text(encoding="utf-8"))


def quote_literal(text: str) -> str:
    """Return `text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return `name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _view(con: duckdb.DuckDBPyConnection, root: Path, table: str, path: str) -> str:
    """Return the statements that create a table's view and its comment."""
    source = f"read_parquet({path}, {_options(root, table)})"
    # Qualified: DuckDB confuses a bare name with a parameter of a macro that uses the view.
    names = [f"f.{quote_name(name)}" for name in column_types(table)]
    if table == "docs":
        names += _labels(con, source)
    choice, order = _ONE_OF_MANY.get(table, ("", ""))
    return (
        f"CREATE VIEW {table} AS SELECT {choice} {', '.join(names)} FROM {source} AS f {order}; "
        f"COMMENT ON VIEW {table} IS {quote_literal(comments(table)[0])}"
    )


def _options(root: Path, table: str) -> str:
    options = ["union_by_name = true"] if columns_differ(root, table) else []
    options += [_HIVE] if table in PARTITIONED else []
    return ", ".join(options) or "hive_partitioning = false"


def _empty_folder(root: Path, table: str) -> Path:
    return root / "runs" / EMPTY_RUN / table / (_NOWHERE if table in PARTITIONED else "")


def _empty_files(root: Path, table: str) -> list[Path]:
    return list(_empty_folder(root, table).glob("*.parquet"))


def _pattern(table: str) -> str:
    return f"/runs/*/{table}{'/*' * 4 if table in PARTITIONED else ''}/*.parquet"


def _labels(con: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    """Return the label columns of all datasets; one that differs in type gets a common one.

    The cast keeps an open connection's view valid when a later dataset changes the type.
    """
    found = con.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()
    labels = {quote_name(row[0]): row[1] for row in found if row[0] not in column_types("docs")}
    return [f"CAST(f.{name} AS {kind}) AS {name}" for name, kind in labels.items()]


def _column_comments(con: duckdb.DuckDBPyConnection, table: str) -> str:
    notes = comments(table)[1]
    columns = con.sql(f"DESCRIBE {table}").fetchall()
    return "; ".join(
        f"COMMENT ON COLUMN {table}.{quote_name(name)} IS {quote_literal(notes.get(name, _LABEL))}"
        for name, *_ in columns
    )
