"""A recipe is data: whatever its keys say, nothing is imported, evaluated or started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neuronmap_sql.errors import NeuronMapError
from neuronmap_sql.ingest.data.documents import read_documents
from neuronmap_sql.ingest.models.configuration import choose_family
from neuronmap_sql.ingest.models.source import find
from neuronmap_sql.ingest.recipe import read_recipe
from neuronmap_sql.ingest.settings import DataSettings, ModelSettings

CODE = "open('ran', 'w').close()"

WATCHED = r"""
import dataclasses, sys
from pathlib import Path
from typing import get_type_hints
from neuronmap_sql.errors import RecipeError
from neuronmap_sql.ingest.models.families import parse
from neuronmap_sql.ingest.recipe import read_recipe, to_toml
from neuronmap_sql.ingest.settings import Recipe
import tomli_w

PAYLOADS = ["open('ran', 'w').close()", "__import__('os').system('touch ran')", "os:system",
            "!!python/object/apply:os.system ['touch ran']", "{0.__class__.__init__.__globals__}",
            "$(touch ran)", "; touch ran", "mine.py", "mine"]
KEYS = ["title", "seed", "exec", "import", "hooks", "script", "sites.s.module", "sites.s.capture",
        *(f"{section}.{item.name}" for section, kind in get_type_hints(Recipe).items()
          if dataclasses.is_dataclass(kind) for item in dataclasses.fields(kind))]
FAMILY = {"title": "T", "model_types": ["t"], "blocks": {"layers": "n", "sites": {}}}
EVENTS = ("import", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
seen, watching = [], False

def watch(event, args):
    # Annotations of our own settings are compiled too: those say neither `ran` nor `mine`.
    foreign = event == "compile" and any(word in str(args[0]) for word in ("ran", "mine", "os"))
    if watching and (foreign or event.startswith(EVENTS)):
        seen.append(event)

def read(key, value):
    raw = {"model": {"source": "a"}, "data": {"path": "b"}, "sites": {"s": {"module": "c"}}}
    *tables, name = key.split(".")
    target = raw
    for table in tables:
        target = target.setdefault(table, {})
    target[name] = value
    Path("job.toml").write_text(tomli_w.dumps(raw))
    try:
        to_toml(read_recipe(Path("job.toml")))
        return 1
    except RecipeError:
        return 0

def run(texts):
    good = sum(read(key, value) for key in KEYS for text in texts for value in (text, [text]))
    for text in texts:
        site = {"input": text + "{layer}", "heads": text, "alias": text}
        own = {"layers": text, "sites": {"mlp": site}, "weights": {"w_in": text, "w_out": text}}
        parse(FAMILY | {"title": text, "blocks": own}, "f.toml", text)
    return good

sys.addaudithook(watch)
run(PAYLOADS[:1])  # what is imported on first use
watching = True
found = run(PAYLOADS)
compile("ran", "control", "eval")
watching = False
print(found, len(KEYS), seen)
"""


def test_reading_recipes_and_families_evaluates_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": "."},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    good, keys, seen = done.stdout.split(" ", 2)
    assert int(good) > 100, "texts are taken as texts"
    assert int(keys) > 40
    assert seen.strip() == "['compile']", "only the control, which shows that the watch is awake"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["mine.py", "./mine.py", "mine", "os", "os:system"])
def test_files_of_code_are_never_taken_for_models_families_or_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "job.toml").write_text(
        f'[model]\nsource = "{name}"\nfamily = "{name}"\n[data]\npath = "mine.py"\n'
    )
    recipe = read_recipe(tmp_path / "job.toml")
    with pytest.raises(NeuronMapError):
        find(recipe.model)
    with pytest.raises(NeuronMapError, match="no model family"):
        choose_family(recipe.model, None)
    with pytest.raises(NeuronMapError):
        find(ModelSettings(name), tokenizer=True)
    assert read_documents(recipe.data, Path()).table["text"].to_pylist() == [CODE]
    with pytest.raises(NeuronMapError):
        read_documents(DataSettings(name, format="dataset"), Path())
    assert not (tmp_path / "ran").exists()
