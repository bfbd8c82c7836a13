"""The named queries: one .sql file a question, in `queries/`, by topic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neuronmap_sql.content import folder
from neuronmap_sql.errors import QueryError, UnknownNameError, UsageError, nearest
from neuronmap_sql.queries.header import Parameter, read_header, used_parameters
from neuronmap_sql.queries.values import REQUIRED, Value, typed

__all__ = ["Query", "load", "queries", "read"]


@dataclass(frozen=True)
class Query:
    """A documented, parameterised statement."""

    name: str
    """File name without `.sql`; unique over all topics."""
    topic: str
    """Name of the folder."""
    title: str
    """The question in one sentence."""
    description: str
    """What it counts and what to mind; may be empty."""
    params: tuple[Parameter, ...]
    """Declared parameters, in order."""
    example: dict[str, Value]
    """Parameter values to try on the demo warehouse."""
    sql: str
    """The file's text, header included: one statement, with parameters as `$name`."""
    path: Path
    """The file."""

    def bind(self, params: dict[str, object]) -> dict[str, Value]:
        """Return a value of the declared type for every parameter; text is read by type.

        Raises:
            UsageError: a parameter is unknown, missing, or of another type.
        """
        known = {parameter.name: parameter for parameter in self.params}
        for name in params:
            if name not in known:
                close = nearest(name, known) or "; it takes none"
                raise UsageError(f"query {self.name!r} has no parameter {name!r}{close}")
        return {name: self._value(parameter, params) for name, parameter in known.items()}

    def _value(self, parameter: Parameter, params: dict[str, object]) -> Value:
        if parameter.name in params:
            label = f"parameter {parameter.name!r} of query {self.name!r}"
            return typed(label, parameter.type, params[parameter.name])
        if parameter.default is REQUIRED:
            raise UsageError(
                f"query {self.name!r} wants the parameter {parameter.name!r}"
                f" ({parameter.type}): {parameter.doc}"
            )
        return parameter.default


def queries() -> dict[str, Query]:
    """Return all named queries by name, sorted by topic and name.

    Raises:
        QueryError: a file has a wrong header, or two files have the same name.
    """
    found: dict[str, Query] = {}
    for path in _files():
        if path.stem in found:
            raise QueryError(f"{path}: the name is taken by {found[path.stem].path}: rename one")
        found[path.stem] = read(path)
    return found


def load(name: str) -> Query:
    """Return the query of that name.

    Raises:
        UnknownNameError: there is none; names the nearest.
        QueryError: its file has a wrong header.
    """
    paths = {path.stem: path for path in _files()}
    if name not in paths:
        raise UnknownNameError.of("query", name, paths, "`neuronmap queries` lists them all")
    return read(paths[name])


def read(path: Path) -> Query:
    """Read one query file.

    Raises:
        QueryError: the header is malformed, or declared and used parameters differ; the message
            starts with file and line.
    """
    sql = path.read_text(encoding="utf-8")
    header = read_header(path, sql)
    _check_parameters(path, sql, header.parameters)
    return Query(
        name=path.stem,
        topic=path.parent.name,
        title=header.title,
        description=header.description,
        params=header.parameters,
        example=header.example,
        sql=sql,
        path=path,
    )


def _files() -> list[Path]:
    return sorted(folder("queries").glob("*/*.sql"))


def _check_parameters(path: Path, sql: str, declared: tuple[Parameter, ...]) -> None:
    names = [parameter.name for parameter in declared]
    used = used_parameters(sql)
    for name, line in used.items():
        if name not in names:
            raise QueryError(f"{path}:{line}: ${name} is not declared{nearest(name, names)}")
    for name in names:
        if name not in used:
            line = next(
                n for n, t in enumerate(sql.splitlines(), 1) if t.startswith(f"-- ${name} ")
            )
            raise QueryError(
                f"{path}:{line}: ${name} is declared but not used{nearest(name, used)}"
            )
