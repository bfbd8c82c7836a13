"""Recipes of random content: RecipeError, or a recipe that comes back from its own TOML."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from random_settings import QUICK, TEXT, VALUE

from neuronmap_sql.errors import RecipeError, UsageError
from neuronmap_sql.ingest.models.aliases import parse_layers
from neuronmap_sql.ingest.recipe import parse_recipe, read_recipe, to_toml
from neuronmap_sql.ingest.settings import Recipe


def some_of(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    """Tables with some keys of a dataclass, some of their defaults, some anything."""
    keys: dict[str, st.SearchStrategy[Any]] = {}
    for item in dataclasses.fields(kind):
        inner = get_type_hints(kind)[item.name]
        plain = item.default if isinstance(item.default, str | int | float) else "mlp"
        keys[item.name] = VALUE | st.just(plain)
        if dataclasses.is_dataclass(inner):
            keys[item.name] = some_of(inner) | some_of(inner) | VALUE  # type: ignore[arg-type]
    known = st.fixed_dictionaries({}, optional=keys)
    return st.builds(
        lambda a, b: a | b, st.dictionaries(TEXT, VALUE, max_size=1) | st.just({}), known
    )


LEAST = {"model": {"source": "gpt2"}, "data": {"path": "text.jsonl"}}


def completed(raw: dict[str, Any]) -> dict[str, Any]:
    """Fill in what every recipe has, so that the later checks are reached."""
    return {**raw, **{key: {**least, **raw.get(key, {})} if isinstance(raw.get(key, {}), dict)
                      else raw[key] for key, least in LEAST.items()}}  # fmt: skip


def is_recipe(parse: Callable[[], Recipe]) -> bool:
    """Parse; a recipe must come back from its own TOML."""
    try:
        recipe = parse()
    except RecipeError:
        return False
    assert parse_recipe(tomllib.loads(to_toml(recipe)), "again", Path("/nowhere")) == recipe
    return True


@QUICK
@given(some_of(Recipe))
def test_tables_of_random_keys_and_values(raw: dict[str, Any]) -> None:
    for given_ in (raw, completed(raw)):
        is_recipe(lambda given_=given_: parse_recipe(given_, "fuzz", Path("/nowhere")))  # type: ignore[misc]


ONE: dict[str, st.SearchStrategy[Any]] = {
    f"{section}.{item.name}": VALUE
    for section, kind in get_type_hints(Recipe).items()
    if dataclasses.is_dataclass(kind)
    for item in dataclasses.fields(kind)
} | {"title": VALUE, "seed": VALUE, "sites.mine.module": VALUE, "sites.mine.capture": VALUE}


@pytest.mark.parametrize("key", ONE)
def test_one_random_value_in_an_otherwise_good_recipe(key: str) -> None:
    found = set()

    @settings(QUICK, max_examples=40)
    @given(ONE[key])
    def check(value: Any) -> None:
        more = {"sites.mine.module": "h"} if key == "sites.mine.capture" else {}
        base = Path("/nowhere")
        found.add(is_recipe(lambda: parse_recipe(LEAST, "fuzz", base, {**more, key: value})))

    check()
    assert False in found, "some value must be wrong"


RECIPE = tomli_w.dumps({**LEAST, "keep": {"tables": ["stats"]}, "sites": {"s": {"module": "x"}}})


@QUICK
@given(
    st.integers(0, len(RECIPE)),
    st.integers(0, 6),
    st.text(max_size=5) | st.sampled_from("[]={}'\"\n"),
)
def test_toml_with_a_random_change(tmp_path: Path, at: int, less: int, more: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(RECIPE[:at] + more + RECIPE[at + less :], encoding="utf-8", newline="")
    is_recipe(lambda: read_recipe(path))


@QUICK
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_files_of_random_bytes(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(raw)
    assert not is_recipe(lambda: read_recipe(path))


@pytest.mark.parametrize("deep", [20, 400, 100_000])
def test_tables_and_lists_without_end(tmp_path: Path, deep: int) -> None:
    path = tmp_path / "job.toml"
    path.write_text("title = " + "[" * deep + "]" * deep)
    with pytest.raises(RecipeError, match=r"job\.toml: .*(deep|recursion|not valid TOML)"):
        read_recipe(path)


@QUICK
@given(st.text("0123456789-, al²\u0663", max_size=12) | TEXT, st.integers(0, 5))
def test_layers_of_random_text(spec: str, count: int) -> None:
    try:
        layers = parse_layers(spec, count)
    except UsageError:
        return
    assert layers == sorted(set(layers) & set(range(count)))


BOUNDS = {
    ("seed", -1): "seed = -1: must be at least 0",
    ("keep.top_k", 2**31): "keep.top_k = 2147483648: must be at most 2,147,483,647",
    ("data.context", 10**30): "data.context = 1000000000000000000000000000000: must be at most",
    ("keep.sample_bins", 2000): "keep.sample_bins is above keep.sampled_tokens",
    ("sites.custom", ("a",)): "unknown key 'sites.custom'; write [sites.",
    ("data.path", "a\0"): "data.path = 'a\\x00': holds a NUL character",
    ("title", "\udcff"): "title = '\\udcff': holds bytes that are no UTF-8",
    ("data.labels", ("\udcff",)): "data.labels = '\\udcff': holds bytes that are no UTF-8",
}


@pytest.mark.parametrize("at", BOUNDS, ids=lambda at: at[0])
def test_values_beyond_all_bounds_name_the_key(at: tuple[str, Any]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(LEAST, "job.toml", Path("/nowhere"), dict([at]))
    assert str(caught.value).startswith(f"job.toml: {BOUNDS[at]}")
