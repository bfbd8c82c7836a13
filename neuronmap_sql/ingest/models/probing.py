"""Measure what goes through modules: one short forward pass, its calls, shapes and order."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError, nearest
from neuronmap_sql.ingest.models.aliases import parse_layers
from neuronmap_sql.ingest.models.devices import placement
from neuronmap_sql.ingest.models.forward import Hook, attach, forward

__all__ = ["Place", "measure", "missing", "modules", "probe"]

_PROBE = (2, 5)
"""Batch and positions of the probe: unequal, so that a transposed tensor shows."""


@dataclass(frozen=True)
class Place:
    """Modules to hook for one site: one module a layer, or one (or a few) called for many."""

    site: str
    """Name of the site."""
    pattern: str
    """Module path; `*` stands for any index."""
    capture: Literal["input", "output"]
    """First input or first output."""
    kind: str
    """mlp, residual, attention or custom."""
    layer: int | None
    """None: the layers are the calls, in their order."""
    layers: str | tuple[int, ...] = "all"
    """For a place whose layers are calls: which to keep."""
    calls: int | None = None
    """For such a place: the number of calls that there must be."""
    heads: int | None = None
    """Heads that lie side by side."""
    alias: str | None = None
    """TransformerLens name, perhaps with `{layer}`."""


@dataclass(frozen=True)
class _Event:
    """One call of a hooked module in the probe."""

    place: Place
    module: str
    call: int
    shape: tuple[int, ...]


def measure(model: nn.Module, places: list[Place]) -> list[Hook]:
    """Return the hooks of places, in forward order.

    Raises:
        ModelError: a module is not there, is not called as often as it must be, or has another
            shape than [batch, position, width].
    """
    events = _probe(model, places)
    hooks = []
    for place in places:
        mine = [event for event in events if event.place is place]
        hooks += _hooks(model, place, mine)
    order = {(id(e.place), e.module, e.call): n for n, e in enumerate(events)}
    return [hook for _, hook in sorted(hooks, key=lambda pair: order[pair[0]])]


def _probe(model: nn.Module, places: list[Place]) -> list[_Event]:
    events: list[_Event] = []
    calls: Counter[tuple[int, str]] = Counter()
    handles = []

    def note(place: Place, path: str, tensor: Tensor) -> None:
        key = (id(place), path)
        events.append(_Event(place, path, calls[key], tuple(tensor.shape)))
        calls[key] += 1

    for place in places:
        for path, module in modules(model, place):
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
    device = placement(model).inputs
    ids = torch.arange(_PROBE[0] * _PROBE[1], device=device).reshape(_PROBE) % _vocabulary(model)
    training = model.training
    try:
        with torch.no_grad():
            forward(model.eval(), ids, torch.ones_like(ids))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"the model does not run on token ids: {error}") from error
    finally:
        model.train(training)


def _vocabulary(model: nn.Module) -> int:
    """Return a number of ids that the model knows; a module may not say how many there are."""
    tables = (part.num_embeddings for part in model.modules() if isinstance(part, nn.Embedding))
    return getattr(getattr(model, "config", None), "vocab_size", None) or min((8, *tables))


def modules(model: nn.Module, place: Place) -> list[tuple[str, nn.Module]]:
    """Return the modules of a place, with their paths.

    Raises:
        ModelError: there are none; names the nearest.
    """
    pattern = re.compile(re.escape(place.pattern).replace(r"\*", r"\d+"))
    found = [(name, module) for name, module in model.named_modules() if pattern.fullmatch(name)]
    if not found:
        raise ModelError(missing(model, place.pattern, place.site))
    return found


def missing(model: nn.Module, path: str, site: str) -> str:
    """Say that a module is not there, with the nearest names."""
    names = [name for name, _ in model.named_modules() if name]
    if "{layer}" in path or "*" in path:
        names = [re.sub(r"\.\d+(?=\.|$)", ".{layer}", name) for name in names]
    hint = nearest(path, names) or "; list the modules with `model.named_modules()`"
    return f"site {site!r}: {type(model).__name__} has no module {path!r}{hint}"


def _hooks(model: nn.Module, place: Place, events: list[_Event]) -> list[tuple[Any, Hook]]:
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


def _check_calls(place: Place, events: list[_Event]) -> None:
    expected = 1 if place.layer is not None else place.calls
    if events and expected in (None, len(events)):
        return
    wanted = "" if expected is None else f" instead of {expected}"
    raise ModelError(
        f"site {place.site!r}: a forward pass calls {place.pattern!r} {len(events)} times{wanted}; "
        "another module is meant, or the family does not fit this model"
    )


def _hook(place: Place, event: _Event, layer: int, call: int | None) -> tuple[Any, Hook]:
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
