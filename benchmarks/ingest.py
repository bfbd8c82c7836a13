"""What does an ingest cost over the bare forward pass of the same tokens? Prints tables of ratios.

    python benchmarks/ingest.py --tokens 16384 --rounds 2       time over the bare forward
    python benchmarks/ingest.py --tokens 65536 --what "ingest: stats, top, samples, weights"
    python benchmarks/ingest.py --only growth --tokens 3000     memory, and both at ten times
    python benchmarks/ingest.py --only stages                   processor time of each reduction
    python benchmarks/ingest.py --device cuda                   the same on a GPU

Model: GPT-2 small's shape (12 layers, 3,072 neurons each, vocabulary of 50,257) with random
weights, over the demo text. The bare forward is that of `AutoModelForCausalLM`, in batches that are
the ingest's own; the ingest is all of it, from loading the model to the committed runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import Timing, machine, paired, texts
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from neuronmap_sql import content
from neuronmap_sql.ingest.extraction.batching import Batch, make_batch, plan_shards
from neuronmap_sql.ingest.job import prepare, work_of
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.settings import DataSettings, KeepSettings, ModelSettings, Recipe
from neuronmap_sql.numerics.extremes import Extremes
from neuronmap_sql.numerics.histogram import add_to_histogram
from neuronmap_sql.numerics.moments import power_sums
from neuronmap_sql.warehouse.store import Store

STATISTICS = ("stats", "top", "samples")
KEPT = {
    "ingest: stats, top, samples": STATISTICS,
    "ingest: weights alone": ("weights",),
    "ingest: stats, top, samples, weights": (*STATISTICS, "weights"),
    "ingest: stats, top, samples, activations": (*STATISTICS, "activations"),
}


@dataclass(frozen=True)
class Bench:
    """A folder with a model and a text, and where to work."""

    folder: Path
    device: str

    def recipe(self, tokens: int, keep: tuple[str, ...] = STATISTICS) -> Recipe:
        model = ModelSettings(str(self.folder / "gpt2"), name="gpt2", device=self.device)
        data = DataSettings(str(write_text(self.folder, tokens)), name="text")
        return Recipe(model, data, keep=KeepSettings(tables=keep))

    def ingest(self, tokens: int, keep: tuple[str, ...]) -> None:
        warehouse = Path(tempfile.mkdtemp(dir=self.folder))
        ingest(self.recipe(tokens, keep), Store.create(warehouse))
        shutil.rmtree(warehouse)

    def batches(self, tokens: int) -> list[Batch]:
        """Return the batches of an ingest."""
        work = work_of(prepare(self.recipe(tokens), Reporter(show=False)))
        windows, found = work.tokenization.windows, []
        lengths = np.diff(windows.offsets)
        for shard in plan_shards(windows, work.shard_tokens):
            done = 0
            while done < len(shard.windows):
                numbers = shard.batch(done, lengths, work.batch_tokens)
                found.append(make_batch(windows, numbers, work.device))
                done += len(numbers)
        return found


def write_model(folder: Path) -> None:
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(folder / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(content.folder("demo") / "models" / "demo-a")
    tokenizer.model_max_length = 1024
    tokenizer.save_pretrained(folder / "gpt2")


def write_text(folder: Path, tokens: int) -> Path:
    """Write documents of the demo text until so many tokens are reached."""
    path = folder / f"text-{tokens}.jsonl"
    if not path.exists():
        tokenizer, seen, lines = AutoTokenizer.from_pretrained(folder / "gpt2"), 0, []
        for text in texts():
            if seen < tokens:
                seen += len(tokenizer.encode(text))
                lines.append(json.dumps({"text": text}))
        path.write_text("\n".join(lines), encoding="utf-8")
    return path


def bare_model(bench: Bench) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(
        bench.folder / "gpt2", dtype="auto", attn_implementation="sdpa"
    )
    device = "cuda" if bench.device == "auto" and torch.cuda.is_available() else bench.device
    return model.eval().to("cpu" if device == "auto" else device)


@torch.inference_mode()
def run(model: torch.nn.Module, batches: list[Batch]) -> None:
    for batch in batches:
        model(batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    if batches[0].input_ids.is_cuda:
        torch.cuda.synchronize()


def save(folder: Path, tokens: int) -> None:
    """Write the bytes of all values as plain .npy files, one a layer."""
    values = np.ones((tokens, 3072), np.float16)
    for layer in range(12):
        np.save(folder / f"{layer}.npy", values)


def speed(bench: Bench, tokens: int, rounds: int, what: str) -> None:
    """Print wall and processor time over the bare forward's, of all or of one ingest."""
    batches, model = bench.batches(tokens), bare_model(bench)
    counted = sum(len(batch.rows) for batch in batches)
    positions = sum(batch.input_ids.numel() for batch in batches)
    contenders: dict[str, Callable[[], object]] = {
        "bare forward": partial(run, model, batches),
        "bare forward without the LM head": partial(run, model.base_model, batches),
        **{name: partial(bench.ingest, tokens, keep) for name, keep in KEPT.items()},
        "np.save of all values, float16": partial(save, bench.folder, counted),
    }
    if what:
        contenders = {name: contenders[name] for name in ("bare forward", what)}
    run(model, batches[:1])
    taken = paired(contenders, rounds, warm=False)
    print(f"{counted:,} tokens ({positions:,} positions with padding), {rounds} rounds\n")
    print("| what | seconds | wall time over bare | processor time over bare |\n|---|---|---|---|")
    for name, one in taken.items():
        print(f"| {name} | {one.seconds:.1f} | {one.ratio:.2f} | {one.cpu_ratio:.2f} |")


def growth(bench: Bench, tokens: int) -> None:
    """Print peak memory and time, at `tokens` and at ten times as many, a process each."""
    print(
        "| what | tokens | seconds | anonymous memory, peak MB | file pages, peak MB | GPU MB |\n"
        "|---|---|---|---|---|---|"
    )
    for name in ("bare forward", *KEPT):
        for count in (tokens, 10 * tokens):
            words = [sys.executable, __file__, "--only", "child", "--tokens", str(count)]
            words += ["--device", bench.device, "--folder", str(bench.folder), "--what", name]
            told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            print(f"| {name} | {count:,} | {told.splitlines()[-1]} |", flush=True)


def child(bench: Bench, tokens: int, what: str) -> None:
    """Do one thing, and print its seconds and its peak memory."""
    peaks, stop = {"RssAnon": 0, "RssFile": 0}, threading.Event()

    def watch() -> None:
        # Pages of mapped files count as resident too, though the system takes them back at will.
        while not stop.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            for key, value in (line.split(":") for line in lines if line.startswith("Rss")):
                if key in peaks:
                    peaks[key] = max(peaks[key], int(value.split()[0]))

    watcher = threading.Thread(target=watch)
    if what == "bare forward":
        batches, model = bench.batches(tokens), bare_model(bench)
        work: Callable[[], object] = partial(run, model, batches)
    else:
        work = partial(bench.ingest, tokens, KEPT[what])
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    stop.set()
    watcher.join()
    gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    anonymous, mapped = (peaks[key] / 1e3 for key in ("RssAnon", "RssFile"))
    print(f"{seconds:.1f} | {anonymous:,.0f} | {mapped:,.0f} | {gpu / 1e6:,.0f}")


def stages(rounds: int = 10) -> None:
    """Print what a value costs in each reduction, on one thread, as a reducer calls it."""
    torch.set_num_threads(1)
    torch.empty(31 << 20, dtype=torch.uint8)
    values = torch.nn.functional.gelu(torch.randn(4096, 768) * (torch.rand(768) * 2 + 0.2) - 0.5)
    tiles, tok = values.split(128), torch.arange(128)
    counts, shift = torch.zeros(768, 1024, dtype=torch.int32), values.double().mean(0)
    both = [Extremes(768, 20, lowest=lowest, device="cpu") for lowest in (False, True)]
    half = torch.empty_like(tiles[0], dtype=torch.float16)
    seen = iter(range(10**9))

    def extremes(tile: torch.Tensor) -> None:
        for one in both:
            one.update(tile, tok + 128 * next(seen))

    work: dict[str, Callable[[torch.Tensor], object]] = {
        "copy to float16": half.copy_,
        "moments": lambda tile: power_sums(tile, shift),
        "histogram": partial(add_to_histogram, counts),
        "highest and lowest 20": extremes,
    }
    contenders = {name: partial(_each, one, tiles) for name, one in work.items()}
    with torch.inference_mode():
        taken: dict[str, Timing] = paired(contenders, rounds)
    print("| reduction | processor ns a value |\n|---|---|")
    for name, one in taken.items():
        print(f"| {name} | {one.cpu / values.numel() * 1e9:.2f} |")


def _each(work: Callable[[torch.Tensor], object], tiles: tuple[torch.Tensor, ...]) -> None:
    for tile in tiles:
        work(tile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--only", choices=["speed", "growth", "stages", "child"], default="speed")
    parser.add_argument("--folder", type=Path, help="folder to keep the model and the text in")
    parser.add_argument("--what", choices=["", "bare forward", *KEPT], default="", help="only this")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as aside:
        bench = Bench(options.folder or Path(aside), options.device)
        if options.only == "child":
            child(bench, options.tokens, options.what)
            return
        print(machine("torch", "transformers"))
        if options.only == "stages":
            stages()
            return
        if not (bench.folder / "gpt2").exists():
            write_model(bench.folder)
        if options.only == "speed":
            speed(bench, options.tokens, options.rounds, options.what)
        else:
            growth(bench, options.tokens)


if __name__ == "__main__":
    main()
