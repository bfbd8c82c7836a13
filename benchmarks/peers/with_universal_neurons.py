"""The published correlation script of "Universal Neurons in GPT2 Language Models", as it stands.

    python with_universal_neurons.py CHECKOUT TASK OUT

The first model of the task is compared with each other one, plain and with rotated partners, which
is what its authors ran. Models are handed over in memory: its own start downloads them by name.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import AutoTokenizer, GPT2LMHeadModel


def hooked(folder: Path) -> HookedTransformer:
    """Load a GPT-2 of any shape, its weights as they are."""
    plain = GPT2LMHeadModel.from_pretrained(folder)
    found = plain.config
    config = HookedTransformerConfig(
        n_layers=found.n_layer,
        d_model=found.n_embd,
        n_ctx=found.n_positions,
        d_head=found.n_embd // found.n_head,
        n_heads=found.n_head,
        d_mlp=found.n_inner or 4 * found.n_embd,
        act_fn="gelu_new",
        d_vocab=found.vocab_size,
        eps=found.layer_norm_epsilon,
        normalization_type="LN",
        device="cpu",
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    model = HookedTransformer(config, tokenizer=tokenizer)
    model.load_and_process_state_dict(
        convert_gpt2_weights(plain, config),
        fold_ln=False,
        center_writing_weights=False,
        center_unembed=False,
    )
    return model.eval()


def main(checkout: Path, task: Path, out: Path) -> None:
    sys.path.insert(0, str(checkout))
    import correlations_fast as published
    from analysis.correlations import flatten_layers, summarize_correlation_matrix

    torch.set_grad_enabled(False)
    told = json.loads((task / "task.json").read_text())
    tokens = {"tokens": torch.from_numpy(np.load(task / "tokens.npy"))}
    report: dict[str, Any] = {"load": 0.0, "none": 0.0, "rotation": 0.0, "summary": 0.0}
    clock = time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        report[stage] += now - clock
        clock = now

    for number, other in enumerate(told["models"][1:], 1):
        for baseline in ("none", "rotation"):
            # Each of its runs loads both models.
            pair = [hooked(Path(folder)) for folder in (told["models"][0], other)]
            lap("load")
            options = argparse.Namespace(
                similarity_type="pearson", baseline=baseline, batch_size=told["batch"],
                model_1_device="cpu", model_2_device="cpu", correlation_device="cpu",
            )  # fmt: skip
            published.args = options  # one of its functions reads what only its own start sets
            found = published.run_correlation_experiment(options, *pair, tokens)
            lap(baseline)
            flat = flatten_layers(found).to(torch.float32)
            both = [summarize_correlation_matrix(side) for side in (flat, flat.T)]
            torch.save(both, out / f"{number}-{baseline}.pt")
            lap("summary")
            if baseline == "none":
                np.save(out / f"{number}.npy", flat[:: told["every"]].numpy())
                clock = time.perf_counter()
    report["seconds"] = sum(report.values())
    report["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    (out / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
