"""What do others take to record the same activations, and what do they not store? Prints tables.

    python benchmarks/peers.py
    python benchmarks/peers.py --tokens 2048 --layers 4 --envs some/folder

TransformerLens, nnsight, SAELens and h5py record all MLP neurons of a GPT-2 (random weights) over
the demo text in float16, each in an environment of its own, and so do two ingests of ours. All see
the same token ids in the same batches, in windows of one length without padding. Each reads a
sample of what it wrote back from the disk, which is compared with ours.

The environments lie in --envs and are used again. They link to the packages of the environment
that runs this script, so that torch and transformers are the same ones in all of them unless a
pinned package refuses those.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from common import machine, shown
from environments import environment, windows
from numpy.typing import NDArray
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from neuronmap_sql import content

SCRIPTS = Path(__file__).with_suffix("")
SAMPLE = 64
VALUES_ONLY = "texts, documents, token strings, statistics, top tokens, provenance"


@dataclass(frozen=True)
class Peer:
    """One way to record activations."""

    name: str
    script: str
    """File in `peers/`."""
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    """What its environment has beside ours; without any, it runs in ours."""
    lacks: str = ""
    """What it does not store."""


PEERS = (
    Peer("bare forward, no head", "bare.py"),
    Peer(
        "ours: activations",
        "ours.py",
        ("activations",),
        lacks="statistics beyond zone maps, top tokens; float32 digits",
    ),
    Peer(
        "ours: stats, top, samples, activations",
        "ours.py",
        ("stats", "top", "samples", "activations"),
        lacks="float32 digits",
    ),
    Peer(
        "TransformerLens, torch.save",
        "with_transformer_lens.py",
        packages=("transformer-lens==4.3.0",),
        lacks=f"token ids, {VALUES_ONLY}; a neuron is in all files, a batch each",
    ),
    Peer(
        "nnsight, torch.save",
        "with_nnsight.py",
        packages=("nnsight==0.8.1",),
        lacks=f"token ids, {VALUES_ONLY}; a neuron is in all files, a batch each",
    ),
    Peer(
        "SAELens, CacheActivationsRunner",
        "with_sae_lens.py",
        packages=("sae-lens==6.54.12",),
        lacks=f"{VALUES_ONLY}; each hook is a run, with the token ids again",
    ),
    Peer(
        "hooks and h5py",
        "with_h5py.py",
        packages=("h5py==3.16.0",),
        lacks=f"token ids, {VALUES_ONLY}",
    ),
)


@dataclass
class Runs:
    """What the rounds of one peer told."""

    reports: list[dict[str, float]] = field(default_factory=list)
    sample: NDArray[np.float16] | None = None
    failure: str = ""

    def median(self, key: str) -> float:
        return statistics.median(report[key] for report in self.reports)


def write_task(folder: Path, tokens: int, positions: int, batch: int, layers: int) -> None:
    """Write the model, the text as one document a window, and its token ids."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=layers, n_ctx=1024
    )  # TransformerLens 3 asks for it, as GPT-2 has it
    GPT2LMHeadModel(config).save_pretrained(folder / "gpt2")
    tokenizer = AutoTokenizer.from_pretrained(content.folder("demo") / "models" / "demo-a")
    tokenizer.model_max_length = config.n_positions
    tokenizer.save_pretrained(folder / "gpt2")
    pieces, ids = windows(tokenizer, tokens // positions // batch * batch, positions)
    lines = [json.dumps({"text": piece}) for piece in pieces]
    (folder / "text.jsonl").write_text("\n".join(lines), encoding="utf-8")
    np.save(folder / "tokens.npy", np.array(ids))
    chosen = np.random.default_rng(0).choice(len(ids) * positions, SAMPLE, replace=False)
    np.save(folder / "sample.npy", np.sort(chosen))
    width = config.n_inner or 4 * config.n_embd
    task = {"model": str(folder / "gpt2"), "batch": batch, "layers": layers, "width": width}
    (folder / "task.json").write_text(json.dumps(task))


def run(peer: Peer, envs: Path, task: Path, out: Path, seen: Runs) -> None:
    """Let a peer record once, and add to what was seen of it; its values are removed again."""
    out.mkdir()
    try:
        python = environment(envs, peer.packages)
        words = [python, SCRIPTS / peer.script, task, out, *peer.arguments]
        env = os.environ | {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline"}
        subprocess.run(words, check=True, capture_output=True, text=True, env=env)
    except subprocess.CalledProcessError as error:
        seen.failure = _reason(error)
    else:
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        report = json.loads(out.with_suffix(".json").read_text())
        seen.reports.append(report | {"bytes": size})
        seen.sample = np.load(out.with_suffix(".npy"))
    shutil.rmtree(out)


def _reason(error: subprocess.CalledProcessError) -> str:
    """Return the last error in what a process complained about, or how it ended."""
    lines = [line.strip() for line in (error.stderr or "").splitlines() if "error" in line.lower()]
    return lines[-1][:200] if lines else f"exit status {error.returncode}"


def tell(seen: dict[Peer, Runs], values: int) -> None:
    """Print what was measured, and what is not stored."""
    bare = next(runs for peer, runs in seen.items() if peer.script == "bare.py")
    ours = next(runs for peer, runs in seen.items() if peer.script == "ours.py")
    if not bare.reports:
        raise SystemExit(f"the bare forward failed: {bare.failure}")
    titles = (
        "what", "load, s", "pass, s", "over bare forward", "MB on disk", "bytes a value",
        "peak memory, MB", "of it anonymous", "largest difference from ours",
    )  # fmt: skip
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for peer, runs in seen.items():
        if not runs.reports:
            print(f"| {peer.name} | could not run: {runs.failure} {'| ' * (len(titles) - 2)}|")
            continue
        ratio = statistics.median(
            one["seconds"] / base["seconds"]
            for one, base in zip(runs.reports, bare.reports, strict=False)
        )
        size = runs.median("bytes")
        cells = [
            peer.name,
            f"{runs.median('load'):.1f}",
            f"{runs.median('seconds'):.1f}",
            shown(ratio),
            f"{size / 1e6:,.0f}",
            f"{size / values:.2f}",
            f"{runs.median('resident'):,.0f}",
            f"{runs.median('anonymous'):,.0f}",
            "" if runs is bare else _difference(runs, ours),
        ]
        print(f"| {' | '.join(cells)} |")
    print("\n| what | does not store |\n|---|---|")
    for peer in (each for each in seen if each.lacks):
        print(f"| {peer.name} | {peer.lacks} |")


def _difference(runs: Runs, ours: Runs) -> str:
    if runs.sample is None or ours.sample is None:
        return "not compared"
    one, other = runs.sample.astype(np.float64), ours.sample.astype(np.float64)
    return f"{np.abs(one - other).max():.2g} of {np.abs(other).max():.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=8192, help="rounded down to whole batches")
    parser.add_argument("--positions", type=int, default=128, help="tokens of a window")
    parser.add_argument("--batch", type=int, default=16, help="windows of a forward pass")
    parser.add_argument("--layers", type=int, default=12, help="layers of the GPT-2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="of the others: h5py, nnsight, ...")
    parser.add_argument("--envs", type=Path, help="folder to keep the environments in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        task, envs = Path(aside) / "task", options.envs or Path(aside) / "envs"
        task.mkdir()
        write_task(task, options.tokens, options.positions, options.batch, options.layers)
        wanted = [peer for peer in PEERS if not peer.packages or _named(peer, options.only)]
        seen = {peer: Runs() for peer in wanted}
        for number in range(options.rounds):
            for peer, runs in seen.items():
                print(f"round {number + 1}: {peer.name}", file=sys.stderr, flush=True)
                if not runs.failure:
                    run(peer, envs.resolve(), task, Path(aside) / f"out{number}", runs)
        print(machine("torch", "transformers"))
        print(", ".join(package for peer in wanted for package in peer.packages))
        tokens = np.load(task / "tokens.npy").size
        print(f"{tokens:,} tokens, {options.layers} layers, {options.rounds} rounds\n")
        width = json.loads((task / "task.json").read_text())["width"]
        tell(seen, tokens * options.layers * width)


def _named(peer: Peer, words: list[str]) -> bool:
    return not words or any(word in peer.script for word in words)


if __name__ == "__main__":
    main()
