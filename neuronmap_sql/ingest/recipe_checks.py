"""What a recipe may say: values within bounds, names that can be keys, text that is text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from neuronmap_sql.errors import RecipeError, UsageError, nearest
from neuronmap_sql.ingest.settings import ModelSettings, Recipe
from neuronmap_sql.warehouse.names import check

__all__ = [
    "TABLES",
    "check_keys",
    "check_model",
    "check_names",
    "check_sites",
    "check_values",
    "refuse_bad_text",
]

TABLES = (
    *("stats", "top", "samples", "weights"),
    *("activations", "int8", "firings", "matrices", "vectors"),
)
"""What `keep.tables` may name."""

_POOLS = ("mean", "last", "first", "max")

_LARGEST = 65_504
"""The largest float16, in which values are kept."""

_MOST = 2**31 - 1
"""No count of a recipe is larger: more tokens cannot be told apart."""

_LEAST = {
    **dict.fromkeys(("keep.top_k", "keep.sampled_tokens"), 1),
    **dict.fromkeys(("keep.sample_bins", "keep.samples_per_bin"), 1),
    **dict.fromkeys(("data.limit", "data.context", "data.overlap"), 0),
    **dict.fromkeys(("batch.tokens", "batch.shard_tokens", "weights.tokens"), 0),
}
"""The least value of every count."""

_MEMORY = re.compile(r"\d+(\.\d+)?[KMG]i?B", re.IGNORECASE)

_SURROGATE = re.compile("[\ud800-\udfff]")

_DEEPEST = 16
"""Tables and lists inside each other: recipes need three, and Python's own depth is limited."""


def check_values(recipe: Recipe, origin: str) -> None:
    """Make sure that numbers and choices are within their bounds, and fit each other.

    Raises:
        RecipeError: one is not; names the key.
    """
    keep, data = recipe.keep, recipe.data
    _check_among(f"{origin}: keep.tables", keep.tables, TABLES)
    _check_among(f"{origin}: keep.pool", keep.pool, _POOLS)
    for key, least in _LEAST.items():
        section, _, name = key.partition(".")
        _check_between(f"{origin}: {key}", getattr(getattr(recipe, section), name), least)
    _check_between(f"{origin}: seed", recipe.seed, 0)
    if keep.sample_bins > keep.sampled_tokens:
        raise RecipeError(f"{origin}: keep.sample_bins is above keep.sampled_tokens")
    if not 0 < keep.firings_fraction <= 1:
        raise RecipeError(f"{origin}: keep.firings_fraction must be in (0, 1]")
    if keep.firings_threshold is not None and not abs(keep.firings_threshold) <= _LARGEST:
        raise RecipeError(f"{origin}: keep.firings_threshold must be within {_LARGEST:,}: float16")
    if data.context and data.overlap >= data.context:
        raise RecipeError(f"{origin}: data.overlap must be smaller than data.context")
    if not keep.tables:
        raise RecipeError(f"{origin}: keep.tables is empty; known: {', '.join(TABLES)}")
    if not recipe.sites.use and not recipe.sites.custom and keep.tables != ("weights",):
        raise RecipeError(f"{origin}: sites.use is empty: name at least one site, such as 'mlp'")
    check_model(recipe.model, origin)
    if not recipe.model.source or not recipe.data.path:
        raise RecipeError(f"{origin}: model.source and data.path must not be empty")


def check_model(model: ModelSettings, origin: str) -> None:
    """Refuse limits that mean nothing, or a device beside a map of devices.

    Raises:
        RecipeError: names the key.
    """
    if model.device_map == "none":
        if model.max_memory:
            raise RecipeError(f'{origin}: model.max_memory needs model.device_map = "auto"')
        return
    if model.device != "auto":
        raise RecipeError(
            f"{origin}: model.device = {model.device!r} and model.device_map ="
            f" {model.device_map!r}: leave one of them out"
        )
    for place, most in model.max_memory.items():
        key = f"{origin}: model.max_memory.{place} = {most!r}"
        if not (place.isdigit() or place in {"cpu", "disk"}):
            raise RecipeError(f"{key}: a place is the number of a GPU, cpu or disk")
        if not _MEMORY.fullmatch(most):
            raise RecipeError(f"{key}: write a number and KB, MB, GB, KiB, MiB or GiB")


def check_names(recipe: Recipe, origin: str) -> None:
    """Make sure that model, dataset and custom sites can be keys of the warehouse.

    Raises:
        RecipeError: one cannot; names the key and the reason.
    """
    check_keys([recipe.model.key], recipe.data.name, origin)
    check_sites((site.name for site in recipe.sites.custom), origin)


def check_keys(models: Iterable[str], dataset: str, origin: str) -> None:
    """Make sure that models and dataset can be keys of the warehouse; see `check_names`."""
    for model in models:
        _check(model, f"{origin}: model.name")
    _check(dataset, f"{origin}: data.name")


def check_sites(sites: Iterable[str], origin: str) -> None:
    """Make sure that the sites of one recipe can be keys, and their folders lie side by side.

    Raises:
        RecipeError: one cannot, or two differ in capitals only.
    """
    known: dict[str, str] = {}
    for site in sites:
        _check(site, f"{origin}: site")
        other = known.setdefault(site.lower(), site)
        if other != site:
            raise RecipeError(
                f"{origin}: the sites {other!r} and {site!r} differ in capitals only, and macOS"
                " and Windows take their folders for one: rename one of them"
            )


def refuse_bad_text(raw: object, origin: str) -> None:
    """Refuse lone surrogates in the keys and texts of a recipe, and NUL but in its title.

    TOML has no surrogates; on a command line they stand for bytes that are no UTF-8.

    Args:
        raw: nested dictionaries, as TOML gives them.
        origin: what to call the recipe in errors.

    Raises:
        RecipeError: names the key.
    """
    for key, text in _texts(raw, origin):
        if _SURROGATE.search(text):
            raise RecipeError(f"{origin}: {key} = {text!r}: holds bytes that are no UTF-8")
        if "\0" in text and key != "title":
            raise RecipeError(f"{origin}: {key} = {text!r}: holds a NUL character")


def _texts(value: object, origin: str, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the texts in a recipe, keys too, each with its key."""
    key = ".".join(part for part in path if part != "[]") or "a key"
    if len(path) > _DEEPEST:
        raise RecipeError(f"{origin}: {key}: nested too deeply")
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield key, str(name)
            yield from _texts(inner, origin, (*path, str(name)))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, origin, (*path, "[]"))


def _check_among(key: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    for value in values:
        if value not in known:
            raise RecipeError(f"{key}: unknown {value!r}{nearest(value, known)}")


def _check_between(key: str, value: int, least: int) -> None:
    if value < least:
        raise RecipeError(f"{key} = {value}: must be at least {least}")
    if value > _MOST:
        raise RecipeError(f"{key} = {value}: must be at most {_MOST:,}")


def _check(name: str, key: str) -> None:
    try:
        check(name, key)
    except UsageError as error:
        raise RecipeError(str(error)) from None
