"""Resolve the sites that a recipe asks for into hooks, checked against the model itself.

Every module is looked up and one short forward pass measures what goes through it, so a wrong map
fails here, with the nearest module names, and never in the middle of an ingest.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from torch import nn

from neuronmap_sql.errors import ModelError, RecipeError, UnknownNameError
from neuronmap_sql.ingest.models.aliases import parse_layers, requested
from neuronmap_sql.ingest.models.families import Family, SiteMap, Stack
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.models.probing import Place, measure, missing, modules
from neuronmap_sql.ingest.models.weights_map import oriented
from neuronmap_sql.ingest.settings import CustomSite, SiteSettings

__all__ = ["resolve"]


def resolve(
    model: nn.Module, family: Family | None, sites: SiteSettings, full: nn.Module | None = None
) -> list[Hook]:
    """Return the hooks of a recipe's sites, in forward order, with measured widths.

    Args:
        model: the backbone; module paths are relative to it. The spelling of the full model, with
            `transformer.` or `model.` in front, is understood too.
        family: its family, or None when only custom sites are used.
        sites: what the recipe asks for.
        full: the model with its head, if that may be recorded too: a custom site whose module only
            the full model has, such as `lm_head`. Their hooks come last.

    Raises:
        UnknownNameError: no such site or layer.
        ModelError: the map does not fit the model; names the nearest modules.
    """
    places = _of_names(model, family, sites)
    outside: list[Place] = []
    for custom in sites.custom:
        if any(place.site == custom.name for place in places):
            raise RecipeError(f"[sites.{custom.name}]: the name is taken by a site of the family")
        if full is not None and _only_in(full, model, custom.module):
            outside.append(Place(custom.name, custom.module, custom.capture, "custom", 0))
        else:
            places += _of_custom(model, custom, sites.layers)
    if not places and not outside:
        raise RecipeError("no sites: add names to use under [sites], or a [sites.NAME] table")
    hooks = measure(model, places) if places else []
    if full is not None and outside:
        hooks += measure(full, outside)
    if family is not None:
        _check_widths(model, family, hooks)
    return hooks


def _only_in(full: nn.Module, backbone: nn.Module, path: str) -> bool:
    known = {name for name, _ in backbone.named_modules()}
    base = f"{getattr(full, 'base_model_prefix', '')}."
    within = path in known or path.startswith(base)
    return not within and path in {name for name, _ in full.named_modules()}


def _of_names(model: nn.Module, family: Family | None, sites: SiteSettings) -> list[Place]:
    if family is None and sites.use:
        raise UnknownNameError(
            f"no family says where {sites.use[0]!r} is in this model: name one under [model], "
            'or family = "find", or use = [] and hook modules by path with [sites.NAME]'
        )
    places: dict[tuple[str, Any], Place] = {}
    for name in sites.use:
        for place in _of_family(model, family, name, sites.layers):  # type: ignore[arg-type]
            known = places.get((place.site, place.layer))
            places[place.site, place.layer] = _both(known, place) if known else place
    return list(places.values())


def _both(one: Place, other: Place) -> Place:
    layers = {*one.layers, *other.layers} if one.layer is None else ()
    return replace(one, layers=tuple(sorted(layers)))


def _of_family(model: nn.Module, family: Family, name: str, layers: str) -> list[Place]:
    config = getattr(model, "config", None)
    site, layer = requested(name, family)
    stack = next(stack for stack in family.stacks if site in stack.sites)
    count = _attribute(config, stack.layers, family)
    chosen = parse_layers(layers if layer is None else str(layer), count)
    heads = _attribute(config, site.heads, family) if site.heads else None
    place = Place(site.name, site.module, site.capture, site.kind, None, heads=heads)
    if "{layer}" not in site.module:
        return [replace(place, layers=tuple(chosen), calls=count, alias=site.alias)]
    return [_at(place, site, n) for n in chosen]


def _at(place: Place, site: SiteMap, layer: int) -> Place:
    alias = site.alias and site.alias.replace("{layer}", str(layer))
    pattern = site.module.replace("{layer}", str(layer))
    return replace(place, layer=layer, pattern=pattern, alias=alias)


def _of_custom(model: nn.Module, site: CustomSite, layers: str) -> list[Place]:
    path = _known_spelling(model, site.module)
    place = Place(site.name, path, site.capture, "custom", None)
    if "{layer}" not in path:
        return [place]
    matcher = re.compile(re.escape(path).replace(r"\{layer\}", r"(\d+)"))
    matches = (matcher.fullmatch(name) for name, _ in model.named_modules())
    indices = [int(match[1]) for match in matches if match]
    if not indices:
        raise ModelError(missing(model, path, site.name))
    return [
        replace(place, layer=layer, pattern=path.replace("{layer}", str(layer)))
        for layer in parse_layers(layers, max(indices) + 1)
    ]


def _known_spelling(model: nn.Module, path: str) -> str:
    """Take off the name that the backbone has in the full model, if that makes the path right."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    first = path.removeprefix(prefix).split(".")[0]
    children = {name for name, _ in model.named_children()}
    return path.removeprefix(prefix) if path.startswith(prefix) and first in children else path


def _attribute(config: object, name: str, family: Family) -> int:
    value = getattr(config, name, None)
    if not isinstance(value, int):
        raise ModelError(
            f"family {family.name!r} does not fit this model: its configuration has no number "
            f'{name!r}; set another family under [model], or family = "find"'
        )
    return value


def _check_widths(model: nn.Module, family: Family, hooks: list[Hook]) -> None:
    """Refuse a map whose widths contradict the configuration or the weights it names."""
    expected = getattr(model.config, family.config.get("d_model", "hidden_size"), None)
    for hook in hooks:
        if hook.kind == "residual" and expected not in (None, hook.width):
            raise ModelError(
                f"site {hook.site!r}: the {hook.capture} of {hook.module!r} has {hook.width} "
                f"units, but the residual stream of this model has {expected}"
            )
        stack = _stack_of(family, hook.site)
        if hook.site.rpartition(".")[2] == "mlp" and stack and stack.weights.w_out:
            _check_neurons(model, stack, hook)


def _stack_of(family: Family, site: str) -> Stack | None:
    return next((s for s in family.stacks if any(m.name == site for m in s.sites)), None)


def _check_neurons(model: nn.Module, stack: Stack, hook: Hook) -> None:
    pattern = stack.weights.gate_up or stack.weights.w_in
    place = Place(hook.site, pattern.replace("{layer}", str(hook.layer)), "output", "mlp", 0)
    path, module = modules(model, place)[0]
    shape = tuple(oriented(module).shape)
    if hook.width * (2 if stack.weights.gate_up else 1) != shape[0]:
        raise ModelError(
            f"site {hook.site!r}: the {hook.capture} of {hook.module!r} has {hook.width} units, "
            f"but the input weights {path!r} are {list(shape)}: these are not its neurons"
        )
