"""Propose the map of an architecture that no family file describes, by one short forward pass.

Blocks are the items of the outermost module list that the pass calls one after the other. In a
block, the neurons are the input of the first Linear or Conv1D that takes what an activation
function gave; the attention output is the last projection to the model's width in another part of
the block. Over the families with curated maps the proposal gives the same modules (tested), except
where activations are fused (experts) or layers share their modules (ALBERT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.families import Family, SiteMap, Stack, WeightMap
from neuronmap_sql.ingest.models.family_file import alias, kind
from neuronmap_sql.ingest.models.probing import probe

__all__ = ["propose", "to_toml"]

_COUNTS = (
    ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    ("encoder_layers", "num_layers", "num_hidden_layers", "n_layer"),
    ("decoder_layers", "num_decoder_layers", "num_layers", "num_hidden_layers", "n_layer"),
)
"""Attributes that may count the layers of the blocks, of an encoder, of a decoder."""

_PASSIVE = re.compile(r"dropout|identity|norm|embedding|quant", re.IGNORECASE)
"""Classes without weights that are no activation function."""

_NO_NEURONS = (
    "the finder sees no activation function with a projection after it: fused experts, or an "
    'activation that is no module; hook modules by path with [sites.NAME] module = "..."'
)
_HELP = 'hook modules by path with [sites.NAME] module = "..." or write a family file'


@dataclass
class _Call:
    """One call of a module in the probe."""

    path: str
    module: nn.Module
    given: Tensor | None
    result: Tensor | None


@dataclass
class _Block:
    """What is in the first block of a stack, by path relative to it."""

    width: int
    calls: list[_Call] = field(default_factory=list)

    def projections(self) -> list[_Call]:
        return [call for call in self.calls if _linear(call.module)]


def propose(model: nn.Module) -> Family:
    """Return a proposed family of a model.

    Raises:
        ModelError: the pass shows no stack of blocks, or no activation function in them.
    """
    calls = _record(model)
    lists = _block_lists(model, calls)
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


def _record(model: nn.Module) -> list[_Call]:
    """Return all module calls of one pass, in the order in which they end."""
    calls: list[_Call] = []

    def note(path: str, module: nn.Module, args: Any, output: Any) -> None:
        calls.append(_Call(path, module, next(_tensors(args), None), next(_tensors(output), None)))

    handles = [
        module.register_forward_hook(
            lambda m, args, kwargs, out, path=path: note(path, m, (*args, *kwargs.values()), out),
            with_kwargs=True,
        )
        for path, module in model.named_modules()
    ]
    try:
        probe(model)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)


def _block_lists(model: nn.Module, calls: list[_Call]) -> list[str]:
    """Return the outermost module lists whose items are each called once and keep the shape."""
    often: dict[str, list[_Call]] = {}
    for call in calls:
        often.setdefault(call.path, []).append(call)
    found: list[str] = []
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or any(path.startswith(f"{p}.") for p in found):
            continue
        items = [often.get(f"{path}.{index}", []) for index in range(len(module))]
        if items and all(len(item) == 1 and _keeps_shape(item[0]) for item in items):
            found.append(path)
    return found


def _keeps_shape(call: _Call) -> bool:
    if call.given is None or call.result is None:
        return False
    return call.given.ndim == 3 and call.given.shape == call.result.shape


def _linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _stack(model: nn.Module, name: str, path: str, calls: list[_Call]) -> Stack:
    block = _block(path, calls)
    found = _neurons(block)
    down = found[1] if found else None
    prefix = "" if name == "blocks" else f"{name}."
    full = f"{path}.{{layer}}"
    places = [("mlp", "input", down.path), ("mlp_out", "output", down.path)] if down else []
    places += [("resid_pre", "input", ""), ("resid_post", "output", "")]
    for tag, out in zip(("", "cross_"), _attention(block, down), strict=False):
        places += [(f"{tag}attn_out", "output", out), (f"{tag}head_out", "input", out)]
    sites = tuple(_site(name, prefix, full, *place) for place in places)
    _check_all(model, sites, path)
    weights = _weights(block, *found, full) if found else WeightMap()
    absent = {} if found else {f"{prefix}mlp": _NO_NEURONS}
    return Stack(name, _count_attribute(model, name, path), sites, absent, weights)


def _block(path: str, calls: list[_Call]) -> _Block:
    first = f"{path}.0"
    whole = next(call for call in calls if call.path == first)
    assert whole.given is not None
    inside = [
        _Call(call.path.removeprefix(f"{first}."), call.module, call.given, call.result)
        for call in calls
        if call.path.startswith(f"{first}.")
    ]
    return _Block(whole.given.shape[-1], inside)


def _neurons(block: _Block) -> tuple[_Call, _Call] | None:
    """Return the calls of the activation function and of the down projection after it."""
    for index, call in enumerate(block.calls):
        if not _is_activation(call):
            continue
        assert call.result is not None
        width = call.result.shape[-1]
        for later in block.calls[index + 1 :]:
            given = later.given.shape[-1] if later.given is not None else 0
            if _linear(later.module) and given == width and _out(later) == block.width:
                return call, later
    return None


def _is_activation(call: _Call) -> bool:
    module = call.module
    passive = _PASSIVE.search(type(module).__name__)
    leaf = not list(module.children()) and not list(module.parameters())
    same = call.given is not None and call.result is not None
    return leaf and not passive and same and call.given.shape == call.result.shape  # type: ignore[union-attr]


def _out(call: _Call) -> int:
    return call.result.shape[-1] if call.result is not None else 0


def _attention(block: _Block, down: _Call | None) -> list[str]:
    """Return the output projections of the attentions, self-attention first."""
    groups: dict[str, str] = {}
    for call in block.projections():
        if _out(call) == block.width:
            groups[_part(call.path)] = call.path
    if down:
        del groups[_part(down.path)]
    return list(groups.values())


def _part(path: str) -> str:
    """Return the part of the block that a module is in: `attention`, or `layer.1` of a list."""
    match = re.match(r"\w+(\.\d+)?", path)
    return match[0] if match else path


def _site(stack: str, prefix: str, full: str, name: str, capture: str, path: str) -> SiteMap:
    side: Literal["input", "output"] = "input" if capture == "input" else "output"
    module = f"{full}.{path}" if path else full
    heads = "num_attention_heads" if name.endswith("head_out") else None
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


def _weights(block: _Block, act: _Call, down: _Call, full: str) -> WeightMap:
    """Return the input weights when they are sure: one projection, or a gate and one other."""
    wide = [
        c for c in block.projections() if act.given is not None and _out(c) == act.given.shape[-1]
    ]
    gate = [c for c in wide if c.result is act.given]
    others = [c for c in wide if c not in gate and _part(c.path) == _part(down.path)]
    if len(gate) != 1 or len(others) > 1:
        return WeightMap()
    up = f"{full}.{others[0].path}" if others else ""
    return WeightMap(w_in=f"{full}.{gate[0].path}", w_up=up, w_out=f"{full}.{down.path}")


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
        f'title = "{family.title}"',
        f"model_types = {list(family.model_types)}".replace("'", '"'),
        f'norm = "{family.norm}"',
    ]
    for stack in family.stacks:
        lines += ["", f"[{stack.name}]", f'layers = "{stack.layers}"', "", f"[{stack.name}.sites]"]
        for site in stack.sites:
            name = site.name.removeprefix(f"{stack.name}.")
            lines.append(f'{name} = {{ {site.capture} = "{site.module}" }}')
        weights = {key: value for key, value in vars(stack.weights).items() if value}
        if weights:
            lines += ["", f"[{stack.name}.weights]"]
            lines += [f'{key} = "{value}"' for key, value in weights.items()]
    return "\n".join(lines) + "\n"
