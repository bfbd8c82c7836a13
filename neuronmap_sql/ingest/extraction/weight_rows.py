"""Rows of `neuron_weights`: norms, cosines, and what a neuron says about the vocabulary.

Definitions follow Gurnee et al., "Universal Neurons in GPT2 Language Models" (arXiv 2401.12181):
moments over the vocabulary are those of cos(unembedding, output weights). Folding follows what
TransformerLens does to a model on loading, which that paper's numbers rest on.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from neuronmap_sql.ingest.extraction.rows import nullable
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.weights_map import (
    MlpWeights,
    Unembedding,
    mlp_weights,
    unembedding,
)
from neuronmap_sql.ingest.progress import Meter
from neuronmap_sql.ingest.settings import WeightSettings
from neuronmap_sql.numerics.moments import central_moments, power_sums
from neuronmap_sql.numerics.stripes import each_stripe

__all__ = ["mlp_places", "seconds_a_neuron", "weight_rows"]

_CHUNK = {"cpu": 128, "cuda": 4096}
"""Neurons measured at a time, by a thread or by a GPU."""
_NULL_PART = 64
"""One in so many directions counts as the unembedding's null space: 12 of 768 in GPT-2."""
_TILE_VALUES = {"cpu": 1 << 17, "cuda": 1 << 26}
"""Cosines computed and summed at a time: on a CPU they stay in the cache between the two."""

Columns = dict[str, Any]


def mlp_places(loaded: LoadedModel) -> list[tuple[str, int]]:
    """Return site and layer of every MLP whose weights the model's family maps, in order."""
    if loaded.family is None:
        return []
    return [
        (site.name, layer)
        for stack in loaded.family.stacks
        for site in stack.sites
        if site.kind == "mlp" and stack.weights.w_out and site.name.split(".")[-1] == "mlp"
        for layer in range(int(getattr(loaded.config, stack.layers)))
    ]


def weight_rows(loaded: LoadedModel, settings: WeightSettings, meter: Meter) -> pa.Table:
    """Measure the weights of every MLP neuron of a model.

    Args:
        loaded: the model.
        settings: folding, and how many promoted and suppressed tokens to keep.
        meter: advanced by the neurons done.

    Returns:
        The table without `run`; the vocabulary columns are NULL for a model without unembedding,
        and for an encoder, whose residual stream never reaches it.
    """
    vocabulary = _vocabulary(loaded, settings)
    tables = []
    for site, layer in mlp_places(loaded):
        weights = mlp_weights(loaded, layer, site)
        assert weights is not None
        weights = _folded(weights) if settings.folding == "norm" else weights
        neurons = len(weights.w_out)
        columns = {
            "model": pa.repeat(loaded.info.model, neurons),
            "site": pa.repeat(site, neurons),
            "layer": pa.repeat(pa.scalar(layer, pa.int32()), neurons),
            "neuron": np.arange(neurons, dtype=np.int32),
            **_norms(weights),
            **(
                vocabulary.columns(weights.w_out, meter)
                if vocabulary is not None and _unembedded(loaded, site)
                else _none(neurons)
            ),
            "w_out": _lists(weights.w_out),
            "folding": pa.repeat(settings.folding, neurons),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def seconds_a_neuron(loaded: LoadedModel, settings: WeightSettings) -> float:
    """Time some neurons of the first MLP; without an unembedding it is nothing worth a word."""
    vocabulary = _vocabulary(loaded, settings)
    if vocabulary is None:
        return 0.0
    site, layer = mlp_places(loaded)[-1]
    weights = mlp_weights(loaded, layer, site)
    assert weights is not None
    few = weights.w_out[: 2 * _CHUNK["cpu"]]
    began = time.perf_counter()
    vocabulary.columns(few)
    return (time.perf_counter() - began) / len(few)


def _vocabulary(loaded: LoadedModel, settings: WeightSettings) -> _Vocabulary | None:
    head = unembedding(loaded)
    return None if head is None else _Vocabulary.of(loaded, head, settings)


def _unembedded(loaded: LoadedModel, site: str) -> bool:
    """Whether a site writes to the residual stream that the unembedding reads: the last stack's."""
    stacks = loaded.family.stacks if loaded.family else ()
    return any(site == mapped.name for mapped in stacks[-1].sites)


def _folded(weights: MlpWeights) -> MlpWeights:
    """Fold the norm before the MLP into the input weights, and centre what LayerNorm centres.

    LayerNorm takes out the mean of the residual stream, so a part of the input weights that only
    reads the mean, and a part of the output weights that only writes it, have no effect.
    """
    norm = weights.norm
    if norm is None:
        return weights
    gain = torch.ones(weights.w_in.shape[1]).to(weights.w_in) if norm.gain is None else norm.gain
    bias, w_in, w_out = weights.bias, weights.w_in * gain, weights.w_out
    w_up = None if weights.w_up is None else weights.w_up * gain
    if norm.bias is not None:
        added = weights.w_in @ norm.bias
        bias = added if bias is None else bias + added
    if norm.kind == "layernorm":
        w_in = _centred(w_in)
        w_up = None if w_up is None else _centred(w_up)
        w_out = _centred(w_out)
    return MlpWeights(w_in, w_up, bias, w_out, None)


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)


def _norms(weights: MlpWeights) -> Columns:
    w_in, w_out = weights.w_in.double(), weights.w_out.double()
    in_norm, out_norm = w_in.norm(dim=1), w_out.norm(dim=1)
    cosine = (w_in * w_out).sum(1) / (in_norm * out_norm)
    empty = torch.full_like(in_norm, torch.nan)
    up_norm = empty if weights.w_up is None else weights.w_up.double().norm(dim=1)
    bias = empty if weights.bias is None else weights.bias.double()
    found = {
        "w_in_norm": in_norm, "w_up_norm": up_norm, "bias": bias, "w_out_norm": out_norm,
        "in_out_cosine": cosine, "l2_penalty": in_norm**2 + out_norm**2,
    }  # fmt: skip
    return {name: nullable(values.cpu().numpy()) for name, values in found.items()}


@dataclass(frozen=True)
class _Vocabulary:
    """The unembedding as unit rows, and the tokens as text."""

    unit: Tensor
    """[vocabulary, d_model] unit rows."""
    mean: Tensor
    """[d_model] their mean."""
    unread: Tensor
    """[d_model, directions] orthonormal: what the unembedding reads least."""
    text: pa.Array
    """[vocabulary] tokens decoded by themselves."""
    keep: int
    """Promoted and suppressed tokens kept."""

    @classmethod
    def of(cls, loaded: LoadedModel, head: Unembedding, settings: WeightSettings) -> _Vocabulary:
        w_u, centred = head.w_u, False
        if settings.folding == "norm":
            if head.norm is not None:
                w_u = w_u if head.norm.gain is None else w_u * head.norm.gain
                centred = head.norm.kind == "layernorm"
                w_u = _centred(w_u) if centred else w_u
            # A constant added to all logits changes no probability, unless they are capped.
            if not getattr(loaded.config, "final_logit_softcapping", None):
                w_u = w_u - w_u.mean(0)
        ids = [[token] for token in range(len(w_u))]
        text = loaded.tokenizer.batch_decode(ids) if loaded.tokenizer else [str(i[0]) for i in ids]
        unit = normalize(w_u, dim=1)
        unread = _unread(w_u, centred=centred)
        return cls(unit, unit.mean(0), unread, pa.array(text), min(settings.tokens, len(w_u)))

    def columns(self, w_out: Tensor, meter: Meter | None = None) -> Columns:
        kind = "cpu" if w_out.device.type == "cpu" else "cuda"
        chunks = normalize(w_out, dim=1).split(_CHUNK[kind])
        parts: list[Columns] = [{} for _ in chunks]

        def measure(number: int) -> None:
            parts[number] = self._chunk(chunks[number], _TILE_VALUES[kind])

        each_stripe(measure, len(chunks), w_out.device)
        if meter is not None:
            meter.advance(len(w_out))
        return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}

    def _chunk(self, unit: Tensor, tile_values: int) -> Columns:
        cosines = torch.empty(len(unit), len(self.unit), device=unit.device)
        shift = (unit @ self.mean).double()
        sums = torch.zeros(4, len(unit), dtype=torch.float64, device=unit.device)
        rows = max(1, tile_values // len(unit))
        for tokens, tile in zip(self.unit.split(rows), cosines.split(rows, dim=1), strict=True):
            torch.mm(unit, tokens.T, out=tile)
            sums += power_sums(tile.T, shift)
        count = np.full(len(unit), cosines.shape[1], dtype=np.int64)
        moments = central_moments(count, shift.cpu().numpy(), sums.cpu().numpy())
        found = {f"vocab_{name}": nullable(values) for name, values in vars(moments).items()}
        share = (unit.double() @ self.unread).square().sum(1)
        found["null_share"] = nullable(share.cpu().numpy())
        for name, largest in (("promoted", True), ("suppressed", False)):
            value, token = cosines.topk(self.keep, dim=1, largest=largest)
            texts = self.text.take(pa.array(token.reshape(-1).cpu().numpy()))
            found[name] = pa.ListArray.from_arrays(_offsets(value), texts)
            found[f"{name}_cosine"] = _lists(value)
        return found


def _unread(w_u: Tensor, *, centred: bool) -> Tensor:
    """Return the right singular vectors of the least singular values, [d_model, directions].

    The mean over d_model is left out where it was taken off everywhere: nobody writes it.
    """
    width = w_u.shape[1]
    gram = torch.zeros(width, width, dtype=torch.float64, device=w_u.device)
    for rows in w_u.split(1 << 14):
        gram += rows.double().T @ rows.double()
    few = max(1, width // _NULL_PART)
    directions: Tensor = torch.linalg.eigh(gram).eigenvectors
    return directions[:, int(centred) : int(centred) + few]


def _none(neurons: int) -> Columns:
    """NULLs for a model without an unembedding."""
    moments = [f"vocab_{name}" for name in ("mean", "variance", "skewness", "kurtosis")]
    kinds = dict.fromkeys([*moments, "null_share"], pa.float64())
    for name in ("promoted", "suppressed"):
        kinds |= {name: pa.list_(pa.string()), f"{name}_cosine": pa.list_(pa.float32())}
    return {name: pa.nulls(neurons, kind) for name, kind in kinds.items()}


def _lists(rows: Tensor) -> pa.Array:
    flat = rows.float().reshape(-1).cpu().numpy()
    return pa.ListArray.from_arrays(_offsets(rows), nullable(flat))


def _offsets(rows: Tensor) -> pa.Array:
    return pa.array(np.arange(0, rows.numel() + 1, rows.shape[1], dtype=np.int32))
