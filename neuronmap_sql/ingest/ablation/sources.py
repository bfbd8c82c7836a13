"""Where the models of an ablation are loaded from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import duckdb

from neuronmap_sql.errors import ModelError, UnknownNameError, UsageError
from neuronmap_sql.ingest.models.families import families
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["load_from", "model_settings", "source_keys"]

_WAY_OUT = "say where it is with --model NAME=SOURCE"


def model_settings(
    con: duckdb.DuckDBPyConnection, names: Collection[str], given: Sequence[ModelSettings]
) -> dict[str, ModelSettings]:
    """Return what to load for each model, from the table `models` unless it is given.

    A source that the warehouse names is loaded with the defaults: no pickle, no remote code.

    Raises:
        UnknownNameError: a model is neither stored nor given, or one is given that is not wanted.
        UsageError: a model was a PyTorch object, which cannot be loaded again.
    """
    mine = {model.key: model for model in given}
    for name in mine:
        if name not in names:
            raise UnknownNameError.of("model among the chosen neurons", name, names)
    rows = con.sql("SELECT model, source, name, revision, family, weights_format FROM models")
    stored = {row[0]: row[1:] for row in rows.fetchall()}
    for name in names:
        if name in mine:
            continue
        if name not in stored:
            raise UnknownNameError.of("stored model", name, stored, _WAY_OUT)
        source, plain, revision, family, kind = stored[name]
        if kind == "module":
            raise UsageError(f"{name} was a PyTorch object in memory, not a file: {_WAY_OUT}")
        known = family if family in {*families(), "find"} else "auto"
        mine[name] = ModelSettings(source, plain, revision or "", family=known)
    return mine


def source_keys(sources: Mapping[str, str]) -> dict[str, Any]:
    """Return keys of a recipe that say where models are, by the names that they have here."""
    models = []
    for key, source in sources.items():
        name, _, revision = key.partition("@")
        models.append({"source": source, "name": name, "revision": revision})
    return {"models": models} if models else {}


def load_from(settings: ModelSettings) -> LoadedModel:
    """Load a model.

    Raises:
        ModelError: as `load`, with the way out.
    """
    try:
        return load(settings)
    except ModelError as error:
        raise ModelError(f"{settings.key}: {error}; or {_WAY_OUT}") from error
