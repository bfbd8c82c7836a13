"""Propose the map of an architecture that no family file describes, by one short forward pass.

Blocks are the items of the outermost module list that the pass calls one after the other. In a
block, the neurons are the input of the projection to the model's width that takes what the last
activation function gave; the attention output is the last such projection in a part of the block
that is called attention; `resid_mid` is what the norm between the two reads. Over the families with
curated maps the proposal gives the same modules (tested), except where activations are fused
(experts) or layers share their modules (ALBERT). What is not sure is left out, never guessed.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from torch import nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.anatomy import (
    Block,
    attentions,
    block_of,
    input_weights,
    neurons,
    states_between,
)
from neuronmap_sql.ingest.models.families import Family, SiteMap, Stack, WeightMap
from neuronmap_sql.ingest.models.family_file import alias, kind
from neuronmap_sql.ingest.models.tracing import Call, block_lists, trace

__all__ = ["propose", "to_toml"]

_COUNTS = (
    ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    ("encoder_layers", "num_layers", "num_hidden_layers", "n_layer"),
    ("decoder_layers", "num_decoder_layers", "num_layers", "num_hidden_layers", "n_layer"),
)
"""Attributes that may count the layers of the blocks, of an encoder, of a decoder."""
_HEADS = "num_attention_heads"
"""Attribute that counts the heads, also where a configuration has another name of its own."""

_NO_NEURONS = (
    "the finder sees no activation function with a projection before and after it: experts, or an "
    'activation that is no module; hook modules by path with [sites.NAME] module = "..."'
)
_HELP = 'hook modules by path with [sites.NAME] module = "..." or write a family file'

_Place = tuple[str, str, str]
"""Name of a site, `input` or `output`, and module path in the block."""


def propose(model: nn.Module) -> Family:
    """Return a proposed family of a model.

    Raises:
        ModelError: the pass shows no stack of blocks, or the blocks differ.
    """
    calls = trace(model)
    lists = block_lists(model, calls)
    if not 1 <= len(lists) <= 2:
        raise ModelError(
            f"the finder sees {len(lists)} stacks of blocks in a {type(model).__name__} "
            f"instead of one or two: {_HELP}"
        )
    names = ("blocks",) if len(lists) == 1 else ("encoder", "decoder")
    stacks = [_stack(model, name, path, calls) for name, path in zip(names, lists, strict=True)]
    norms = {type(module).__name__.lower() for module in model.modules()}
    return Family(
        name="find",
        title=f"{type(model).__name__}, as the finder sees it",
        model_types=(str(getattr(getattr(model, "config", None), "model_type", "")),),
        head="none",
        causal=None,
        norm="rmsnorm" if any("rmsnorm" in name for name in norms) else "layernorm",
        config={},
        stacks=tuple(stacks),
    )


def _stack(model: nn.Module, name: str, path: str, calls: list[Call]) -> Stack:
    block = block_of(path, calls)
    found = neurons(block)
    prefix = "" if name == "blocks" else f"{name}."
    full = f"{path}.{{layer}}"
    places: list[_Place] = []
    if found:
        places += [("mlp", "input", found.down.path), ("mlp_out", "output", found.down.path)]
    places += [("resid_pre", "input", "")]
    middles = zip(("resid_mid", "resid_mid_cross"), states_between(block, found), strict=False)
    places += [(site, "input", norm) for site, norm in middles if norm]
    places += [("resid_post", "output", ""), *_of_attention(model, block)]
    sites = tuple(_site(name, prefix, full, *place) for place in places)
    _check_all(model, sites, path)
    weights = input_weights(block, found, full) if found else WeightMap()
    absent = {} if found else {f"{prefix}mlp": _NO_NEURONS}
    return Stack(name, _count_attribute(model, name, path), sites, absent, weights)


def _of_attention(model: nn.Module, block: Block) -> list[_Place]:
    heads = getattr(getattr(model, "config", None), _HEADS, None)
    places: list[_Place] = []
    for tag, out in zip(("", "cross_"), attentions(block), strict=False):
        places.append((f"{tag}attn_out", "output", out.path))
        if isinstance(heads, int) and out.given is not None and out.given.shape[-1] % heads == 0:
            places.append((f"{tag}head_out", "input", out.path))
    return places


def _site(stack: str, prefix: str, full: str, name: str, capture: str, path: str) -> SiteMap:
    side: Literal["input", "output"] = "input" if capture == "input" else "output"
    module = f"{full}.{path}" if path else full
    heads = _HEADS if name.endswith("head_out") else None
    return SiteMap(prefix + name, module, side, kind(name), heads, alias(stack, name))


def _check_all(model: nn.Module, sites: tuple[SiteMap, ...], path: str) -> None:
    known = {name for name, _ in model.named_modules()}
    for layer in range(len(model.get_submodule(path))):  # type: ignore[arg-type]
        for site in sites:
            if site.module.format(layer=layer) not in known:
                raise ModelError(
                    f"the blocks differ: block {layer} has no {site.module.format(layer=layer)!r}, "
                    f"which is {site.name!r} in block 0; {_HELP}"
                )


def _count_attribute(model: nn.Module, name: str, path: str) -> str:
    count = len(model.get_submodule(path))  # type: ignore[arg-type]
    config = getattr(model, "config", None)
    for attribute in _COUNTS[("blocks", "encoder", "decoder").index(name)]:
        if getattr(config, attribute, None) == count:
            return attribute
    raise ModelError(f"the configuration does not say that {path!r} has {count} blocks: {_HELP}")


def to_toml(family: Family) -> str:
    """Return a family as the text of a family file, to be checked and kept."""
    lines = [
        "# Proposed by the finder: check each site before relying on it.",
        f"title = {_text(family.title)}",
        f"model_types = {_text(list(family.model_types))}",
        f'norm = "{family.norm}"',
    ]
    for stack in family.stacks:
        lines += ["", f"[{stack.name}]", f'layers = "{stack.layers}"', "", f"[{stack.name}.sites]"]
        for site in stack.sites:
            name = site.name.removeprefix(f"{stack.name}.")
            lines.append(f'{name} = {{ {site.capture} = "{site.module}" }}')
        absent = {site.removeprefix(f"{stack.name}."): why for site, why in stack.absent.items()}
        weights = {key: value for key, value in vars(stack.weights).items() if value}
        for title, table in (("absent", absent), ("weights", weights)):
            if table:
                lines += ["", f"[{stack.name}.{title}]"]
                lines += [f"{key} = {_text(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON's strings and lists of them are TOML's too
