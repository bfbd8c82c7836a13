"""Models of one layer, one neuron, 100,000 neurons; with tied weights; modules of all kinds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_values import Table, documents, ingested, numbered_words, written
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

import neuronmap_sql as nm
from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.models.loading import from_module
from neuronmap_sql.ingest.recipe import TABLES, parse_recipe

WORDS = 30
DOCS = documents(200, WORDS)
IDS = np.concatenate(DOCS)


def saved(folder: Path, words: int = WORDS, **config: Any) -> Any:
    """Save a small random GPT-2 with its tokenizer; return the model."""
    small = {"vocab_size": WORDS, "n_embd": 8, "n_head": 2, "n_layer": 2, "n_positions": 64}
    own = {"bos_token_id": 0, "eos_token_id": 0}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **small | own | config))
    model.eval().save_pretrained(folder)
    numbered_words(words).save_pretrained(folder)
    return model


def recorded(folder: Path, model: Path, **sections: Any) -> nm.Warehouse:
    raw: dict[str, Any] = {
        "model": {"source": str(model), "name": "m"},
        "data": {"path": str(written(folder, DOCS)), "name": "d"},
    }
    wh = nm.create(folder / "wh")
    wh.ingest(parse_recipe(raw | sections, "test", folder), progress=False)
    return wh


SHAPES = {
    "one layer": {"n_layer": 1},
    "one neuron": {"n_inner": 1},
    "one of everything": {"n_layer": 1, "n_inner": 1, "n_embd": 1, "n_head": 1},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_models_of_one_layer_or_one_neuron(tmp_path: Path, shape: str) -> None:
    model = saved(tmp_path / "model", **SHAPES[shape])
    layers, width = model.config.n_layer, model.config.n_inner or 32
    seen: list[torch.Tensor] = []
    model.transformer.h[-1].mlp.c_proj.register_forward_pre_hook(lambda _, a: seen.append(a[0][0]))
    with torch.no_grad():
        for doc in DOCS:
            model(torch.tensor([doc]))
    expected = torch.cat(seen).numpy()
    with recorded(tmp_path, tmp_path / "model", keep={"tables": list(TABLES)}) as wh:
        found = wh.matrix("m", layers - 1)
        assert found.shape == (len(IDS), width)
        assert np.allclose(found, expected, rtol=1e-3, atol=1e-6)
        mean = wh.sql("SELECT mean FROM neuron_stats ORDER BY layer, neuron").fetchall()[-width:]
        assert np.allclose(np.ravel(mean), expected.mean(axis=0), rtol=1e-4, atol=1e-7)
        for table in ("neuron_stats", "neuron_weights", "activations"):
            count = wh.sql(f"SELECT count(*) FROM {table}").fetchall()
            assert count == [(layers * width,)]
        for ask in ("neuron('m', 0, 0)", "top_tokens('m', 0, 0)", "histogram_of('m', 0, 0)"):
            assert wh.sql(f"FROM {ask}").fetchall()
        wh.sql("FROM similar_neurons('m', 0, 0)").fetchall()


WIDE = """
import sys
from pathlib import Path
import numpy as np
import psutil
import resource
from known_values import ingested

folder = Path(sys.argv[1])
values = np.random.default_rng(0).standard_normal((20, 100_000)).astype(np.float32)
docs = [[n % 20 for n in range(start, start + 30)] for start in range(40)]
before = psutil.Process().memory_info().rss
wh = ingested(folder, values, docs, keep={"tables": ["stats", "top", "activations"], "top_k": 2},
              batch={"tokens": 0, "shard_tokens": 0})
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
ids = np.concatenate(docs)
exact = values.astype(np.float64)[ids].var(axis=0)
found = wh.sql("SELECT variance, max FROM neuron_stats ORDER BY neuron").pl()
assert np.allclose(found["variance"], exact, rtol=1e-9, atol=0)
assert np.array_equal(found["max"].to_numpy(), values.max(axis=0))
assert np.array_equal(wh.matrix("m", 0, site="s"), values[ids].astype(np.float16))
print(peak)
"""


@pytest.mark.slow
def test_a_layer_of_100_000_neurons_stays_small_in_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WIDE, str(tmp_path)],
        capture_output=True, text=True, cwd=Path(__file__).parent, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The histograms alone are 0.4 GB, the values of all tokens 0.5 GB in float32.
    assert int(done.stdout) < 2.2e9


def test_tied_weights_are_read_as_if_they_were_two(tmp_path: Path) -> None:
    tied = saved(tmp_path / "tied")
    apart = saved(tmp_path / "apart", tie_word_embeddings=False)
    apart.load_state_dict(tied.state_dict())
    apart.save_pretrained(tmp_path / "apart")
    found = []
    for name in ("tied", "apart"):
        (tmp_path / f"of {name}").mkdir()
        keep = {"tables": ["weights", "stats"]}
        with recorded(tmp_path / f"of {name}", tmp_path / name, keep=keep) as wh:
            rows = wh.sql("SELECT * EXCLUDE run FROM neuron_weights ORDER BY layer, neuron")
            count = wh.sql("SELECT parameters FROM models").fetchall()[0][0]
            found.append((rows.pl(), count))
    (one, counted), (other, twice) = found
    assert one.equals(other)
    assert one["vocab_kurtosis"].null_count() == 0
    assert twice - counted == WORDS * 8


def test_one_error_says_that_a_module_has_no_tokenizer_and_two_ways_out(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "model": {"source": "mine", "name": "m"},
        "data": {"path": str(written(tmp_path, DOCS))},
        "sites": {"s": {"module": "table"}},
        "keep": {"tables": ["stats"]},
    }
    module = Table(np.eye(WORDS, 3, dtype=np.float32))
    with nm.create(tmp_path / "wh") as wh:
        with pytest.raises(ModelError, match=r"^mine: no tokenizer comes .* set model.tokenizer"):
            wh.ingest(parse_recipe(raw, "test", tmp_path), module=module, progress=False)
        assert (wh.store.run_ids(), wh.store.unfinished()) == ((), ())
        raw["model"]["tokenizer"] = str(tmp_path / "tokenizer")
        (tmp_path / "tokenizer").mkdir()
        with pytest.raises(ModelError, match=r"tokenizer' has no tokenizer.json"):
            wh.ingest(parse_recipe(raw, "test", tmp_path), module=module, progress=False)
        numbered_words(WORDS).save_pretrained(tmp_path / "tokenizer")
        wh.ingest(parse_recipe(raw, "test", tmp_path), module=module, progress=False)
        assert wh.sql("SELECT DISTINCT count FROM neuron_stats").fetchall() == [(len(IDS),)]


def test_tokens_that_the_model_does_not_know_are_refused_before_any_work(tmp_path: Path) -> None:
    saved(tmp_path / "model", words=40, vocab_size=20)
    with pytest.raises(ModelError, match=r"gives token 29, and the model knows 20 tokens: set "):
        recorded(tmp_path, tmp_path / "model")
    assert nm.open(tmp_path / "wh").store.run_ids() == ()


class Kept(nn.Module):
    """Holds what a plain module seldom does."""

    def __init__(self, **buffers: torch.Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(2, 3)
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}

    def set_extra_state(self, state: object) -> None:
        pass

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)  # type: ignore[no-any-return]


def test_the_hash_of_a_module_sees_every_kind_of_weight() -> None:
    def hashed(**changed: torch.Tensor) -> str:
        torch.manual_seed(0)
        plain = {
            "number": torch.tensor(3),
            "mask": torch.ones(3, 3, dtype=torch.bool),
            "complex": torch.ones(2, dtype=torch.complex64),
            "none": torch.zeros(0),
            "sparse": torch.eye(3).to_sparse(),
            "turned": torch.arange(6.0).reshape(2, 3).T,
        }
        return from_module(Kept(**plain | changed), "m").info.weights_hash

    assert hashed() == hashed()
    others = {
        hashed(number=torch.tensor(4)),
        hashed(mask=torch.zeros(3, 3, dtype=torch.bool)),
        hashed(complex=torch.full((2,), 1j)),
        hashed(sparse=torch.zeros(3, 3).to_sparse()),
        hashed(turned=torch.arange(6.0).reshape(3, 2)),
    }
    assert len(others | {hashed()}) == 6


def test_a_module_whose_weights_are_not_there_yet_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'table\.weight' are on the meta device: load"):
        from_module(Kept().to("meta"), "m")


def test_a_module_of_two_tokens_can_be_looked_at(tmp_path: Path) -> None:
    values = np.float32([[1, 2, 3], [4, 5, 6]])
    with ingested(tmp_path, values, [[0, 1], [1]]) as wh:
        assert wh.matrix("m", 0, site="s").tolist() == values[[0, 1, 1]].tolist()
