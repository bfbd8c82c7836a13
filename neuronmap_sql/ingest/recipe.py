"""Read a recipe (TOML) into settings, with errors that name file and key; write it back."""

from __future__ import annotations

import copy
import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

import tomli_w
from pydantic import TypeAdapter, ValidationError

from neuronmap_sql.errors import RecipeError, nearest
from neuronmap_sql.ingest.recipe_checks import TABLES, check_names, check_values, refuse_bad_text
from neuronmap_sql.ingest.settings import (
    CustomSite,
    DataSettings,
    ModelSettings,
    Recipe,
    SiteSettings,
)

__all__ = [
    "TABLES",
    "parse_recipe",
    "read_recipe",
    "read_toml",
    "recipe_from_flags",
    "rooted_data",
    "rooted_model",
    "to_toml",
    "validated",
]

Settings = TypeVar("Settings")
Model = TypeVar("Model", bound=ModelSettings)


def read_recipe(path: Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe file.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        overrides: values that take the place of the file's, by dotted key: `{"model.name": "a"}`,
            `{"sites.conv.module": "h.{layer}.conv"}`.

    Raises:
        RecipeError: it cannot be read, or a key or value is wrong; names file and key.
    """
    return parse_recipe(read_toml(path), str(path), path.parent, overrides or {})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        RecipeError: it cannot be read; names the nearest recipes.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        here = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise RecipeError(f"{path}: no such recipe{nearest(path.name, here)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error


def parse_recipe(
    raw: dict[str, Any], origin: str, base: Path, overrides: Mapping[str, Any] | None = None
) -> Recipe:
    """Check a recipe given as nested dictionaries; see `read_recipe`.

    Args:
        raw: what TOML gives.
        origin: what to call it in errors: the file, or `command line`.
        base: folder that relative paths of models and data start from.
        overrides: as in `read_recipe`.
    """
    recipe = validated(Recipe, raw, origin, overrides or {})
    check_values(recipe, origin)
    recipe = _rooted(recipe, base)
    check_names(recipe, origin)
    return recipe


def validated(
    kind: type[Settings], raw: dict[str, Any], origin: str, overrides: Mapping[str, Any]
) -> Settings:
    """Turn nested dictionaries into settings.

    Args:
        kind: a dataclass whose fields may be dataclasses, and tuples of them.
        raw: what TOML gives.
        origin: what to call it in errors.
        overrides: as in `read_recipe`.

    Raises:
        RecipeError: a key is unknown or missing, or a value of the wrong type; names the key.
    """
    refuse_bad_text(raw, origin)
    refuse_bad_text(dict(overrides), origin)
    raw = _with_overrides(raw, overrides)
    raw = _with_custom_sites(raw, origin)
    _refuse_unknown(raw, kind, origin, "")
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        raise RecipeError(_explain(error, origin)) from None


def recipe_from_flags(values: Mapping[str, Any]) -> Recipe:
    """Make a recipe of dotted keys alone, `{"model.source": ...}`; paths start from here.

    Raises:
        RecipeError: as `read_recipe`.
    """
    return parse_recipe({}, "command line", Path(), values)


def to_toml(recipe: Any) -> str:
    """Write a recipe as TOML, without the values that are the defaults."""
    return tomli_w.dumps(_changed(recipe))


def _changed(settings: Any) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        value = getattr(settings, item.name)
        if item.name == "custom":
            out |= {c.name: {"module": c.module, "capture": c.capture} for c in value}
        elif item.name == "use" and settings.custom:
            out["use"] = list(value)  # beside custom sites, `use` is empty by default
        elif dataclasses.is_dataclass(value):
            if inner := _changed(value):
                out[item.name] = inner
        elif isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
            out[item.name] = [_changed(one) for one in value]
        elif value not in (None, {}) and value != item.default:
            out[item.name] = list(value) if isinstance(value, tuple) else value
    return out


def _with_overrides(raw: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(raw)
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        target: Any = out
        for part in _tables(section):
            target = target.setdefault(part, {}) if isinstance(target, dict) else None
        if isinstance(target, dict):  # else the check of the section's type refuses it
            target[name] = value
    return out


def _tables(section: str) -> list[str]:
    # Only custom sites are tables in a table, [sites.NAME].
    first, _, name = section.partition(".")
    if first == "sites" and name and name not in get_type_hints(SiteSettings):
        return [first, name]
    return [section] if section else []


def _with_custom_sites(raw: dict[str, Any], origin: str) -> dict[str, Any]:
    """Turn the tables `[sites.NAME]` into the list `sites.custom`."""
    sites = raw.get("sites")
    if not isinstance(sites, dict):
        return raw
    plain = {k: v for k, v in sites.items() if not isinstance(v, dict)}
    if "custom" in plain:
        raise RecipeError(f"{origin}: unknown key 'sites.custom'; write [sites.NAME] module = ...")
    custom = []
    for name, table in sites.items():
        if isinstance(table, dict):
            _refuse_unknown(table, CustomSite, origin, f"sites.{name}.")
            if "module" not in table:
                raise RecipeError(f'{origin}: key sites.{name}.module is missing: module = "..."')
            custom.append({"name": name, **table})
    if custom:
        plain = {"use": (), **plain, "custom": custom}
    return {**raw, "sites": plain}


def _refuse_unknown(raw: dict[str, Any], kind: type, origin: str, prefix: str) -> None:
    hints = get_type_hints(kind)
    for key, value in raw.items():
        if key not in hints:
            raise RecipeError(f"{origin}: unknown key {prefix + key!r}{nearest(key, hints)}")
        several: tuple[Any, ...] = get_args(hints[key])[:1]
        if several and dataclasses.is_dataclass(several[0]):
            for one in value if isinstance(value, list | tuple) else ():
                if isinstance(one, dict):  # else the check of types refuses it
                    _refuse_unknown(one, cast("type", several[0]), origin, f"{key}.")
        elif dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise RecipeError(f"{origin}: {key!r} must be a table: [{key}]")
            _refuse_unknown(value, hints[key], origin, f"{key}.")


def _explain(error: ValidationError, origin: str) -> str:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] in {"missing", "missing_argument"}:
        section, _, name = key.rpartition(".")
        where = f"[{section}] {name} = ..." if section else f"[{name}] ..."
        return f"{origin}: key {key!r} is missing: add {where}"
    wrong = first["input"]
    known = first.get("ctx", {}).get("expected", "")
    choices = [x.strip("' ") for x in known.replace(" or ", ", ").split(",") if x]
    hint = nearest(wrong, choices) if isinstance(wrong, str) else ""
    return f"{origin}: {key} = {wrong!r}: {first['msg'][0].lower()}{first['msg'][1:]}{hint}"


def _rooted(recipe: Recipe, base: Path) -> Recipe:
    """Make the paths of a recipe absolute."""
    return dataclasses.replace(
        recipe, model=rooted_model(recipe.model, base), data=rooted_data(recipe.data, base)
    )


def rooted_model(model: Model, base: Path) -> Model:
    """Make paths absolute, and set the name; what is no path is a hub id or a family's name."""

    def rooted(source: str) -> str:
        path = base / _expanded(source)
        # os.path, because pathlib raises for names that are too long, and for loops of links.
        known = source.startswith((".", "/", "~")) or (source and os.path.exists(path))  # noqa: PTH110
        return os.path.realpath(path) if known else source

    family = model.family
    if family.endswith(".toml"):
        family = os.path.realpath(base / _expanded(family))

    return dataclasses.replace(
        model,
        name=model.name or model.key.partition("@")[0],
        source=rooted(model.source),
        family=family,
        tokenizer=rooted(model.tokenizer),
    )


def rooted_data(data: DataSettings, base: Path) -> DataSettings:
    """Make the path absolute, and set the name."""
    path = str(base.resolve() / _expanded(data.path))
    return dataclasses.replace(data, path=path, name=data.name or _stem(path))


def _expanded(path: str) -> Path:
    # Path.expanduser raises where there is no such user; this leaves the name as it is.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _stem(path: str) -> str:
    name = Path(path).name
    for ending in (".gz", ".xz", ".zst", ".jsonl", ".json", ".csv", ".parquet", ".txt"):
        name = name.removesuffix(ending)
    return name.strip("*") or Path(path).parent.name
