"""What does a comparison of models cost, stage by stage, and how exact is it? Prints tables.

    python benchmarks/universality.py
    python benchmarks/universality.py --published CHECKOUT --envs some/folder
    python benchmarks/universality.py --only products --device cuda

One GPT-2 with four others, random weights that drift apart, so that their neurons correlate from
nothing to almost one. With --published the same is done by the correlation script of "Universal
Neurons in GPT2 Language Models" from a checkout of its repository: plain correlations and rotated
ones of each pair, as its authors ran it. Errors are against float64 over the same tokens.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, shown
from environments import environment, windows
from numpy.typing import NDArray
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from neuronmap_sql import content
from neuronmap_sql.ingest.comparison import compare as job
from neuronmap_sql.ingest.comparison.findings import Findings
from neuronmap_sql.ingest.comparison.readers import LiveReader
from neuronmap_sql.ingest.comparison.recipe import parse_comparison
from neuronmap_sql.numerics import products
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store

PACKAGES = ("transformer-lens==3.9.0", "seaborn==0.13.2", "plotly==6.3.0")
EVERY = 97
"""One neuron in so many is compared with float64."""


def write_task(folder: Path, options: argparse.Namespace) -> None:
    """Write the models, the text as one document a window, and its token ids."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=options.layers, n_embd=options.width, n_head=options.width // 64, vocab_size=4096
    )
    first = GPT2LMHeadModel(config)
    tokenizer = AutoTokenizer.from_pretrained(content.folder("demo") / "models" / "demo-a")
    tokenizer.model_max_length = config.n_positions
    models = []
    for number in range(options.models):
        other = GPT2LMHeadModel(config)
        share = number / options.models
        for mine, theirs in zip(other.parameters(), first.parameters(), strict=True):
            mine.data.mul_(share).add_(theirs.data, alpha=1 - share)
        models.append(str(folder / f"model-{number}"))
        other.save_pretrained(models[-1])
        tokenizer.save_pretrained(models[-1])
    # The published script leaves line ends out.
    pieces, ids = windows(tokenizer, options.tokens // 128, 128, lines=False)
    lines = [json.dumps({"text": piece}) for piece in pieces]
    (folder / "text.jsonl").write_text("\n".join(lines), encoding="utf-8")
    np.save(folder / "tokens.npy", np.array(ids))
    task = {"models": models, "batch": 16, "every": EVERY}
    (folder / "task.json").write_text(json.dumps(task))


@contextmanager
def timed(owner: Any, name: str, seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time within a function of ours to a stage."""
    original = getattr(owner, name)

    def clocked(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began

    setattr(owner, name, clocked)
    try:
        yield
    finally:
        setattr(owner, name, original)


def ours(folder: Path, out: Path, precision: str) -> dict[str, float]:
    """Run `neuronmap compare`, from loading to the committed run; return seconds a stage."""
    told = json.loads((folder / "task.json").read_text())
    recipe = parse_comparison(
        {
            "models": [{"source": model} for model in told["models"]],
            "data": {"path": str(folder / "text.jsonl")},
            "keep": {"draws": 1, "matchings": [], "pairs": "first"},
            "work": {"precision": precision, "batch_tokens": 2048},
        },
        "benchmark",
        folder,
    )
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    from neuronmap_sql.ingest.comparison import sums

    with (
        timed(job, "ready", seconds, "load and tokenize"),
        timed(LiveReader, "values", seconds, "forward passes"),
        timed(sums, "add_products", seconds, "products"),
        timed(Findings, "add", seconds, "partners and baselines"),
        timed(Staging, "write", seconds, "write"),
    ):
        job.compare(recipe, Store.create(out))
    seconds["all"] = time.perf_counter() - began
    return seconds


def exact(folder: Path) -> list[NDArray[np.float64]]:
    """Correlations in float64 of one neuron in EVERY of the first model, with each other model."""
    told = json.loads((folder / "task.json").read_text())
    tokens = torch.from_numpy(np.load(folder / "tokens.npy"))
    sides = []
    for number, source in enumerate(told["models"]):
        values = _values(Path(source), tokens)
        values = values[:, ::EVERY] if number == 0 else values
        centred = values.double() - values.double().mean(0)
        sides.append(centred / centred.norm(dim=0))
    return [(sides[0].T @ side).numpy() for side in sides[1:]]


def _values(source: Path, tokens: torch.Tensor) -> torch.Tensor:
    model = GPT2LMHeadModel.from_pretrained(source).transformer.eval()
    seen: list[list[torch.Tensor]] = [[] for _ in model.h]
    for block, kept in zip(model.h, seen, strict=True):
        block.mlp.c_proj.register_forward_pre_hook(
            lambda _, a, to=kept: to.append(a[0].flatten(0, 1).clone())
        )
    with torch.inference_mode():
        for batch in tokens.split(16):
            model(batch)
    return torch.cat([torch.cat(kept) for kept in seen], dim=1)


def errors_of_ours(out: Path, truth: list[NDArray[np.float64]], width: int) -> float:
    """Return the largest error of the stored partners' correlations."""
    worst = 0.0
    with connect(out) as con:
        for number, table in enumerate(truth, 1):
            found = con.sql(
                f"SELECT layer * {width} + neuron AS mine, partner_layer * {width} + partner_neuron"
                f" AS theirs, r FROM neuron_pairs WHERE model = 'model-0'"
                f" AND partner_model = 'model-{number}'"
                f" AND (layer * {width} + neuron) % {EVERY} = 0"
            ).to_arrow_table()
            mine, theirs, r = (found[name].to_numpy() for name in ("mine", "theirs", "r"))
            worst = max(worst, float(np.abs(table[mine // EVERY, theirs] - r).max()))
    return worst


def tell_products(device: str) -> None:
    """Print the speed and the error of products by tokens in float32, and the machine's best."""
    where = torch.device(device)
    tokens, width = 16_384, 3072
    random = torch.Generator().manual_seed(0)
    x = torch.nn.functional.gelu(torch.randn(tokens, width, generator=random))
    y = 0.9 * x + 0.1 * torch.randn(tokens, width, generator=random)
    x, y = (v.sub(v.mean(0)).to(where) for v in (x, y))
    total = torch.zeros(width, width, dtype=torch.float64, device=where)
    norm = x.double().norm(dim=0)[:, None] * y.double().norm(dim=0)
    truth = (x.double().T @ y.double()) / norm
    work = 2 * tokens * width**2 / 1e9

    def clocked(run: Any) -> float:
        best = float("inf")
        for _ in range(3):
            total.zero_()
            _wait(where)
            began = time.perf_counter()
            run()
            _wait(where)
            best = min(best, time.perf_counter() - began)
        return work / best

    peak = clocked(lambda: x.T @ y)
    print(
        "| tokens in float32 | GFLOP/s | of float32's product | largest error in r |\n"
        "|---|---|---|---|"
    )
    for run in (0, 32, 64, 128, 256, 512, 1024):
        rate = clocked(lambda run=run: products.add_products(total, x, y, run))
        worst = float((total / norm - truth).abs().max())
        chosen = " (auto)" if run == products.tokens_in_float32(tokens, where) else ""
        name = "none: float64" if run == 0 else str(run)
        print(f"| {name}{chosen} | {rate:,.0f} | {shown(rate / peak)} | {worst:.1e} |")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def published(folder: Path, out: Path, checkout: Path, envs: Path) -> dict[str, float]:
    """Run the published script in an environment of its own; return seconds a stage."""
    script = Path(__file__).parent / "peers" / "with_universal_neurons.py"
    words = [environment(envs, PACKAGES), script, checkout.resolve(), folder, out]
    env = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run(words, check=True, env=env, stdout=subprocess.DEVNULL)
    report: dict[str, float] = json.loads((out / "report.json").read_text())
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=5)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384, help="units of the residual stream")
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--only", choices=["all", "products"], default="all")
    parser.add_argument("--device", default="cpu", help="for --only products")
    parser.add_argument("--published", type=Path, help="checkout of wesg52/universal-neurons")
    parser.add_argument("--envs", type=Path, help="folder to keep the environment in")
    options = parser.parse_args()
    print(machine("torch", "transformers"), file=sys.stderr)
    if options.only == "products":
        tell_products(options.device)
        return
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        write_task(folder, options)
        truth = exact(folder)
        theirs: dict[str, float] = {}
        if options.published:
            (folder / "published").mkdir()
            envs = (options.envs or folder / "envs").resolve()
            theirs = published(folder, folder / "published", options.published, envs)
        for precision in ("auto", "float32", "float64"):
            stages = ours(folder, folder / precision, precision)
            worst = errors_of_ours(folder / precision, truth, 4 * options.width)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            ratio = f", published over ours {shown(theirs['seconds'] / stages['all'])}" * bool(
                theirs
            )
            parts = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
            print(f"ours, {precision}: {parts} s; largest error in r {worst:.1e}; "
                  f"peak memory {peak:,.0f} MB{ratio}", flush=True)  # fmt: skip
        if theirs:
            found = [np.load(folder / "published" / f"{n}.npy") for n in range(1, options.models)]
            worst = max(float(np.nanmax(np.abs(a - b))) for a, b in zip(found, truth, strict=True))
            lost = np.mean([np.mean(~np.isfinite(values)) for values in found])
            parts = ", ".join(f"{name} {value:,.1f}" for name, value in theirs.items())
            print(f"published: {parts}; largest error in r {worst:.1e}, not finite {lost:.2%}")


if __name__ == "__main__":
    main()
