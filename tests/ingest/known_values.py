"""A model whose values are known beforehand: each token looks its own up in a table."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

import neuronmap_sql as nm
from neuronmap_sql.ingest.recipe import parse_recipe
from neuronmap_sql.warehouse.shell import find_duckdb

Values = npt.NDArray[np.float32]
ALL = ["stats", "top", "samples", "activations", "int8", "firings", "matrices", "vectors"]


class Table(nn.Module):
    """Maps token ids to rows of a table: any value, finite or not."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self.table = nn.Embedding.from_pretrained(torch.from_numpy(values))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)  # type: ignore[no-any-return]


def numbered_words(words: int) -> PreTrainedTokenizerFast:
    """A tokenizer of the words w0, w1, ...; the id of a token is its number."""
    backend = Tokenizer(models.WordLevel({f"w{n}": n for n in range(words)}, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="w0")


def documents(tokens: int, words: int, longest: int = 40) -> list[list[int]]:
    """Documents of random words and lengths, so many tokens in all."""
    rng = np.random.default_rng(3)
    ids = rng.integers(0, words, tokens)
    cuts = np.flatnonzero(rng.random(tokens - 1) < 2 / longest) + 1
    return [part.tolist() for part in np.split(ids, cuts)]


def written(folder: Path, docs: Sequence[Sequence[int]]) -> Path:
    """Write documents of numbered words, one a line."""
    path = folder / "words.jsonl"
    texts = (" ".join(f"w{n}" for n in doc) for doc in docs)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def ingested(
    folder: Path, values: Values, docs: Sequence[Sequence[int]], site: str = "s", **sections: Any
) -> nm.Warehouse:
    """Ingest documents of numbered words with a table of values: model m on dataset d."""
    raw: dict[str, Any] = {
        "model": {"source": "table", "name": "m"},
        "data": {"path": str(written(folder, docs)), "name": "d"},
        "sites": {site: {"module": "table"}},
        "keep": {"tables": ALL},
        "batch": {"tokens": 64, "shard_tokens": 300},
    }
    for name, keys in sections.items():
        raw[name] = raw.get(name, {}) | keys
    wh = nm.create(folder / "wh")
    wh.ingest(
        parse_recipe(raw, "test", folder),
        module=Table(values),
        tokenizer=numbered_words(len(values)),
        progress=False,
    )
    return wh


def asked(wh: nm.Warehouse, sql: str) -> list[list[str]]:
    """Ask the stock shell."""
    program = find_duckdb()
    if program is None:
        pytest.skip("the duckdb shell is not installed")
    command = [program, "-init", f"{wh.path}/init.sql", "-csv", "-noheader", "-c", sql]
    done = subprocess.run(
        [*map(str, command), f"{wh.path}/warehouse.duckdb"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(csv.reader(io.StringIO(done.stdout)))
