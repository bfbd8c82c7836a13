"""Read the recipe of an ablation (TOML), with errors that name file and key."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from neuronmap_sql.errors import RecipeError, UsageError
from neuronmap_sql.ingest.ablation.settings import Ablation
from neuronmap_sql.ingest.recipe import read_toml, rooted_data, rooted_model, validated
from neuronmap_sql.ingest.recipe_checks import check_keys, check_model, check_sites
from neuronmap_sql.warehouse.names import check

__all__ = ["data_keys", "parse_ablation", "read_ablation"]

_LEAST = {"controls": 0, "limit": 0, "keep_tokens": 0, "batch_tokens": 0, "seed": 0}


def read_ablation(path: Path, overrides: Mapping[str, Any] | None = None) -> Ablation:
    """Read the recipe of an ablation.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        overrides: values that take the place of the file's, by dotted key: `{"controls": 10}`.

    Raises:
        RecipeError: it cannot be read, or a key or value is wrong; names file and key.
    """
    return parse_ablation(read_toml(path), str(path), path.parent, overrides)


def parse_ablation(
    raw: dict[str, Any], origin: str, base: Path, overrides: Mapping[str, Any] | None = None
) -> Ablation:
    """Check the recipe of an ablation given as nested dictionaries; see `read_ablation`."""
    found = validated(Ablation, raw, origin, overrides or {})
    _check(found, origin)
    models = tuple(rooted_model(model, base) for model in found.models)
    found = dataclasses.replace(found, models=models, data=rooted_data(found.data, base))
    check_keys([model.key for model in models], found.data.name, origin)
    check_sites([found.site], origin)
    return found


def data_keys(con: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """Return keys of a recipe for a path, or for the name of a dataset in the warehouse.

    Args:
        con: connection of the warehouse.
        text: a path, or, where no such file is there, perhaps a name.

    Raises:
        UsageError: the dataset was imported, so that no recipe says how to read it.
    """
    if Path(text).is_file():
        return {"data.path": text}
    stored = con.sql(
        "SELECT recipe FROM runs WHERE kind IN ('docs', 'import') AND dataset = $text",
        params={"text": text},
    ).fetchall()
    if not stored:
        return {"data.path": text}
    raw = tomllib.loads(stored[0][0] or "")
    if "path" not in raw.get("data", {}):
        raise UsageError(f"the documents of {text!r} were imported: name a file of them")
    return {"data": raw["data"]}


def _check(found: Ablation, origin: str) -> None:
    for model in found.models:
        check_model(model, origin)
    for key, least in _LEAST.items():
        if getattr(found, key) < least:
            raise RecipeError(f"{origin}: {key} must be at least {least}")
    if (found.mode == "value") != (found.value is not None):
        raise RecipeError(f'{origin}: value and mode = "value" go together: give both, or none')
    if found.value is not None and not math.isfinite(found.value):
        raise RecipeError(f"{origin}: value = {found.value}: must be a finite number")
    try:
        check(found.experiment, "name")
    except UsageError as error:
        raise RecipeError(f"{origin}: {error}") from None
