"""Model families: which module of a layer is which site, read from `ingest/families/*.toml`.

Torch-free, so that listing models stays fast. A new family is a new TOML file:

    title = "GPT-2"
    model_types = ["gpt2"]            # `model_type` of config.json
    head = "causal"                   # causal, seq2seq, or none: no linear read-out of tokens
    causal = true
    norm = "layernorm"                # layernorm, rmsnorm, or rmsnorm1: the gain is 1 + weight

    [config]                          # where config.json differs from the usual names
    activation = "activation_function"

    [blocks]                          # or [encoder] and [decoder]
    layers = "num_hidden_layers"      # attribute of the configuration

    [blocks.sites]                    # {layer}: the index; *: modules shared by several layers,
    mlp = { input = "h.{layer}.mlp.c_proj" }    # which are numbered in the order of their calls

    [blocks.absent]                   # sites that cannot be, with the reason
    [blocks.weights]                  # w_in, w_up or gate_up, w_out, norm, final_norm
    [[variants]]                      # what differs when the configuration has these values
    when = { is_gated_act = true }
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from neuronmap_sql.content import folder
from neuronmap_sql.errors import RecipeError, UnknownNameError
from neuronmap_sql.ingest.models import family_file

__all__ = [
    "Family",
    "SiteMap",
    "Stack",
    "WeightMap",
    "detect",
    "families",
    "family_named",
    "read_family",
]


@dataclass(frozen=True)
class SiteMap:
    """Where one site is found."""

    name: str
    """The column `site`, with the stack in front where a model has two: `encoder.mlp`."""
    module: str
    """Module path in the backbone, with `{layer}`, or `*` for modules shared by layers."""
    capture: Literal["input", "output"]
    """Record the module's first input or its (first) output."""
    kind: str
    """mlp, residual, attention or custom."""
    heads: str | None
    """For head_out: the attribute of the configuration that counts the heads."""
    alias: str | None
    """TransformerLens name with `{layer}`."""


@dataclass(frozen=True)
class WeightMap:
    """Modules of the MLP's weights; empty: the family has none such."""

    w_in: str = ""
    """Input weights, of the gate in a gated MLP."""
    w_up: str = ""
    """Up weights of a gated MLP."""
    gate_up: str = ""
    """Gate and up weights in one module, the gate's rows first."""
    w_out: str = ""
    """Output weights: the down projection."""
    norm: str = ""
    """Norm whose output the MLP reads; empty where the MLP reads the residual stream itself."""
    final_norm: str = ""
    """Norm between the last block and the unembedding."""


@dataclass(frozen=True)
class Stack:
    """The blocks of an encoder, a decoder, or the only ones: `blocks`."""

    name: str
    """`blocks`, `encoder` or `decoder`."""
    layers: str
    """Attribute of the configuration that counts the layers."""
    sites: tuple[SiteMap, ...]
    """What can be recorded."""
    absent: Mapping[str, str]
    """Sites that cannot be recorded, with the reason."""
    weights: WeightMap
    """Modules of the weights."""


@dataclass(frozen=True)
class Family:
    """A model family."""

    name: str
    """The TOML file's name without its ending: the column `family`."""
    title: str
    """Name for people."""
    model_types: tuple[str, ...]
    """Values of `model_type` that belong to it."""
    head: Literal["causal", "seq2seq", "none"]
    """Class of the language modelling head; `none`: no linear map from the residual stream."""
    causal: bool | None
    """Whether a token sees only earlier tokens; None: the decoder's does, the encoder's not."""
    norm: Literal["layernorm", "rmsnorm", "rmsnorm1"]
    """Kind of the norms; `rmsnorm1` multiplies by 1 + weight."""
    config: Mapping[str, Any]
    """Attribute names of the configuration: d_model, heads, kv_heads, context, activation, ..."""
    stacks: tuple[Stack, ...]
    """In forward order."""
    variants: tuple[tuple[Mapping[str, Any], Family], ...] = ()
    """Families to take instead, when the configuration has these values."""

    @property
    def sites(self) -> tuple[SiteMap, ...]:
        """All sites of all stacks."""
        return tuple(site for stack in self.stacks for site in stack.sites)

    def for_config(self, config: object) -> Family:
        """Return the variant that the configuration asks for, or the family itself."""
        for when, family in self.variants:
            if all(getattr(config, key, None) == value for key, value in when.items()):
                return family
        return self


@functools.cache
def families() -> dict[str, Family]:
    """Return every family that ships, by name.

    Raises:
        RecipeError: a file is not as it must be; names file, key and nearest spelling.
    """
    files = sorted((folder("ingest") / "families").glob("*.toml"))
    return {file.stem: read_family(file) for file in files}


def read_family(file: Path) -> Family:
    """Read one TOML file.

    Raises:
        RecipeError: the file cannot be read, or is not as it must be.
    """
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{file}: cannot be read as a family file: {error}") from error
    return parse(document, str(file), file.stem)


def parse(document: dict[str, Any], where: str, name: str) -> Family:
    """Make a family, and one for each variant, of a TOML document."""
    family_file.check(document, where)
    variants = []
    for variant in document.pop("variants", []):
        when = variant.pop("when")
        merged = family_file.merge(document, variant)
        family_file.check(merged, f"{where}: the variant of {when}")
        variants.append((when, _family(merged, name)))
    return _family(document, name, tuple(variants))


def family_named(name: str) -> Family:
    """Return the family of that name, or of that TOML file.

    Raises:
        UnknownNameError: there is no such family.
        RecipeError: the file is not as it must be.
    """
    if name.endswith(".toml"):
        return read_family(Path(name))
    if name not in families():
        hint = "a path to your own family.toml works too, or `find` for the generic finder"
        raise UnknownNameError.of("model family", name, families(), hint)
    return families()[name]


def detect(config: object) -> Family:
    """Return the family of a configuration, by its `model_type`, with its variant chosen.

    Raises:
        UnknownNameError: no family file claims the type; names the nearest and the finder.
    """
    wanted = str(getattr(config, "model_type", ""))
    types = {kind: family for family in families().values() for kind in family.model_types}
    if wanted not in types:
        hint = (
            'set family = "find" under [model] to let the generic finder propose a map, name a '
            'family that is built alike, or hook modules by path with [sites.NAME] module = "..."'
        )
        raise UnknownNameError.of("model family for the model type", wanted, types, hint)
    return types[wanted].for_config(config)


def _family(document: Mapping[str, Any], name: str, variants: Any = ()) -> Family:
    return Family(
        name=name,
        title=document["title"],
        model_types=tuple(document["model_types"]),
        head=document.get("head", "none"),
        causal=document.get("causal"),
        norm=document.get("norm", "layernorm"),
        config=document.get("config", {}),
        stacks=tuple(_stack(key, document[key]) for key in family_file.STACKS if key in document),
        variants=variants,
    )


def _stack(name: str, table: Mapping[str, Any]) -> Stack:
    prefix = "" if name == "blocks" else f"{name}."
    sites = tuple(_site(name, prefix, key, value) for key, value in table["sites"].items())
    absent = {
        prefix + key: why
        for key, why in table.get("absent", {}).items()
        if key not in table["sites"]
    }
    weights = WeightMap(**table.get("weights", {}))
    return Stack(name, table["layers"], sites, absent, weights)


def _site(stack: str, prefix: str, name: str, table: Mapping[str, Any]) -> SiteMap:
    capture: Literal["input", "output"] = "input" if "input" in table else "output"
    heads = "num_attention_heads" if name.endswith("head_out") else None
    return SiteMap(
        name=prefix + name,
        module=table[capture],
        capture=capture,
        kind=family_file.kind(name),
        heads=table.get("heads", heads),
        alias=table.get("alias", family_file.alias(stack, name)) or None,
    )
