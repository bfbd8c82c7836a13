"""Pages on what is written in Python: the command line, errors, the public face."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer
from reference_page import Page, code, plain

import neuronmap_sql
from neuronmap_sql import errors
from neuronmap_sql.cli.main import app

__all__ = ["command_line", "error_tree", "python"]


def command_line(page: Page) -> None:
    """Write the page on commands, from the typer app."""
    page.add("# Command line", "Exit codes: 0 done, 1 the work failed, 2 wrong usage.")
    root = typer.main.get_command(app)
    for name, command in _commands("neuronmap", root):
        page.add(f"## {name}", plain(page.said(f"command {name}", command.help)))
        shown = [param for param in command.params if not param.hidden]
        words = "".join(f" {_word(param)}" for param in shown if _bare(param))
        options = " [OPTIONS]" if any(not _bare(param) for param in shown) else ""
        page.add(f"```sh\n{name}{options}{words}\n```")
        rows = [_parameter(page, name, param) for param in shown]
        if rows:
            page.table(("option", "default", "meaning"), rows)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield the runnable commands below one, with their full names."""
    inner = getattr(command, "commands", {})
    if not inner or command.invoke_without_command:
        yield name, command
    for word, sub in inner.items():
        if not sub.hidden:
            yield from _commands(f"{name} {word}", sub)


def _word(param: Any) -> str:
    name = param.name.upper()
    return (name if param.required else f"[{name}]") + ("..." if param.nargs == -1 else "")


def _bare(param: Any) -> bool:
    return not param.opts[0].startswith("-")


def _parameter(page: Page, command: str, param: Any) -> tuple[str, str, str]:
    label = param.name.upper() if _bare(param) else ", ".join([*param.opts, *param.secondary_opts])
    about = plain(page.said(f"{command} {label}", param.help))
    if isinstance(param.default, Enum):
        about += " One of " + ", ".join(code(choice.value) for choice in type(param.default)) + "."
    if param.envvar:
        about += f" Environment: {code(param.envvar)}."
    value = param.default.value if isinstance(param.default, Enum) else param.default
    empty = value is None or value is False or value in ((), [])
    default = "required" if param.required else "" if empty else code(str(value))
    return code(label), default, about


def error_tree(page: Page) -> None:
    """Write the page on errors, from errors.py."""
    page.add(
        "# Errors", "Import them from `neuronmap_sql`; the command line exits with their code."
    )
    drawn = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    page.add(f"```text\n{inspect.cleandoc(drawn)}\n```")
    classes = [c for c in _tree(errors.NeuronMapError) if c.__module__ == errors.__name__]
    rows = []
    for error in classes:
        about = page.said(f"error {error.__name__}", vars(error).get("__doc__"))
        rows.append((code(error.__name__), str(error.exit_code), plain(about)))
        if error.__name__ not in drawn:
            page.gaps.append(f"error {error.__name__} in the tree of errors.py")
    page.table(("error", "exit code", "when"), rows)


def _tree(top: type[errors.NeuronMapError]) -> Iterator[type[errors.NeuronMapError]]:
    yield top
    for child in top.__subclasses__():
        yield from _tree(child)


def python(page: Page) -> None:
    """Write the page on the public face, `neuronmap_sql.__all__` and its docstrings."""
    page.add("# Python", plain(page.said("package", neuronmap_sql.__doc__)))
    for name in neuronmap_sql.__all__:
        thing = getattr(neuronmap_sql, name)
        if not inspect.isclass(thing):
            if callable(thing):
                _function(page, f"## {name}", name, thing)
        elif not issubclass(thing, Exception):  # errors have their own page
            page.add(f"## {name}", plain(page.said(f"class {name}", thing.__doc__)))
            for word, member in vars(thing).items():
                if not word.startswith("_"):
                    _function(page, f"### {name}.{word}", word, member)


def _function(page: Page, heading: str, name: str, thing: Any) -> None:
    page.add(heading)
    if not isinstance(thing, property):
        page.add(f"```python\n{name}{_signature(thing)}\n```")
    text = page.said(heading.lstrip("# "), thing.__doc__)
    opening, _, rest = text.partition("\n\n")
    page.add(plain(opening))
    if rest:
        page.add(f"```text\n{rest}\n```")


def _signature(thing: Any) -> str:
    """Return a function's signature as it is written, without `self`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    [node] = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)][:1]
    node.args.args = [a for a in node.args.args if a.arg not in {"self", "cls"}]
    return f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns) if node.returns else 'None'}"
