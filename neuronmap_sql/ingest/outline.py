"""What could be hooked in a model: it is built from its configuration, its weights unread."""

from __future__ import annotations

import torch
from torch import nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.configuration import choose_family, read_config
from neuronmap_sql.ingest.models.families import Family
from neuronmap_sql.ingest.models.finder import propose, to_toml
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.models.skeleton import skeleton, split
from neuronmap_sql.ingest.models.source import find
from neuronmap_sql.ingest.settings import ModelSettings, SiteSettings

__all__ = ["hooks_of", "proposal"]


def hooks_of(settings: ModelSettings, sites: tuple[str, ...] = ()) -> list[Hook]:
    """Return the hooks of a model's sites, with measured widths.

    Args:
        settings: the model.
        sites: which sites; all of the family, if empty.

    Raises:
        ModelError: the model cannot be found or built, or no family maps it.
    """
    backbone, family = _built(settings)
    if settings.family == "find":
        family = propose(backbone)
    if family is None:
        raise ModelError(
            f"{settings.source}: no family maps this model: `neuronmap layers --propose` finds"
            " a map"
        )
    names = sites or tuple(site.name for stack in family.stacks for site in stack.sites)
    return resolve(backbone, family, SiteSettings(use=names))


def proposal(settings: ModelSettings) -> str:
    """Return the map that the generic finder proposes, as a family file.

    Raises:
        ModelError: the model cannot be found or built, or shows no stack of blocks.
    """
    return to_toml(propose(_built(settings)[0]))


def _built(settings: ModelSettings) -> tuple[nn.Module, Family | None]:
    source = find(settings, weights=False)
    config = read_config(source, settings)
    family = choose_family(settings, config)
    model = skeleton(settings, config, family, source.gguf is not None)
    backbone, _ = split(model, config)
    # The probe runs the blocks, so they need memory, but any values will do.
    built = backbone.to_empty(device="cpu")
    for tensor in (*built.parameters(), *built.buffers()):
        if tensor.is_floating_point():
            torch.nn.init.zeros_(tensor)
        else:
            tensor.zero_()
    return built, family
