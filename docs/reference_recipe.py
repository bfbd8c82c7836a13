"""The page on recipes: the dataclasses of settings, and the strings under their fields."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

from reference_page import Page, code, plain

from neuronmap_sql.content import folder
from neuronmap_sql.ingest import settings
from neuronmap_sql.ingest.ablation import settings as ablation

__all__ = ["recipe"]

_TYPES = {
    "bool": "boolean",
    "float": "number",
    "float | None": "number",
    "Mapping[str, str]": "table of strings",
    "int": "integer",
    "str": "string",
    "tuple[str, ...]": "strings",
}


def recipe(page: Page) -> None:
    """Write the page on the keys of recipes, from the modules of settings."""
    page.add(
        "# Recipes",
        "A recipe is a TOML file; `neuronmap ingest` also takes its keys as options.",
    )
    classes = _classes(settings)
    sections = {
        ast.unparse(node.target): ast.unparse(node.annotation)
        for node in classes["Recipe"].body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) in classes
    }
    _section(page, "Top level", classes["Recipe"], set(sections))
    for name, kind in sections.items():
        _section(page, f"[{name}]", classes[kind], {"custom"})
        if name == "sites":
            _section(page, "[sites.NAME]", classes["CustomSite"], {"name"})
    _section(page, "Ablations", _classes(ablation)["Ablation"], {"data", "models"})
    page.add("`[data]` is that of an ingest, and each of `[[models]]` is as its `[model]`.")
    names = sorted(path.stem for path in (folder("ingest") / "families").glob("*.toml"))
    page.add("## Families", "Values of `model.family`: " + ", ".join(map(code, names)) + ".")


def _classes(module: ModuleType) -> dict[str, ast.ClassDef]:
    source = Path(inspect.getfile(module)).read_text(encoding="utf-8")
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def _section(page: Page, title: str, node: ast.ClassDef, hidden: set[str]) -> None:
    """Write the keys of one TOML table; `hidden` fields are written otherwise."""
    page.add(f"## {title}", plain(page.said(f"class {node.name}", ast.get_docstring(node))))
    rows = []
    for item, after in zip(node.body, [*node.body[1:], ast.Pass()], strict=True):
        if not isinstance(item, ast.AnnAssign) or ast.unparse(item.target) in hidden:
            continue
        name = ast.unparse(item.target)
        about = page.said(f"setting {node.name}.{name}", _string(after))
        default = "required" if item.value is None else code(_toml(ast.unparse(item.value)))
        rows.append((code(name), _type(ast.unparse(item.annotation)), default, plain(about)))
    page.table(("key", "type", "default", "meaning"), rows)


def _string(node: ast.stmt) -> str:
    """Return the string that a statement consists of, if it does."""
    value = node.value if isinstance(node, ast.Expr) else None
    return str(value.value) if isinstance(value, ast.Constant) else ""


def _type(annotation: str) -> str:
    if annotation.startswith("Literal["):
        return " or ".join(code(word) for word in re.findall(r"'(\w+)'", annotation))
    return _TYPES[annotation]


def _toml(value: str) -> str:
    """Return a Python default as it stands in TOML; None is an absent key."""
    value = re.sub(r"^\((.*?),?\)$", r"[\1]", value).replace("'", '"')
    python = {"field(default_factory=dict)": "{}", "True": "true", "False": "false", "None": ""}
    return python.get(value, value)
