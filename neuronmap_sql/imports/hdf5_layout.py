"""The classic layout of pooled vectors in HDF5, and what its names mean here.

    @model_name @dataset @pool @tokenizer            of the file; all but the first are ours
    questions/<question>                             the text
    activations/<question>/                          @doc_id, and a label an attribute
    activations/<question>/<layer>/vector            [width]
    activations/<question>/<layer>/                  @mean @std @min @max @sparsity, also as JSON in
                                                     @stats; @shape; ours: @site @layer @n_tokens

`<question>` is question_0, question_1, ...; `<layer>` is a module path with _ for each dot, such as
transformer_h_5_mlp_c_proj. After the files of the NeuronMap project (Emilio942/NeuronMap).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from neuronmap_sql.errors import DataError
from neuronmap_sql.imports.delimited import shown

__all__ = ["POOLS", "STATS", "TEXTS", "Place", "Told", "natural", "place_of", "places_of", "told"]

POOLS = ("mean", "last", "first", "max")
"""How a document's tokens may have been pooled."""

STATS = {
    "mean": "mean",
    "std": "standard_deviation",
    "min": "min",
    "max": "max",
    "sparsity": "fraction_zero",
}
"""Statistics of a vector: attribute, column of `vector_stats`. `sparsity` is P(x = 0)."""

TEXTS = ("text", "question", "prompt")
"""Attributes or datasets of a question that hold its text, where `questions` does not."""

_NUMBER = re.compile(r"(?<![^\W_])\d+(?![^\W_])", re.ASCII)
"""A number that stands alone between dots, underscores and the like."""
_ATTACHED = re.compile(r"(?<=layer|block)\d+", re.ASCII | re.IGNORECASE)
"""Else one that follows such a word."""


@dataclass(frozen=True)
class Place:
    """Where in a model a layer's group belongs."""

    site: str
    """Site."""
    layer: int
    """Layer."""


@dataclass(frozen=True)
class Told:
    """What the attributes of a layer's group and of its vector tell."""

    stats: dict[str, float | None]
    """Statistics by column of `vector_stats`."""
    tokens: int | None
    """Tokens pooled."""
    rest: dict[str, Any]
    """All others."""


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts question_10 after question_9."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts)


def place_of(name: str, given: Mapping[str, Any], site: str | None) -> Place:
    """Return what site and layer a group is of.

    Args:
        name: the group's name: its first number is the layer, and the site is called after the
            rest: transformer_h_5_mlp is layer 5 of transformer_h_mlp. Without a number: layer 0.
        given: its attributes; `site` and `layer` among them are taken at their word.
        site: the site, if the user says so.
    """
    number = _NUMBER.search(name) or _ATTACHED.search(name)
    layer = given.get("layer", int(number[0]) if number else 0)
    if type(layer) is not int or not 0 <= layer < 2**31:
        raise DataError(f"layer {shown(name)}: {shown(str(layer))} is no index of a layer")
    rest = f"{name[: number.start()]}{name[number.end() :]}" if number else name
    called = re.sub(r"([._-])[._-]+", r"\1", rest).strip("._- ")
    told = given.get("site")
    return Place(site or (told if isinstance(told, str) and told else called or "layer"), layer)


def places_of(groups: Mapping[str, Mapping[str, Any]], site: str | None) -> dict[str, Place]:
    """Return the places of layers' groups by name.

    Raises:
        DataError: two would have one place, or a number is no layer.
    """
    found: dict[str, Place] = {}
    taken: dict[Place, str] = {}
    for name, given in groups.items():
        place = place_of(name, given, site)
        other = taken.setdefault(place, name)
        if other != name:
            raise DataError(
                f"layers {shown(other)} and {shown(name)} would both be site {place.site!r}, layer"
                f" {place.layer}: {'do not give a site' if site else 'rename one in the file'}"
            )
        found[name] = place
    return found


def told(group: Mapping[str, Any], vector: Mapping[str, Any], width: int) -> Told:
    """Return what the attributes of a layer's group, and of the vector in it, tell."""
    listed = _object(group.get("stats"))
    stats = {column: _first(name, (group, vector, listed)) for name, column in STATS.items()}
    rest = {name: value for name, value in group.items() if name not in ("site", "layer")}
    if rest.get("shape") == [width]:
        del rest["shape"]
    tokens = rest.get("n_tokens")
    count = rest.pop("n_tokens") if type(tokens) is int and 0 <= tokens < 2**31 else None
    rest = _others(rest, stats)
    for name, inner in (("stats", listed), ("vector", vector)):
        if inner:
            rest.pop(name, None)
        if others := _others(inner, stats):
            rest[name] = others
    return Told(stats, count, rest)


def _first(name: str, places: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the first number of that name."""
    numbers = (_number(place.get(name)) for place in places)
    return next((number for number in numbers if number is not None), None)


def _others(given: Mapping[str, Any], stats: Mapping[str, float | None]) -> dict[str, Any]:
    """Return the attributes that are not among the statistics, or differ from them."""
    return {
        name: value
        for name, value in given.items()
        if _number(value) is None or stats.get(STATS.get(name, "")) != _number(value)
    }


def _object(text: Any) -> dict[str, Any]:
    """Return a JSON object that is an attribute's text; empty if it is none."""
    with suppress(ValueError, TypeError, RecursionError):
        found = json.loads(text, parse_constant=str)
        return found if isinstance(found, dict) else {}
    return {}


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < 1e308 else None
