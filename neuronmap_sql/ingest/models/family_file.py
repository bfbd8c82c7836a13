"""What a family file may say: keys, types and the names that follow from a site's name."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from neuronmap_sql.errors import RecipeError, nearest

__all__ = ["STACKS", "TRANSFORMER_LENS", "alias", "check", "kind", "merge"]

STACKS = ("blocks", "encoder", "decoder")
"""Names of stacks, in forward order."""

TRANSFORMER_LENS = {
    "mlp": "mlp.hook_post",
    "mlp_out": "hook_mlp_out",
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_mid_cross": "hook_resid_mid_cross",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "head_out": "attn.hook_z",
    "cross_attn_out": "hook_cross_attn_out",
    "cross_head_out": "cross_attn.hook_z",
}
"""TransformerLens hook names within a block, by the site's name; a family file may differ."""

_KINDS = {"mlp": "mlp", "resid": "residual", "attn": "attention", "head": "attention"}
_TEXT = dict.fromkeys(("title", "head", "norm"), str)
_TOP = _TEXT | {"model_types": list, "causal": bool, "config": dict, "variants": list}
_STACK = {"layers": str, "sites": dict, "absent": dict, "weights": dict}
_SITE = dict.fromkeys(("input", "output", "heads", "alias"), str)
_WEIGHTS = dict.fromkeys(("w_in", "w_up", "gate_up", "w_out", "norm", "final_norm"), str)
_CONFIG = dict.fromkeys(
    ("d_model", "heads", "kv_heads", "vocabulary", "context", "activation"), str
)
_CONFIG_TYPES = _CONFIG | {"positions_reserved": int}
_CHOICES = {
    "head": ("causal", "seq2seq", "none"),
    "norm": ("layernorm", "rmsnorm", "rmsnorm1"),
}


def check(document: Mapping[str, Any], where: str) -> None:
    """Refuse a document with unknown, missing or ill-typed keys.

    Raises:
        RecipeError: names the file, the key and the nearest spelling.
    """
    _keys(document, _TOP | dict.fromkeys(STACKS, dict), where, "")
    _require(document, ("title", "model_types"), where, "")
    _texts(document["model_types"], where, "model_types")
    _keys(document.get("config", {}), _CONFIG_TYPES, where, "config.")
    if not any(stack in document for stack in STACKS):
        raise RecipeError(f"{where}: no [blocks], and no [encoder] or [decoder]: add the sites")
    for stack in (name for name in STACKS if name in document):
        _check_stack(document[stack], where, f"{stack}.")
    for variant in document.get("variants", []):
        if not isinstance(variant, dict) or not isinstance(variant.get("when", {}), dict):
            raise RecipeError(f"{where}: variants must be tables: [[variants]] when = {{ ... }}")
        _require(variant, ("when",), where, "variants.")


def _check_stack(table: Mapping[str, Any], where: str, prefix: str) -> None:
    _keys(table, _STACK, where, prefix)
    _require(table, ("layers", "sites"), where, prefix)
    _texts(table.get("absent", {}).values(), where, f"{prefix}absent")
    weights = table.get("weights", {})
    _keys(weights, _WEIGHTS, where, f"{prefix}weights.")
    if bool(weights.get("w_out")) != bool(weights.get("w_in") or weights.get("gate_up")):
        raise RecipeError(f"{where}: {prefix}weights needs w_out and either w_in or gate_up")
    for name, site in table["sites"].items():
        key = f"{prefix}sites.{name}"
        if not isinstance(site, dict) or ("input" in site) == ("output" in site):
            raise RecipeError(
                f'{where}: {key} must be {{ input = "PATH" }} or {{ output = "PATH" }}'
            )
        _keys(site, _SITE, where, f"{key}.")
        path = site["input"] if "input" in site else site["output"]
        if "{layer}" not in path and "*" not in path:
            raise RecipeError(f"{where}: {key}: {path!r} has no {{layer}} (or * for shared layers)")


def _keys(table: Mapping[str, Any], known: Mapping[str, type], where: str, prefix: str) -> None:
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"{where}: unknown key {prefix}{key}{nearest(key, known)}")
        if not isinstance(value, known[key]):
            raise RecipeError(f"{where}: {prefix}{key} must be a {known[key].__name__}")
        if value not in _CHOICES.get(prefix + key, (value,)):
            hint = nearest(value, _CHOICES[key])
            raise RecipeError(f"{where}: {prefix}{key} cannot be {value!r}{hint}")


def _texts(values: Iterable[object], where: str, key: str) -> None:
    for value in values:
        if not isinstance(value, str):
            raise RecipeError(f"{where}: {key} must hold text, not {value!r}")


def _require(table: Mapping[str, Any], keys: tuple[str, ...], where: str, prefix: str) -> None:
    for key in keys:
        if key not in table:
            raise RecipeError(f"{where}: the key {prefix}{key} is missing")


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, table by table; a site is replaced as a whole."""
    merged = copy.deepcopy(dict(base))
    for key, value in changes.items():
        known = merged.get(key)
        if (
            isinstance(value, dict)
            and isinstance(known, dict)
            and not {"input", "output"} & {*value}
        ):
            value = merge(known, value)
        merged[key] = value
    return merged


def kind(name: str) -> str:
    """Return the kind of a site from its name: `cross_head_out` is attention."""
    return _KINDS.get(name.removeprefix("cross_").removeprefix("shared_").split("_")[0], "custom")


def alias(stack: str, name: str) -> str | None:
    """Return the TransformerLens name with `{layer}`, such as `blocks.{layer}.mlp.hook_post`."""
    hook = TRANSFORMER_LENS.get(name)
    return f"{stack}.{{layer}}.{hook}" if hook else None
