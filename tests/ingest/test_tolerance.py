"""Batches of unequal windows against single ones, and how far they differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from demo_recipes import demo_recipe
from torch import Tensor

from neuronmap_sql.ingest.extraction.batching import make_batch
from neuronmap_sql.ingest.extraction.hooks import Extractor, extractor
from neuronmap_sql.ingest.extraction.tolerance import measure_tolerance
from neuronmap_sql.ingest.job import Job, prepare
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def job(demo_model: Path) -> Job:
    sites = {"use": ["mlp", "resid_post"]}
    return prepare(demo_recipe(demo_model, 20, sites=sites), Reporter(show=False))


def values(job: Job, numbers: list[int], size: int) -> dict[Hook, Tensor]:
    """Values of the counted tokens [tokens, width], in the order of `tok`, by hook."""
    windows = job.tokenization.windows
    found: dict[Hook, list[Tensor]] = {hook: [] for hook in job.hooks}
    tok: list[Tensor] = []
    with extractor(
        job.loaded.backbone,
        job.hooks,
        lambda hook, tensor: found[hook].append(tensor.reshape(-1, hook.width)[rows].clone()),
    ) as passes:
        for start in range(0, len(numbers), size):
            batch = make_batch(windows, np.array(numbers[start : start + size]), CPU)
            rows = batch.rows
            tok.append(batch.tok)
            passes.run(batch.input_ids, batch.attention_mask)
    order = torch.cat(tok).argsort()
    return {hook: torch.cat(parts)[order] for hook, parts in found.items()}


def test_padding_changes_values_by_rounding_only(job: Job) -> None:
    single = values(job, [0, 1, 2, 3, 4, 5, 6, 7], 1)
    padded = values(job, [3, 1, 7, 0, 2, 6, 4, 5], 8)
    for hook, one in single.items():
        assert (one - padded[hook]).abs().max() < 1e-4 * one.std()
        assert (one - padded[hook]).abs().max() > 0


def test_the_measured_tolerance_is_a_small_number(job: Job) -> None:
    windows = job.tokenization.windows
    found = measure_tolerance(job.loaded.backbone, job.hooks, windows, CPU, 0)
    assert 0 < found < 1e-4


def test_a_wrong_mask_shows(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches in which windows see something else than they do alone are far off."""
    run = Extractor.run

    def wrong(self: Extractor, input_ids: Tensor, mask: Tensor) -> None:
        # Hide the first token where there is padding: in the batch, not in single windows.
        seen = mask.clone()
        seen[:, 0] = mask.all(1)
        run(self, input_ids, seen)

    monkeypatch.setattr(Extractor, "run", wrong)
    windows = job.tokenization.windows
    assert measure_tolerance(job.loaded.backbone, job.hooks, windows, CPU, 0) > 0.1


def test_a_model_that_gives_nothing_finite_has_no_tolerance(job: Job) -> None:
    model = job.loaded.backbone
    bias = model.h[0].mlp.c_fc.bias  # type: ignore[union-attr,index]
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias.fill_(torch.nan)
        hooks = [hook for hook in job.hooks if hook.site == "mlp"]
        found = measure_tolerance(model, hooks, job.tokenization.windows, CPU, 0)
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert np.isnan(found)


@pytest.mark.slow
def test_results_do_not_depend_on_batches_shards_or_the_order_of_documents(
    demo_model: Path, tmp_path: Path
) -> None:
    keep = {"tables": ["stats", "top", "vectors"]}
    found = []
    for number, batch in enumerate(
        ({"tokens": 1, "shard_tokens": 300}, {"tokens": 4096, "shard_tokens": 100_000})
    ):
        store = Store.create(tmp_path / str(number))
        ingest(demo_recipe(demo_model, 20, keep=keep, batch=batch, sites={"layers": "0,3"}), store)
        with connect(store.root) as con:
            numbers = con.sql(
                "SELECT mean, variance, skewness, kurtosis, min, max, q050, q500, q950"
                " FROM neuron_stats ORDER BY layer, neuron"
            ).fetchall()
            counts = con.sql(
                "SELECT count, nonfinite, list_sum(hist_counts) FROM neuron_stats"
                " ORDER BY layer, neuron"
            ).fetchall()
            top = con.sql(
                "SELECT layer, neuron, side, list(tok) FROM top_activations GROUP BY ALL"
            ).fetchall()
        found.append((np.array(numbers), counts, {row[:3]: set(row[3]) for row in top}))
    (one, counts, top), (other, others, tops) = found
    assert counts == others
    np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-5)
    assert np.mean([top[key] == tops[key] for key in top]) > 0.99


def test_documents_in_another_order_give_the_same(job: Job) -> None:
    windows = job.tokenization.windows
    order = list(range(len(windows)))
    forward, backward = values(job, order, 4), values(job, order[::-1], 4)
    for hook, one in forward.items():
        assert (one - backward[hook]).abs().max() < 1e-4 * one.std()


def test_tolerance_is_a_function_of_the_seed(job: Job) -> None:
    windows = job.tokenization.windows
    found = [measure_tolerance(job.loaded.backbone, job.hooks, windows, CPU, 5) for _ in range(2)]
    assert found[0] == found[1]


def test_each_number_format_says_how_far_it_is_from_float32(
    demo_model: Path, tmp_path: Path
) -> None:
    found = {}
    for dtype in ("float32", "float16", "bfloat16"):
        store = Store.create(tmp_path / dtype)
        keep = {"tables": ["stats"]}
        ingest(demo_recipe(demo_model, 6, keep=keep, model={"dtype": dtype}), store)
        with connect(store.root) as con:
            ((tolerance, stored),) = con.sql(
                "SELECT tolerance, dtype FROM runs WHERE kind = 'activations'"
            ).fetchall()
            values = con.sql("SELECT mean, variance FROM neuron_stats ORDER BY ALL").fetchall()
        assert stored == dtype
        found[dtype] = tolerance, np.array(values)
    assert 0 < found["float32"][0] < 1e-4 < found["float16"][0] < found["bfloat16"][0] < 1
    exact = found["float32"][1]
    for dtype in ("float16", "bfloat16"):
        apart = np.abs(found[dtype][1] - exact).max() / np.abs(exact).max()
        assert 0 < apart < 10 * found[dtype][0]
