"""Family files: what they say, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.errors import RecipeError, UnknownNameError, UsageError
from neuronmap_sql.ingest.models.aliases import parse_layers, requested
from neuronmap_sql.ingest.models.families import detect, families, family_named, read_family

FILE = """
title = "Mine"
model_types = ["mine"]

[blocks]
layers = "num_hidden_layers"

[blocks.sites]
mlp = { input = "layers.{layer}.down" }
"""


def read(text: str, folder: Path) -> None:
    file = folder / "mine.toml"
    file.write_text(text)
    read_family(file)


def test_a_file_of_your_own_is_a_family(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(FILE)
    family = family_named(str(file))
    assert family.name == "mine"
    assert [site.name for site in family.sites] == ["mlp"]
    assert family.sites[0].alias == "blocks.{layer}.mlp.hook_post"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title", "titel"), r"mine.toml: unknown key titel; did you mean 'title'\?"),
        (("input =", "imput ="), r"blocks.sites.mlp must be \{ input"),
        (("layers = ", "layrs = "), r"unknown key blocks.layrs; did you mean 'layers'"),
        (("{layer}", "3"), r"blocks.sites.mlp: 'layers.3.down' has no \{layer\}"),
        (('["mine"]', '"mine"'), "model_types must be a list"),
        (('title = "Mine"\n', ""), "the key title is missing"),
        (("[blocks", "[bricks"), "unknown key bricks; did you mean 'blocks'"),
        (("[blocks]", 'norm = "layer"\n[blocks]'), "norm cannot be 'layer'; did you mean 'layern"),
        (("= {", "="), "cannot be read as a family file"),
    ],
)
def test_mistakes_name_file_key_and_spelling(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        read(FILE.replace(*change), tmp_path)


def test_a_variant_is_checked_too(tmp_path: Path) -> None:
    site = 'blocks.sites.mlp = { input = "a.{layer}", inputs = "" }'
    text = f"{FILE}\n[[variants]]\nwhen = {{ x = 1 }}\n{site}\n"
    with pytest.raises(
        RecipeError, match=r"the variant of .*: unknown key blocks.sites.mlp.inputs"
    ):
        read(text, tmp_path)


def test_every_family_has_the_sites_or_says_why_not() -> None:
    wanted = ("mlp", "mlp_out", "resid_pre", "resid_mid", "resid_post", "attn_out", "head_out")
    for family in families().values():
        for stack in family.stacks:
            prefix = "" if stack.name == "blocks" else f"{stack.name}."
            known = {site.name for site in stack.sites} | {*stack.absent}
            assert {prefix + name for name in wanted} <= known, family.name


def test_the_configuration_chooses_the_variant() -> None:
    parallel, sequence = (detect(tiny.config(c)) for c in ("gpt_neox", "gpt_neox-sequential"))
    assert "resid_mid" not in {site.name for site in parallel.sites}
    assert "resid_mid" in {site.name for site in sequence.sites}


def test_an_unknown_model_type_names_the_nearest_and_the_finder() -> None:
    class Config:
        model_type = "lama"

    with pytest.raises(UnknownNameError, match=r"'lama'; did you mean 'llama'.*family = .find"):
        detect(Config())


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'gpt-2'; did you mean 'gpt2'"):
        family_named("gpt-2")


@pytest.mark.parametrize(
    ("case", "name", "site", "layer"),
    [
        ("gpt2", "mlp", "mlp", None),
        ("gpt2", "blocks.5.mlp.hook_post", "mlp", 5),
        ("gpt2", "blocks.mlp.hook_post", "mlp", None),
        ("gpt2", "blocks.*.hook_resid_mid", "resid_mid", None),
        ("gpt2", "hook_resid_pre", "resid_pre", None),
        ("gpt2", "attn.hook_z", "head_out", None),
        ("bert", "blocks.2.hook_resid_post", "resid_post_sum", 2),
        ("bert", "hook_normalized_resid_post", "resid_post", None),
        ("t5", "decoder.mlp", "decoder.mlp", None),
        ("t5", "cross_attn_out", "decoder.cross_attn_out", None),
        ("t5", "encoder.1.mlp.hook_post", "encoder.mlp", 1),
        ("t5", "decoder.hook_resid_mid_cross", "decoder.resid_mid_cross", None),
        ("t5", "decoder.0.cross_attn.hook_z", "decoder.cross_head_out", 0),
    ],
)
def test_names_of_sites(case: str, name: str, site: str, layer: int | None) -> None:
    found, where = requested(name, detect(tiny.config(case)))
    assert (found.name, where) == (site, layer)


@pytest.mark.parametrize(
    ("case", "name", "message"),
    [
        ("gpt2", "mpl", "no site of GPT-2 named 'mpl'; did you mean 'mlp'"),
        ("gpt2", "blocks.5.mlp.hook_pots", r"did you mean 'blocks.\{layer\}.mlp.hook_post'"),
        ("t5", "mlp", "in both stacks of T5.*say 'encoder.mlp' or 'decoder.mlp'"),
        ("t5", "hook_resid_pre", "say 'encoder.resid_pre' or 'decoder.resid_pre'"),
        ("gptj", "resid_mid", "GPT-J has no site 'resid_mid': attention and MLP read the same"),
        ("gptj", "blocks.1.hook_resid_mid", "GPT-J has no site 'resid_mid': attention and MLP"),
        ("mixtral", "mlp", "Mixtral has no site 'mlp': the experts' weights are fused"),
    ],
)
def test_sites_that_are_not_there(case: str, name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        requested(name, detect(tiny.config(case)))


@pytest.mark.parametrize(
    ("spec", "layers"),
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        ("0-2,5", [0, 1, 2, 5]),
        ("-1", [5]),
        ("-2--1, 0", [0, 4, 5]),
        ("1,1-2", [1, 2]),
    ],
)
def test_layers(spec: str, layers: list[int]) -> None:
    assert parse_layers(spec, 6) == layers


@given(st.sets(st.integers(0, 30), min_size=1))
def test_layers_given_one_by_one(layers: set[int]) -> None:
    assert parse_layers(",".join(map(str, layers)), 31) == sorted(layers)


@pytest.mark.parametrize("spec", ["", "a", "1-", "3-1", "1;2", "1.5"])
def test_text_that_is_no_list_of_layers(spec: str) -> None:
    with pytest.raises(UsageError, match="layers"):
        parse_layers(spec, 6)


@pytest.mark.parametrize("spec", ["6", "-7", "0-6"])
def test_layers_that_are_not_there(spec: str) -> None:
    with pytest.raises(UnknownNameError, match="the model has 6, from 0 to 5"):
        parse_layers(spec, 6)


def test_families_are_read_without_torch() -> None:
    code = (
        "import sys; from neuronmap_sql.ingest.models.families import families; families(); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
