"""Read the recipe of a comparison (TOML), with errors that name file and key."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronmap_sql.errors import RecipeError, UsageError
from neuronmap_sql.ingest.comparison.blocks import memory_bytes
from neuronmap_sql.ingest.comparison.settings import Comparison
from neuronmap_sql.ingest.recipe import read_toml, rooted_data, rooted_model, validated
from neuronmap_sql.ingest.recipe_checks import check_keys, check_model

__all__ = ["parse_comparison", "read_comparison"]


def read_comparison(path: Path, overrides: Mapping[str, Any] | None = None) -> Comparison:
    """Read the recipe of a comparison.

    Args:
        path: a TOML file; relative paths in it are relative to its folder.
        overrides: values that take the place of the file's, by dotted key: `{"keep.top_k": 10}`.

    Raises:
        RecipeError: it cannot be read, or a key or value is wrong; names file and key.
    """
    return parse_comparison(read_toml(path), str(path), path.parent, overrides)


def parse_comparison(
    raw: dict[str, Any], origin: str, base: Path, overrides: Mapping[str, Any] | None = None
) -> Comparison:
    """Check the recipe of a comparison given as nested dictionaries; see `read_comparison`."""
    found = validated(Comparison, raw, origin, overrides or {})
    _check(found, origin)
    models = tuple(rooted_model(model, base) for model in found.models)
    found = dataclasses.replace(found, models=models, data=rooted_data(found.data, base))
    names = [model.key for model in models]
    for name in names:
        if names.count(name) > 1:
            raise RecipeError(
                f"{origin}: two models are called {name!r}: give one a name or revision of its own"
            )
    check_keys(names, found.data.name, origin)
    return found


def _check(found: Comparison, origin: str) -> None:
    keep = found.keep
    if len(found.models) < 2:
        raise RecipeError(f"{origin}: {len(found.models)} [[models]]: a comparison needs two")
    for model in found.models:
        check_model(model, origin)
    if keep.top_k < 1 or keep.draws < 1:
        raise RecipeError(f"{origin}: keep.top_k and keep.draws must be at least 1")
    if found.seed < 0 or found.work.batch_tokens < 0:
        raise RecipeError(f"{origin}: seed and work.batch_tokens must be at least 0")
    try:
        memory_bytes(found.work.memory)
    except UsageError as error:
        raise RecipeError(f"{origin}: {error}") from None
