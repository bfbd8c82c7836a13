"""Names of models that are not there: paths, and what cannot be a hub id."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.availability import check
from neuronmap_sql.ingest.models.source import find
from neuronmap_sql.ingest.settings import ModelSettings


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("work", "demo", "work/demo", "work/.demo", "work/models/small"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "work/demos.txt").touch()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "work"


@pytest.mark.parametrize("source", ["./demoo", "../demoo", "~/demoo", "~demoo", "{here}/demoo"])
def test_a_mistyped_path_names_the_folders_beside_it(here: Path, source: str) -> None:
    source = source.format(here=here)
    wanted = rf"^no folder '{re.escape(source)}' \(from {here}\); did you mean 'demo'\?$"
    with pytest.raises(ModelError, match=wanted):
        find(ModelSettings(source))
    assert re.match(wanted, check(ModelSettings(source)).problems[0])
    with pytest.raises(ModelError, match=wanted):
        find(ModelSettings(source), tokenizer=True)


def test_the_part_of_a_path_that_is_missing_is_named(here: Path) -> None:
    with pytest.raises(ModelError, match=f"'{here}' has no 'modells'; did you mean 'models'"):
        find(ModelSettings("./modells/small"))
    with pytest.raises(ModelError, match=r"no GGUF file './small.gguf'"):
        find(ModelSettings("./small.gguf"))
    with pytest.raises(ModelError, match=r"no folder './demos.txt'"):
        find(ModelSettings("./demos.txt"))
    with pytest.raises(ModelError, match=r"no folder './demos.txt/demo'"):
        find(ModelSettings("./demos.txt/demo"))


@pytest.mark.parametrize("source", ["a--b", "owner/-name", "owner/..name", "a/b/c", "a" * 120])
def test_what_is_neither_a_path_nor_a_hub_id(here: Path, source: str) -> None:
    with pytest.raises(ModelError, match=f"^no folder '{source}' "):
        find(ModelSettings(source))


@pytest.mark.parametrize("source", ["gpt2", "0x/a_b.c-d"])
def test_a_hub_id_is_looked_for_in_the_cache(here: Path, source: str) -> None:
    with pytest.raises(ModelError, match=f"the model '{source}' is not in the Hugging Face cache"):
        find(ModelSettings(source))
