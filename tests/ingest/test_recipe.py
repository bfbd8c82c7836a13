"""Recipes: what is refused and how it is said, and the way from TOML to settings and back."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronmap_sql.errors import RecipeError
from neuronmap_sql.ingest.recipe import (
    TABLES,
    parse_recipe,
    read_recipe,
    recipe_from_flags,
    to_toml,
)
from neuronmap_sql.ingest.settings import (
    BatchSettings,
    CustomSite,
    DataSettings,
    KeepSettings,
    ModelSettings,
    Recipe,
    SiteSettings,
    WeightSettings,
)

LEAST = '[model]\nsource = "gpt2"\n[data]\npath = "text.jsonl.gz"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "job.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_least_recipe(tmp_path: Path) -> None:
    found = read_recipe(written(tmp_path, LEAST))
    assert found.model == ModelSettings(source="gpt2", name="gpt2")
    assert found.data.name == "text"
    assert found.data.path == str(tmp_path.resolve() / "text.jsonl.gz")
    assert found.keep == KeepSettings()


WRONG = {
    "sites = 3": "'sites' must be a table: [sites]",
    "titel = 'a'": "unknown key 'titel'; did you mean 'title'",
    "[keep]\ntop_kk = 3": "unknown key 'keep.top_kk'; did you mean 'top_k'?",
    "[keep]\ntables = ['stat']": "keep.tables: unknown 'stat'; did you mean 'stats'?",
    "[keep]\ntables = 'stats'": "keep.tables = 'stats': input should be",
    "[keep]\ntables = []": "keep.tables is empty; known: stats, top",
    "[keep]\npool = ['average']": "keep.pool: unknown 'average'; known: first, last, max, mean",
    "[keep]\ntop_k = 0": "keep.top_k = 0: must be at least 1",
    "[keep]\ntop_k = 'many'": "keep.top_k = 'many': input should be a valid integer",
    "[keep]\nsampled_tokens = 0": "keep.sampled_tokens = 0: must be at least 1",
    "[keep]\nfirings_fraction = 0.0": r"keep.firings_fraction must be in (0, 1]",
    "[keep]\nfirings_threshold = 1e6": "keep.firings_threshold must be within 65,504",
    "[keep]\nfirings_threshold = nan": "keep.firings_threshold must be within 65,504",
    "[batch]\ntokens = -1": "batch.tokens = -1: must be at least 0",
    "[weights]\nfolding = 'norms'": "did you mean 'norm'",
    "[weights]\ntokens = -1": "weights.tokens = -1: must be at least 0",
    "[sites]\nuse = []": "sites.use is empty: name at least one site, such as 'mlp'",
    "[sites]\nlayers = 3": "sites.layers = 3: input should be a valid string",
    "[sites.mine]\ncapture = 'input'": 'key sites.mine.module is missing: module = "..."',
    "[sites.mine]\nmodul = 'h.0'": "unknown key 'sites.mine.modul'; did you mean 'module'?",
    "[sites.mine]\nmodule = 'h'\ncapture = 'in'": "sites.custom.0.capture = 'in'",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_recipe_names_file_and_key(tmp_path: Path, text: str) -> None:
    top, table = ("", text) if text.startswith("[") else (text + "\n", "")
    path = written(tmp_path, top + LEAST + table)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert WRONG[text] in str(caught.value)


DATA = {
    "overlap = -1": "data.overlap = -1: must be at least 0",
    "limit = -5": "data.limit = -5: must be at least 0",
    "context = 8\noverlap = 8": "data.overlap must be smaller than data.context",
    "special = 'contex'": "did you mean 'context'",
    "labels = 'source'": "data.labels = 'source'",
    "lable = []": "unknown key 'data.lable'; did you mean 'labels'",
}


@pytest.mark.parametrize("text", DATA)
def test_wrong_data_settings(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, LEAST + text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert DATA[text] in str(caught.value)


MISSING = {
    "": "key 'model' is missing: add [model] ...",
    '[model]\nsource = "a"': "key 'data' is missing: add [data] ...",
    "[model]\n[data]\npath = 'x'": "key 'model.source' is missing: add [model] source = ...",
    "[model]\nsource = ''\n[data]\npath = 'x'": "model.source and data.path must not be empty",
}


@pytest.mark.parametrize("text", MISSING)
def test_missing_keys(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe(written(tmp_path, text))
    assert MISSING[text] in str(caught.value)


def test_bad_toml_and_bad_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"job.toml: not valid TOML: Invalid value"):
        read_recipe(written(tmp_path, "a ="))
    with pytest.raises(RecipeError, match=r"jobs.toml: no such recipe; did you mean 'job.toml'"):
        read_recipe(tmp_path / "jobs.toml")
    with pytest.raises(RecipeError, match=r"no such recipe$"):
        read_recipe(tmp_path / "nowhere" / "job.toml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'title = "\xe9"')
    with pytest.raises(RecipeError, match=r"latin.toml: cannot be read"):
        read_recipe(tmp_path / "latin.toml")


def test_overrides_take_the_place_of_the_files_values(tmp_path: Path) -> None:
    path = written(tmp_path, LEAST)
    more = {"model.name": "other", "keep.top_k": 3, "title": "T", "sites.layers": "0-1"}
    found = read_recipe(path, more)
    assert (found.model.name, found.keep.top_k, found.title) == ("other", 3, "T")
    assert found.sites.layers == "0-1"
    assert read_recipe(path).keep.top_k == KeepSettings().top_k
    with pytest.raises(RecipeError, match=r"unknown key 'keep.topk'"):
        read_recipe(path, {"keep.topk": 3})
    with pytest.raises(RecipeError, match=r"'model' must be a table"):
        parse_recipe({"model": "gpt2"}, "x", tmp_path, {"model.name": "a"})


def test_custom_sites_can_be_given_as_overrides(tmp_path: Path) -> None:
    module = {"sites.conv.module": "h.{layer}.conv"}
    flags = {"model.source": "gpt2", "data.path": "a.txt"}
    assert recipe_from_flags(flags | module).sites == SiteSettings(
        (), custom=(CustomSite("conv", "h.{layer}.conv"),)
    )
    path = written(tmp_path, LEAST + '[sites.conv]\nmodule = "x"\n')
    more = {"sites.conv.capture": "input", "sites.use": ["mlp"], "sites.a.b.module": "y"}
    found = read_recipe(path, module | more).sites
    assert found.use == ("mlp",)
    assert found.custom == (
        CustomSite("conv", "h.{layer}.conv", "input"), CustomSite("a.b", "y"),
    )  # fmt: skip
    with pytest.raises(RecipeError, match=r"unknown key 'sites.conv.modul'; did you mean 'module'"):
        read_recipe(path, {"sites.conv.modul": "x"})
    with pytest.raises(RecipeError, match=r"key sites.new.module is missing"):
        read_recipe(path, {"sites.new.capture": "input"})
    for key in ("sites.use.module", "keep.top_k.x", "model.a.b"):
        with pytest.raises(RecipeError, match=f"unknown key '{key.rpartition('.')[0]}'"):
            read_recipe(written(tmp_path, LEAST + '[sites]\nuse = ["mlp"]\n'), {key: "x"})


def test_overrides_leave_what_they_were_given_as_it_was(tmp_path: Path) -> None:
    raw = tomllib.loads(LEAST + '[sites.conv]\nmodule = "x"\n')
    parse_recipe(raw, "x", tmp_path, {"sites.conv.module": "y", "model.name": "z"})
    assert raw == tomllib.loads(LEAST + '[sites.conv]\nmodule = "x"\n')


def test_custom_sites_stand_alone_or_beside_others(tmp_path: Path) -> None:
    custom = '[sites.query]\nmodule = "h.{layer}.attn.c_attn"\n'
    alone = read_recipe(written(tmp_path, LEAST + custom)).sites
    assert alone.custom == (CustomSite("query", "h.{layer}.attn.c_attn"),)
    assert alone.use == ()
    beside = read_recipe(written(tmp_path, LEAST + '[sites]\nuse = ["mlp"]\n' + custom)).sites
    assert beside.use == ("mlp",)


def test_only_weights_need_no_site(tmp_path: Path) -> None:
    text = LEAST + '[sites]\nuse = []\n[keep]\ntables = ["weights"]'
    assert read_recipe(written(tmp_path, text)).sites.use == ()


def test_relative_paths_start_from_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "models" / "small").mkdir(parents=True)
    text = '[model]\nsource = "models/small/"\n[data]\npath = "../texts/*.txt"\n'
    found = read_recipe(written(tmp_path, text))
    assert found.model.source == str(tmp_path.resolve() / "models" / "small")
    assert found.model.name == "small"
    assert found.data.path == f"{tmp_path.resolve()}/../texts/*.txt"
    assert found.data.name == "texts"
    home = parse_recipe(tomllib.loads(text) | {"data": {"path": "~/a.csv"}}, "x", tmp_path)
    assert home.data.path == str(Path.home() / "a.csv")


def test_a_family_file_is_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    model = '[model]\nsource = "gpt2"\nfamily = "{}"\n[data]\npath = "a.txt"\n'
    (tmp_path / "gpt2").mkdir()  # a name is no path, even where there is a folder of that name
    for said, meant in {
        "my.toml": str(tmp_path.resolve() / "my.toml"),
        "../maps/my.toml": str(tmp_path.resolve().parent / "maps/my.toml"),
        "/maps/my.toml": "/maps/my.toml",
        "~/my.toml": str(Path.home() / "my.toml"),
        "gpt2": "gpt2",
        "find": "find",
    }.items():
        found = read_recipe(written(tmp_path, model.format(said)))
        assert found.model.family == meant


def test_a_path_that_is_not_there_starts_from_the_recipe_too(tmp_path: Path) -> None:
    model = '[model]\nsource = "{}"\n[data]\npath = "~nobody-here/a.txt"\n'
    (tmp_path / "sub").mkdir()
    found = read_recipe(written(tmp_path / "sub", model.format("../demoo")))
    assert (found.model.source, found.model.name) == (str(tmp_path.resolve() / "demoo"), "demoo")
    assert found.data.path == str(tmp_path.resolve() / "sub/~nobody-here/a.txt")
    assert read_recipe(written(tmp_path, model.format("demoo"))).model.source == "demoo"


def test_a_hub_id_stays_as_it_is_and_gives_the_name(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "model": {"source": "openai-community/gpt2", "revision": "step10"},
        "data": {"path": "/abs/corpus.jsonl.xz"},
    }
    found = parse_recipe(raw, "x", tmp_path)
    assert found.model.source == "openai-community/gpt2"
    assert found.model.key == "gpt2@step10"
    assert (found.data.path, found.data.name) == ("/abs/corpus.jsonl.xz", "corpus")


NAMES = st.text("abcdefgh", min_size=1, max_size=6)
COUNTS = st.integers(0, 9)
SITES = st.builds(
    SiteSettings,
    use=st.lists(st.sampled_from(["mlp", "resid_post"]), min_size=1, unique=True).map(tuple),
    layers=st.sampled_from(["all", "0-3", "-1"]),
    custom=st.lists(
        st.builds(CustomSite, NAMES.map("x_".__add__), NAMES),
        max_size=2,
        unique_by=lambda c: c.name,
    ).map(tuple),
)
RECIPES = st.builds(
    Recipe,
    model=st.builds(ModelSettings, source=NAMES, name=NAMES, allow_pickle=st.booleans()),
    data=st.builds(DataSettings, path=NAMES.map("/".__add__), name=NAMES, limit=COUNTS),
    title=st.text(max_size=10),
    sites=SITES,
    keep=st.builds(
        KeepSettings,
        tables=st.lists(st.sampled_from(TABLES), min_size=1, unique=True).map(tuple),
        firings_threshold=st.none() | st.floats(-10, 10),
        firings_fraction=st.floats(1e-6, 1),
    ),
    weights=st.builds(WeightSettings, folding=st.sampled_from(["norm", "none"]), tokens=COUNTS),
    batch=st.builds(BatchSettings, tokens=COUNTS, shard_tokens=COUNTS),
    seed=st.integers(0, 5),
)


@given(RECIPES)
def test_settings_come_back_from_toml(recipe: Recipe) -> None:
    raw = tomllib.loads(to_toml(recipe))
    assert parse_recipe(raw, "round trip", Path("/nowhere")) == recipe


def test_only_what_is_not_the_default_is_written() -> None:
    recipe = Recipe(ModelSettings("a", name="a"), DataSettings("/b", name="b"))
    assert tomllib.loads(to_toml(recipe)) == {
        "model": {"source": "a", "name": "a"},
        "data": {"path": "/b", "name": "b"},
    }
