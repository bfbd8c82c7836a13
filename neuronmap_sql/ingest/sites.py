"""Resolve the sites that a recipe asks for into hooks, checked against the model itself.

Every module is looked up and one short forward pass measures what goes through it, so a wrong map
fails here, with the nearest module names, and never in the middle of an ingest.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError, RecipeError, UnknownNameError, nearest
from neuronmap_sql.ingest.aliases import parse_layers, requested
from neuronmap_sql.ingest.families import Family, SiteMap, Stack
from neuronmap_sql.ingest.forward import Hook, attach, forward
from neuronmap_sql.ingest.settings import CustomSite, SiteSettings

__all__ = ["resolve"]

_PROBE = (2, 5)
"""Batch and positions of the probe: unequal, so that a transposed tensor shows."""


@dataclass(frozen=True)
class _Place:
    """Modules to hook for one site: one module a layer, or one (or a few) called for many."""

    site: str
    pattern: str
    capture: Literal["input", "output"]
    kind: str
    layer: int | None
    """None: the layers are the calls, in their order."""
    layers: str | tuple[int, ...] = "all"
    """For a place whose layers are calls: which to keep."""
    calls: int | None = None
    """For such a place: the number of calls that there must be."""
    heads: int | None = None
    alias: str | None = None


@dataclass(frozen=True)
class _Event:
    """One call of a hooked module in the probe."""

    place: _Place
    module: str
    call: int
    shape: tuple[int, ...]


def resolve(model: nn.Module, family: Family | None, sites: SiteSettings) -> list[Hook]:
    """Return the hooks of a recipe's sites, in forward order, with measured widths.

    Args:
        model: the backbone; module paths are relative to it. The spelling of the full model, with
            `transformer.` or `model.` in front, is understood too.
        family: its family, or None when only custom sites are used.
        sites: what the recipe asks for.

    Raises:
        UnknownNameError: no such site or layer.
        ModelError: the map does not fit the model; names the nearest modules.
    """
    places = _places(model, family, sites)
    hooks = _measure(model, places)
    if family is not None:
        _check_widths(model, family, hooks)
    return hooks


def _places(model: nn.Module, family: Family | None, sites: SiteSettings) -> list[_Place]:
    if family is None and sites.use:
        raise UnknownNameError(
            f"no family says where {sites.use[0]!r} is in this model: name one under [model], "
            'or family = "find", or use = [] and hook modules by path with [sites.NAME]'
        )
    places: dict[tuple[str, Any], _Place] = {}
    for name in sites.use:
        for place in _of_family(model, family, name, sites.layers):  # type: ignore[arg-type]
            known = places.get((place.site, place.layer))
            places[place.site, place.layer] = _both(known, place) if known else place
    for custom in sites.custom:
        if any(site == custom.name for site, _ in places):
            raise RecipeError(f"[sites.{custom.name}]: the name is taken by a site of the family")
        places |= {(p.site, p.layer): p for p in _of_custom(model, custom, sites.layers)}
    if not places:
        raise RecipeError("no sites: add names to use under [sites], or a [sites.NAME] table")
    return list(places.values())


def _both(one: _Place, other: _Place) -> _Place:
    layers = {*one.layers, *other.layers} if one.layer is None else ()
    return replace(one, layers=tuple(sorted(layers)))  # type: ignore[type-var]


def _of_family(model: nn.Module, family: Family, name: str, layers: str) -> list[_Place]:
    config = getattr(model, "config", None)
    site, layer = requested(name, family)
    stack = next(stack for stack in family.stacks if site in stack.sites)
    count = _attribute(config, stack.layers, family)
    chosen = parse_layers(layers if layer is None else str(layer), count)
    heads = _attribute(config, site.heads, family) if site.heads else None
    place = _Place(site.name, site.module, site.capture, site.kind, None, heads=heads)
    if "{layer}" not in site.module:
        return [replace(place, layers=tuple(chosen), calls=count, alias=site.alias)]
    return [_at(place, site, n) for n in chosen]


def _at(place: _Place, site: SiteMap, layer: int) -> _Place:
    alias = site.alias and site.alias.format(layer=layer)
    pattern = site.module.replace("{layer}", str(layer))
    return replace(place, layer=layer, pattern=pattern, alias=alias)


def _of_custom(model: nn.Module, site: CustomSite, layers: str) -> list[_Place]:
    path = _known_spelling(model, site.module)
    place = _Place(site.name, path, site.capture, "custom", None)
    if "{layer}" not in path:
        return [place]
    matcher = re.compile(re.escape(path).replace(r"\{layer\}", r"(\d+)"))
    matches = (matcher.fullmatch(name) for name, _ in model.named_modules())
    indices = [int(match[1]) for match in matches if match]
    if not indices:
        raise ModelError(_missing(model, path, site.name))
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


def _measure(model: nn.Module, places: list[_Place]) -> list[Hook]:
    events = _probe(model, places)
    hooks = []
    for place in places:
        mine = [event for event in events if event.place is place]
        hooks += _hooks(model, place, mine)
    order = {(id(e.place), e.module, e.call): n for n, e in enumerate(events)}
    return [hook for _, hook in sorted(hooks, key=lambda pair: order[pair[0]])]


def _probe(model: nn.Module, places: list[_Place]) -> list[_Event]:
    events: list[_Event] = []
    calls: Counter[tuple[int, str]] = Counter()
    handles = []

    def note(place: _Place, path: str, tensor: Tensor) -> None:
        key = (id(place), path)
        events.append(_Event(place, path, calls[key], tuple(tensor.shape)))
        calls[key] += 1

    for place in places:
        for path, module in _modules(model, place):
            take = lambda tensor, place=place, path=path: note(place, path, tensor)  # noqa: E731
            handles.append(attach(module, place.capture, take))
    try:
        probe(model)
    finally:
        for handle in handles:
            handle.remove()
    return events


def probe(model: nn.Module) -> None:
    """Run the short forward pass whose shapes are looked at.

    Raises:
        ModelError: the model does not run on token ids.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    vocabulary = getattr(getattr(model, "config", None), "vocab_size", 8)
    ids = torch.arange(_PROBE[0] * _PROBE[1], device=device).reshape(_PROBE) % vocabulary
    training = model.training
    try:
        with torch.no_grad():
            forward(model.eval(), ids, torch.ones_like(ids))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"the model does not run on token ids: {error}") from error
    finally:
        model.train(training)


def _modules(model: nn.Module, place: _Place) -> list[tuple[str, nn.Module]]:
    pattern = re.compile(re.escape(place.pattern).replace(r"\*", r"\d+"))
    found = [(name, module) for name, module in model.named_modules() if pattern.fullmatch(name)]
    if not found:
        raise ModelError(_missing(model, place.pattern, place.site))
    return found


def _missing(model: nn.Module, path: str, site: str) -> str:
    names = [name for name, _ in model.named_modules() if name]
    if "{layer}" in path or "*" in path:
        names = [re.sub(r"\.\d+(?=\.|$)", ".{layer}", name) for name in names]
    hint = nearest(path, names) or "; list the modules with `model.named_modules()`"
    return f"site {site!r}: {type(model).__name__} has no module {path!r}{hint}"


def _hooks(model: nn.Module, place: _Place, events: list[_Event]) -> list[tuple[Any, Hook]]:
    _check_calls(place, events)
    if place.layer is not None:
        return [_hook(place, events[0], place.layer, None)]
    chosen = parse_layers("all", len(events)) if place.layers == "all" else place.layers
    often = Counter(event.module for event in events)
    return [
        _hook(place, event, layer, event.call if often[event.module] > 1 else None)
        for layer, event in enumerate(events)
        if layer in chosen
    ]


def _check_calls(place: _Place, events: list[_Event]) -> None:
    expected = 1 if place.layer is not None else place.calls
    if events and expected in (None, len(events)):
        return
    wanted = "" if expected is None else f" instead of {expected}"
    raise ModelError(
        f"site {place.site!r}: a forward pass calls {place.pattern!r} {len(events)} times{wanted}; "
        "another module is meant, or the family does not fit this model"
    )


def _hook(place: _Place, event: _Event, layer: int, call: int | None) -> tuple[Any, Hook]:
    batch, positions = _PROBE
    flat = event.shape[:-1] == (batch * positions,)
    if not flat and event.shape[:-1] != (batch, positions):
        raise ModelError(
            f"site {place.site!r}: the {place.capture} of {event.module!r} has shape "
            f"{list(event.shape)} for {batch} texts of {positions} tokens; a site must be "
            "[batch, position, width]"
        )
    alias = place.alias and place.alias.replace("{layer}", str(layer))
    key = (id(place), event.module, event.call)
    width = event.shape[-1]
    if place.heads and width % place.heads:
        raise ModelError(f"site {place.site!r}: {place.heads} heads do not divide {width} units")
    return key, Hook(
        place.site,
        layer,
        event.module,
        place.capture,
        width,
        place.heads,
        place.kind,
        alias,
        call,
        flat,
    )


def _check_widths(model: nn.Module, family: Family, hooks: list[Hook]) -> None:
    """Refuse a map whose widths contradict the configuration or the weights it names."""
    expected = getattr(model.config, family.config.get("d_model", "hidden_size"), None)
    for hook in hooks:
        if hook.kind == "residual" and expected not in (None, hook.width):
            raise ModelError(
                f"site {hook.site!r}: the {hook.capture} of {hook.module!r} has {hook.width} units, "
                f"but the residual stream of this model has {expected}"
            )
        stack = _stack_of(family, hook.site)
        if hook.site.rpartition(".")[2] == "mlp" and stack and stack.weights.w_in:
            _check_neurons(model, stack, hook)


def _stack_of(family: Family, site: str) -> Stack | None:
    return next((s for s in family.stacks if any(m.name == site for m in s.sites)), None)


def _check_neurons(model: nn.Module, stack: Stack, hook: Hook) -> None:
    place = _Place(
        hook.site, stack.weights.w_in.replace("{layer}", str(hook.layer)), "output", "mlp", 0
    )
    path, module = _modules(model, place)[0]
    shape = tuple(getattr(module, "weight", torch.empty(0)).shape)
    if hook.width not in shape:
        raise ModelError(
            f"site {hook.site!r}: the {hook.capture} of {hook.module!r} has {hook.width} units, but "
            f"the input weights {path!r} are {list(shape)}: these are not its neurons"
        )
