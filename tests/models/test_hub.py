"""Models of a hub: a small one on the loopback, and hubs that do not answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import hub
import huggingface_hub.constants as hf
import pytest
import tiny

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.availability import check
from neuronmap_sql.ingest.models.describe import describe
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.settings import ModelSettings

NAME = "someone/tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(hf, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hf, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


@pytest.fixture
def asked(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve a small GPT-2 as `someone/tiny`; gives the requests made."""
    tiny.language_model("gpt2").save_pretrained(tmp_path / "model")
    with hub.serve(tmp_path / "model") as (endpoint, requests):
        use(endpoint, monkeypatch)
        yield requests


def use(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(hf, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def test_a_description_downloads_no_weights(asked: list[str]) -> None:
    info = describe(ModelSettings(NAME))
    assert (info.model, info.family, info.layers) == ("tiny", "gpt2", 3)
    assert dict(info.files)["model.safetensors"] > 10_000
    assert any("config.json" in line for line in asked)
    assert not any("safetensors" in line for line in asked)


def test_what_is_in_the_cache_needs_no_hub(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ModelSettings(NAME, revision="step1000")
    first = load(settings)
    assert first.info.step == 1000
    asked.clear()
    use("http://127.0.0.1:9", monkeypatch)
    assert load(settings).info == first.info
    assert asked == []


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        (NAME, "step2", "'someone/tiny' at 'step2' is not on the hub in that revision"),
        ("someone/else", "", "no folder 'someone/else' here and no model of that name"),
        ("someone/gated", "", "is gated: accept its terms"),
    ],
)
def test_what_the_hub_refuses(asked: list[str], name: str, revision: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load(ModelSettings(name, revision=revision))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_hub_gives_one_clear_error_at_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(f"http://127.0.0.1:{unused_port()}", monkeypatch)
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"cannot be reached.*local folder.*HF_HOME.*HF_ENDPOINT"):
        load(ModelSettings(NAME))
    assert not check(ModelSettings(NAME)).ok
    assert time.monotonic() - start < 10


def test_offline_mode_gives_the_same_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cannot be reached \(OfflineModeIsEnabled\)"):
        load(ModelSettings(NAME))
