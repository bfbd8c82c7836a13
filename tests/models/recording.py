"""Run a small model once and keep what its hooks see."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import tiny
import torch
from torch import Tensor, nn

from neuronmap_sql.ingest.models.families import Family, detect
from neuronmap_sql.ingest.models.forward import Hook, forward, watch
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import SiteSettings

IDS = torch.tensor([[5, 17, 9, 33, 60, 21, 8], [44, 3, 71, 12, 0, 0, 0]])
MASK = (IDS != 0).long()

Values = dict[tuple[str, int], Tensor]


def record(model: nn.Module, hooks: list[Hook], ids: Tensor = IDS, mask: Tensor = MASK) -> Values:
    """Return a copy of every hooked tensor, [batch, position, width]."""
    seen: Values = {}

    def receive(hook: Hook, tensor: Tensor) -> None:
        assert (hook.site, hook.layer) not in seen
        seen[hook.site, hook.layer] = tensor.clone().reshape(*ids.shape, hook.width)

    with torch.no_grad(), watch(model, hooks, receive):
        forward(model, ids, mask)
    return seen


def modules_of(model: nn.Module, paths: Iterable[str], side: str) -> dict[str, list[Tensor]]:
    """Return the inputs or outputs of modules, call by call, by plain torch hooks."""
    seen: dict[str, list[Tensor]] = {path: [] for path in paths}
    handles = []
    for path in seen:
        module = model.get_submodule(path)

        def keep(_m: nn.Module, args: tuple[Tensor, ...], out: Tensor, path: str = path) -> None:
            seen[path].append((args[0] if side == "input" else out).clone())

        handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        forward(model, IDS, MASK)
    for handle in handles:
        handle.remove()
    return seen


@functools.cache
def everything(case: str) -> tuple[nn.Module, Family, list[Hook], Values]:
    """Return a small model, its family, hooks on all sites and layers, and what they saw."""
    model = tiny.backbone(case)
    family = detect(model.config)
    names = tuple(site.name for site in family.sites)
    hooks = resolve(model, family, SiteSettings(use=names))
    return model, family, hooks, record(model, hooks)
