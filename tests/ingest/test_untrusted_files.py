"""Pickles, code that comes with a model, decompression bombs: refused, or read without harm."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from known_values import numbered_words
from transformers import AutoConfig, AutoModelForCausalLM

from neuronmap_sql.errors import DataError, ModelError
from neuronmap_sql.ingest.data.documents import read_documents
from neuronmap_sql.ingest.models.describe import describe
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.settings import DataSettings, ModelSettings

CONFIG: dict[str, Any] = {
    "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 20, "n_embd": 4,
    "n_head": 1, "n_layer": 1, "n_positions": 16, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
CODE = "import os, pathlib\npathlib.Path(os.environ['RAN']).touch()\n"
"""What a model's author may put there."""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there once foreign code has run."""
    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small GPT-2 that loads."""
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**CONFIG))
    model.save_pretrained(tmp_path / "model")
    numbered_words(20).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


class Malicious:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (CODE,)


def test_a_pickle_runs_nothing_even_when_pickles_are_allowed(folder: Path, ran: Path) -> None:
    (folder / "model.safetensors").unlink()
    weights = folder / "pytorch_model.bin"
    weights.write_bytes(pickle.dumps({"transformer.wte.weight": Malicious()}))
    with pytest.raises(ModelError, match=r"can run any code that its author put there.*set allow_"):
        load(ModelSettings(str(folder)))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSettings(str(folder), allow_pickle=True))
    assert not ran.exists()
    pickle.loads(weights.read_bytes())
    assert ran.exists(), "else there was nothing to be afraid of"


def with_code(folder: Path, **config: Any) -> None:
    names = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    written = CONFIG | {"auto_map": names} | config
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "mine.py").write_text(CODE)


def test_code_beside_a_known_model_is_left_alone(folder: Path, ran: Path) -> None:
    with_code(folder)
    assert load(ModelSettings(str(folder))).info.family == "gpt2"
    own = {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Slow", "mine.Fast"]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    assert load(ModelSettings(str(folder))).tokenizer is not None
    assert not ran.exists()


def test_code_runs_only_when_it_is_asked_for(folder: Path, ran: Path, tmp_path: Path) -> None:
    with_code(folder, model_type="mine")
    with pytest.raises(ModelError, match=r"runs Python code that comes with the model; read that"):
        load(ModelSettings(str(folder)))
    assert not ran.exists()
    script = (
        "import sys; from neuronmap_sql.ingest.models.loading import load;"
        "from neuronmap_sql.ingest.settings import ModelSettings;"
        "load(ModelSettings(sys.argv[1], trust_remote_code=True))"
    )
    cache = {"HF_MODULES_CACHE": str(tmp_path / "modules"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, **cache}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.exists(), done.stderr
    assert "ModelError" in done.stderr  # for there is no class Config in it


DAMAGED: dict[str, Callable[[Path], object]] = {
    "tokenizer.json": lambda f: (f / "tokenizer.json").write_text("{}"),
    "a tokenizer of bytes": lambda f: (f / "tokenizer.json").write_bytes(b"\xff\0"),
    "a list as tokenizer_config": lambda f: (f / "tokenizer_config.json").write_text("[]"),
    "a list as config": lambda f: (f / "config.json").write_text("[]"),
    "a config without end": lambda f: (f / "config.json").write_text("[" * 100_000),
    "text for a number": lambda f: with_code(f, n_layer="x"),
    "a negative width": lambda f: with_code(f, n_embd=-4),
    "a width beyond all memory": lambda f: with_code(f, n_embd=10**18),
    "an index that is no JSON": lambda f: (f / INDEX).write_text("{"),
    "an index that is a list": lambda f: (f / INDEX).write_text("[]"),
    "an index of lists": lambda f: (f / INDEX).write_text('{"weight_map": {"a": ["x"]}}'),
    "an index that leads out": lambda f: (f / INDEX).write_text('{"weight_map": {"a": "../x"}}'),
}
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_of_a_model_give_one_error(folder: Path, ran: Path, case: str) -> None:
    DAMAGED[case](folder)
    for question in (load, describe):
        with pytest.raises(ModelError, match=r"model'"):
            question(ModelSettings(str(folder)))
    assert not ran.exists()


WEIGHTS = [
    b"",
    b"\xff" * 99,
    (2**62).to_bytes(8, "little") + b"{}",
    (2).to_bytes(8, "little") + b"[]",
]


@pytest.mark.parametrize("raw", WEIGHTS)
def test_weights_whose_header_lies_are_refused(folder: Path, raw: bytes) -> None:
    (folder / "model.safetensors").write_bytes(raw)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSettings(str(folder)))


@pytest.mark.parametrize("source", ["x" * 5000, "/" + "x" * 5000, "a\nb", "~no-such-user/x", ""])
def test_sources_that_are_no_path(source: str) -> None:
    with pytest.raises(ModelError):
        load(ModelSettings(source))


def zstd(raw: bytes) -> bytes:
    return bytes(pa.compress(raw, "zstd", asbytes=True))


PACK = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd}
LINE = b"x" * 999 + b"\n"
BOMBS = {
    "a line without end": ("jsonl", b"", b"x" * 1000),
    "a line without end in text": ("txt", b"", b"x" * 1000),
    "a file without end": ("md", b"", LINE),
    "a header without end": ("csv", b"", b"x" * 1000),
    "a field without end": ("csv", b'text\n"', LINE),
    "a record without end": ("csv", b"text\n", b'"' + LINE + b'",'),
}

READ = """
import resource, sys
from pathlib import Path
from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.documents import read_documents
from neuronmap_sql.ingest.settings import DataSettings

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before = peak()
for path in sys.argv[1:]:
    try:
        read_documents(DataSettings(path), Path())
    except DataError as error:
        print(peak() - before, error)
    else:
        print(0, "read", path)
"""


def bomb(path: Path, start: bytes, piece: bytes, pack: Callable[[bytes], bytes]) -> Path:
    """Write a file of some kilobytes that unpacks to a gigabyte."""
    sixteen = pack(piece * ((16 << 20) // len(piece)))
    with path.open("wb") as file:
        file.write(pack(start))
        for _ in range(64):
            file.write(sixteen)  # each a stream of its own, which all unpackers join
    assert path.stat().st_size < 5e6
    return path


def test_decompression_bombs_stop_at_the_limit(tmp_path: Path) -> None:
    paths = [
        bomb(tmp_path / f"{number}.{ending}.{packing}", start, piece, PACK[packing])
        for number, (ending, start, piece) in enumerate(BOMBS.values())
        for packing in (PACK if number == 0 else ["gz"])
    ]
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    for line, path in zip(lines, paths, strict=True):
        peak, _, message = line.partition(" ")
        assert message.startswith(path.name), line
        assert "67,108,864" in message or "67108864" in message
        assert int(peak) < 500e6, line


@pytest.mark.parametrize("name", ["a.npz", "a.pt", "a.zip"])
def test_zip_archives_are_not_opened(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.savez_compressed(file, text=np.zeros(10))
    with pytest.raises(DataError, match="what format is it"):
        read_documents(DataSettings(name), tmp_path)
    with pytest.raises(DataError, match="is a zip archive: unpack it"):
        read_documents(DataSettings(name, format="jsonl"), tmp_path)
