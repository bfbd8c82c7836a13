"""`neuron_weights` against numpy on the raw checkpoint, and folding by what defines it.

Folding is right if a model with the folded weights computes what the raw model computes: the same
pre-activations, and the same probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
import torch
from demo_recipes import demo_recipe
from safetensors.numpy import load_file
from scipy import stats
from transformers import AutoModelForCausalLM, AutoTokenizer

from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

Array = npt.NDArray[np.float64]
Raw = dict[str, Array]
LAYER = 2
EVERY = 8
"""Neurons compared: each eighth."""
IDS = torch.randint(0, 4096, (3, 40), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def raw(demo_model: Path) -> Raw:
    found = load_file(demo_model / "model.safetensors")
    return {name.removeprefix("transformer."): v.astype(np.float64) for name, v in found.items()}


@pytest.fixture
def model(demo_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def unfolded(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("unfolded") / "warehouse"
    keep, weights = {"tables": ["weights"]}, {"folding": "none", "tokens": 4}
    ingest(demo_recipe(demo_model, 1, keep=keep, weights=weights), Store.create(root))
    with connect(root) as con:
        yield con


def rows(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    query = "SELECT * FROM neuron_weights WHERE layer = $layer ORDER BY neuron"
    table = con.sql(query, params={"layer": LAYER}).to_arrow_table()
    assert table["neuron"].to_pylist() == list(range(512))
    found = {name: table[name].to_pylist() for name in table.column_names}
    return {k: v if k in ("promoted", "suppressed") else np.array(v) for k, v in found.items()}


def centred(matrix: Array) -> Array:
    return matrix - matrix.mean(axis=-1, keepdims=True)


def fold(raw: Raw) -> tuple[Array, Array, Array, Array]:
    """Input weights, bias, output weights [neurons, d_model], unembedding [vocabulary, d_model]."""
    block = f"h.{LAYER}."
    gain, shift = raw[f"{block}ln_2.weight"], raw[f"{block}ln_2.bias"]
    w_in = raw[f"{block}mlp.c_fc.weight"].T
    bias = raw[f"{block}mlp.c_fc.bias"] + w_in @ shift
    w_u = centred(raw["wte.weight"] * raw["ln_f.weight"])
    w_out = centred(raw[f"{block}mlp.c_proj.weight"])
    return centred(w_in * gain), bias, w_out, w_u - w_u.mean(axis=0)


def plain(raw: Raw) -> tuple[Array, Array, Array, Array]:
    block = f"h.{LAYER}.mlp."
    w_in, bias = raw[f"{block}c_fc.weight"].T, raw[f"{block}c_fc.bias"]
    return w_in, bias, raw[f"{block}c_proj.weight"], raw["wte.weight"]


def check(found: dict[str, Any], weights: tuple[Array, Array, Array, Array], demo: Path) -> None:
    w_in, bias, w_out = (weight[::EVERY] for weight in weights[:3])
    w_u, found = weights[3], {name: values[::EVERY] for name, values in found.items()}
    in_norm, out_norm = np.linalg.norm(w_in, axis=1), np.linalg.norm(w_out, axis=1)
    near = {"rel": 1e-5, "abs": 1e-7}
    assert found["w_in_norm"] == pytest.approx(in_norm, **near)
    assert found["w_out_norm"] == pytest.approx(out_norm, **near)
    assert found["bias"] == pytest.approx(bias, rel=1e-5, abs=1e-6)
    cosine = (w_in * w_out).sum(axis=1) / in_norm / out_norm
    assert found["in_out_cosine"] == pytest.approx(cosine, abs=1e-6)
    assert found["l2_penalty"] == pytest.approx(in_norm**2 + out_norm**2, rel=1e-5)
    assert np.abs(np.stack(found["w_out"]) - w_out).max() < 1e-6
    assert set(found["w_up_norm"]) == {None}
    cosines = (w_u / np.linalg.norm(w_u, axis=1, keepdims=True)) @ (w_out.T / out_norm)
    assert found["vocab_mean"] == pytest.approx(cosines.mean(axis=0), abs=1e-7)
    assert found["vocab_variance"] == pytest.approx(cosines.var(axis=0), rel=1e-4)
    assert found["vocab_skewness"] == pytest.approx(stats.skew(cosines), abs=1e-4)
    kurtosis = stats.kurtosis(cosines, fisher=False)
    assert found["vocab_kurtosis"] == pytest.approx(kurtosis, rel=1e-4)
    check_null_share(found["null_share"], w_out, w_u)
    check_tokens(found, cosines, demo)


def check_null_share(found: Array, w_out: Array, w_u: Array) -> None:
    """By the full decomposition; what is centred never has the mean, which is left out."""
    few = w_out.shape[1] // 64
    if np.abs(w_u.sum(axis=1)).max() < 1e-6 * np.abs(w_u).max():
        mean = np.full(w_u.shape[1], w_u.shape[1] ** -0.5)
        w_u = np.vstack([w_u, 1e9 * mean])
    _, _, directions = np.linalg.svd(w_u, full_matrices=False)
    share = ((w_out @ directions[-few:].T) ** 2).sum(axis=1) / (w_out**2).sum(axis=1)
    assert found == pytest.approx(share, rel=1e-3, abs=1e-6)
    assert share.max() > 3 * share.mean() > 0


def check_tokens(found: dict[str, Any], cosines: Array, demo: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(demo)
    for side, sign in (("promoted", -1), ("suppressed", 1)):
        order = np.argsort(sign * cosines, axis=0, kind="stable")
        best = np.take_along_axis(cosines, order, axis=0)
        for neuron in range(0, 512 // EVERY, 5):
            said, value = found[side][neuron], found[f"{side}_cosine"][neuron]
            assert value == pytest.approx(best[: len(said), neuron], abs=1e-6)
            # Two that are within rounding may change places.
            near = order[: len(said) + 1, neuron][:, None].tolist()
            assert set(said) <= set(tokenizer.batch_decode(near))


def test_folded_weights(con: duckdb.DuckDBPyConnection, raw: Raw, demo_model: Path) -> None:
    found = rows(con)
    assert set(found["folding"]) == {"norm"}
    assert {len(said) for said in found["promoted"]} == {10}
    check(found, fold(raw), demo_model)


def test_raw_weights(unfolded: duckdb.DuckDBPyConnection, raw: Raw, demo_model: Path) -> None:
    found = rows(unfolded)
    assert set(found["folding"]) == {"none"}
    assert {len(said) for said in found["suppressed"]} == {4}
    check(found, plain(raw), demo_model)


def test_the_two_differ(con: duckdb.DuckDBPyConnection, raw: Raw, demo_model: Path) -> None:
    with pytest.raises(AssertionError):
        check(rows(con), plain(raw), demo_model)


def probabilities(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.log_softmax(model(IDS).logits.double(), -1)


def test_folded_input_weights_give_the_same_pre_activations(model: Any, raw: Raw) -> None:
    w_in, bias, _, _ = fold(raw)
    block, seen = model.transformer.h[LAYER], []
    block.ln_2.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    block.mlp.c_fc.register_forward_hook(lambda _, __, out: seen.append(out))
    probabilities(model)
    stream, pre = (x.double().numpy() for x in seen)
    scaled = centred(stream) / np.sqrt(stream.var(axis=-1, keepdims=True) + 1e-5)
    assert np.abs(scaled @ w_in.T + bias - pre).max() < 1e-4
    # Neither is needed of a stream that is centred already: centring changes nothing there.
    gained = raw[f"h.{LAYER}.mlp.c_fc.weight"].T * raw[f"h.{LAYER}.ln_2.weight"]
    assert np.abs(scaled @ gained.T + bias - pre).max() < 1e-4


def test_stored_output_weights_give_the_same_probabilities(
    con: duckdb.DuckDBPyConnection, model: Any
) -> None:
    before = probabilities(model)
    weight = model.transformer.h[LAYER].mlp.c_proj.weight
    stored = torch.from_numpy(np.stack(rows(con)["w_out"]).astype(np.float32))
    with torch.no_grad():
        assert (weight - stored).abs().max() > 1e-4
        weight.copy_(stored)
        assert (probabilities(model) - before).abs().max() < 1e-3
        weight.copy_(2 * stored)
    assert (probabilities(model) - before).abs().max() > 0.01


def test_the_folded_unembedding_gives_the_same_probabilities(model: Any, raw: Raw) -> None:
    _, _, _, w_u = fold(raw)
    seen: list[torch.Tensor] = []
    model.transformer.ln_f.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    before = probabilities(model)
    stream = seen[0].double().numpy()
    scaled = centred(stream) / np.sqrt(stream.var(axis=-1, keepdims=True) + 1e-5)
    logits = scaled @ w_u.T + raw["wte.weight"] @ raw["ln_f.bias"]
    after = torch.log_softmax(torch.from_numpy(logits), -1)
    assert (after - before).abs().max() < 1e-3
