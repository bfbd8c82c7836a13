"""Read the names of sites and layers that a recipe may use.

A site is named as in its family (`mlp`, `decoder.cross_attn_out`), by the last part of that name
where only one stack has it (`cross_attn_out`), or as in TransformerLens (`blocks.5.mlp.hook_post`;
without the index: all layers that the recipe asks for).
"""

from __future__ import annotations

import re

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.ingest.models.families import Family, SiteMap
from neuronmap_sql.ingest.models.family_file import TRANSFORMER_LENS

__all__ = ["parse_layers", "requested"]

_HOOK = re.compile(r"(?:(blocks|encoder|decoder)\.)?(?:(\d{1,9}|\*|\{layer\})\.)?(.*hook_\w+)")
_RANGE = re.compile(r"(-?\d{1,9})(?:-(-?\d{1,9}))?")


def requested(name: str, family: Family) -> tuple[SiteMap, int | None]:
    """Return the site of that name, and the layer if the name says one.

    Raises:
        UnknownNameError: the family has no such site; gives the reason or the nearest names.
    """
    sites = {site.name: site for site in family.sites}
    if name in sites:
        return sites[name], None
    if hook := _HOOK.fullmatch(name):
        return _of_hook(name, hook, family)
    _refuse_absent(name, family)
    return _only(name, [site for site in family.sites if site.name.endswith(f".{name}")], family)


def _of_hook(name: str, hook: re.Match[str], family: Family) -> tuple[SiteMap, int | None]:
    stack, layer, tail = hook.groups()
    ours = [key for key, value in TRANSFORMER_LENS.items() if value == tail]
    found = [
        site
        for site in family.sites
        if site.alias and site.alias in (f"{s.name}.{{layer}}.{tail}" for s in family.stacks)
        if stack is None or site.alias.startswith(f"{stack}.")
    ]
    if not found and ours:
        _refuse_absent(ours[0], family)
    site, _ = _only(name, found, family)
    return site, int(layer) if layer and layer.isdigit() else None


def _only(name: str, found: list[SiteMap], family: Family) -> tuple[SiteMap, None]:
    if len(found) > 1:
        names = " or ".join(repr(site.name) for site in found)
        raise UnknownNameError(
            f"the site {name!r} is in both stacks of {family.title}: say {names}"
        )
    if not found:
        known = [site.name for site in family.sites]
        if "hook_" in name:
            known = [site.alias for site in family.sites if site.alias]
        hint = 'any module can be hooked with [sites.NAME] module = "..."'
        raise UnknownNameError.of(f"site of {family.title}", name, known, hint)
    return found[0], None


def _refuse_absent(name: str, family: Family) -> None:
    for stack in family.stacks:
        for site, reason in stack.absent.items():
            if name in (site, site.rpartition(".")[2]):
                raise UnknownNameError(f"{family.title} has no site {site!r}: {reason}")


def parse_layers(spec: str, count: int) -> list[int]:
    """Return the layers that `all`, `0-5,11` or `-1` means in a stack of `count`, ascending.

    Raises:
        UsageError: the text is no list of layers.
        UnknownNameError: a layer is not there.
    """
    if spec.strip() == "all":
        return list(range(count))
    layers: set[int] = set()
    for part in spec.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"layers {spec!r}: {part.strip()!r} is no index or range as in 0-5,11,-1"
            )
        first, last = (_layer(int(end), count) for end in (match[1], match[2] or match[1]))
        if first > last:
            raise UsageError(f"layers {spec!r}: the range {part.strip()!r} is empty")
        layers.update(range(first, last + 1))
    return sorted(layers)


def _layer(index: int, count: int) -> int:
    if not -count <= index < count:
        raise UnknownNameError(f"no layer {index}: the model has {count}, from 0 to {count - 1}")
    return index % count
