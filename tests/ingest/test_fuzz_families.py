"""Family files of random content: RecipeError, or a family that either fits a model or says why."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_settings import QUICK, VALUE
from transformers import AutoConfig, AutoModel

from neuronmap_sql.errors import ModelError, NeuronMapError, RecipeError
from neuronmap_sql.ingest.models.families import Family, parse, read_family
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import SiteSettings

GOOD: dict[str, Any] = {
    "title": "T",
    "model_types": ["gpt2"],
    "head": "causal",
    "causal": True,
    "norm": "layernorm",
    "config": {"d_model": "n_embd", "positions_reserved": 0},
    "blocks": {
        "layers": "n_layer",
        "sites": {
            "mlp": {"input": "h.{layer}.mlp.c_proj", "alias": "blocks.{layer}.post"},
            "head_out": {"input": "h.{layer}.attn.c_proj", "heads": "n_head"},
        },
        "absent": {"resid_mid": "it has none"},
        "weights": {"w_in": "h.{layer}.mlp.c_fc", "w_out": "h.{layer}.mlp.c_proj"},
    },
    "variants": [{"when": {"n_layer": 2}, "norm": "rmsnorm", "blocks": {"layers": "n_layer"}}],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value inside, tables and lists too."""
    listed = enumerate(value) if isinstance(value, list) else ()
    inside = value.items() if isinstance(value, dict) else listed
    return [path, *(found for key, inner in inside for found in places(inner, (*path, key)))]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    target: Any = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return document


def is_family(document: dict[str, Any]) -> Family | None:
    try:
        family = parse(document, "mine.toml", "mine")
    except RecipeError as error:
        said = str(error)
    else:
        assert isinstance(family.for_config(SimpleNamespace(n_layer=2)), Family)
        return family
    assert said.startswith("mine.toml")
    return None


MODEL = AutoModel.from_config(
    AutoConfig.for_model(
        "gpt2", vocab_size=20, n_embd=4, n_head=2, n_layer=2, bos_token_id=0, eos_token_id=0
    )
)


def test_the_good_one_is_good() -> None:
    family = is_family(copy.deepcopy(GOOD))
    assert family
    assert len(resolve(MODEL, family, SiteSettings(("mlp", "head_out")))) == 4


PLACES = [*places(GOOD)[1:], ("more",), ("blocks", "more"), ("blocks", "sites", "a.b\n")]


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_one_random_value_in_an_otherwise_good_family(path: tuple[Any, ...]) -> None:
    found = set()

    @settings(QUICK, max_examples=40)
    @given(VALUE)
    def check(value: Any) -> None:
        family = is_family(changed(path, value))
        found.add(family is not None)
        if family is not None:
            try:
                resolve(MODEL, family, SiteSettings(("mlp", "head_out")))
            except NeuronMapError:
                return

    check()
    assert False in found or "when" in path, "some value must be wrong"


SHAPES = st.recursive(
    VALUE | st.sampled_from(list(GOOD.values())),
    lambda inner: st.dictionaries(st.sampled_from([*GOOD, *GOOD["blocks"], "mlp", "input"]), inner),
    max_leaves=8,
)


@settings(QUICK, max_examples=300)
@given(st.dictionaries(st.sampled_from(list(GOOD)), SHAPES, max_size=4))
def test_random_tables_of_known_keys(some: dict[str, Any]) -> None:
    is_family({"title": "T", "model_types": ["t"], **copy.deepcopy(some)})


@pytest.mark.parametrize("deep", [20, 400, 100_000])
def test_lists_without_end(tmp_path: Path, deep: int) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("title = " + "[" * deep + "]" * deep)
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        read_family(path)


def test_an_alias_is_no_format_string() -> None:
    text = "{layer.__class__.__init__.__globals__}{0}{"
    document = changed(("blocks", "sites", "mlp", "alias"), text)
    hooks = resolve(MODEL, parse(document, "mine.toml", "mine"), SiteSettings(("mlp",)))
    assert {hook.alias for hook in hooks} == {text}
    odd = changed(("blocks", "sites", "mlp", "input"), "h.{layer}.{layer.real}")
    with pytest.raises(ModelError, match="has no module"):
        resolve(MODEL, parse(odd, "mine.toml", "mine"), SiteSettings(("mlp",)))
