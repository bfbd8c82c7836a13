"""Train the demo models: small GPT-2s from different seeds on the shipped corpus.

    python demo/train.py --seed 1 --name demo-a --checkpoints 100 400 1200

One process trains one model on one thread (two threads are slower than two processes at this
size). The work is saved every 100 steps under `demo/.work/`; the same command goes on
from there. The result, `demo/models/NAME`, holds float16 safetensors, the tokenizer and
`training.json` with data, steps, losses and time. Needs torch, transformers, tokenizers.

Hidden matrices are trained with Muon, embeddings, gains and biases with AdamW; the forward runs in
bfloat16. The tokenizer, a byte-level BPE of 4,096, is trained once and shared by all models.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
WORK = HERE / ".work"
END = "<|endoftext|>"
CONTEXT = 256
BATCH = 16
MUON_RATE = 0.02
ADAM_RATE = 6e-3
WARMUP = 60


def corpus(split: str) -> list[str]:
    with lzma.open(HERE / "corpus.jsonl.xz", "rt", encoding="utf-8") as lines:
        return [row["text"] for row in map(json.loads, lines) if row["split"] == split]


def tokenizer() -> PreTrainedTokenizerFast:
    path = WORK / "tokenizer.json"
    if not path.exists():
        bpe = ByteLevelBPETokenizer()
        bpe.train_from_iterator(corpus("train"), vocab_size=4096, special_tokens=[END])
        bpe.save(str(path))
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        bos_token=END,
        eos_token=END,
        unk_token=END,
        model_max_length=CONTEXT,
    )


def tokens(split: str) -> np.ndarray:
    """All documents of a split, each after an end-of-text token, as one vector of ids."""
    path = WORK / f"{split}.npy"
    if not path.exists():
        ids = tokenizer()(corpus(split))["input_ids"]
        np.save(path, np.concatenate([np.array([0, *row], dtype=np.uint16) for row in ids]))
    return np.load(path)


def new_model(seed: int) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=4096,
            n_positions=CONTEXT,
            n_embd=128,
            n_layer=4,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and ".h." in name]
    rest = [p for name, p in model.named_parameters() if not (p.ndim == 2 and ".h." in name)]
    return [
        torch.optim.Muon(hidden, lr=MUON_RATE, weight_decay=0.01, momentum=0.95),
        torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True),
    ]


def rate(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero."""
    return min((step + 1) / WARMUP, (steps - step) / (steps - WARMUP))


def loss_of(model: GPT2LMHeadModel, batch: torch.Tensor) -> torch.Tensor:
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(input_ids=batch, use_cache=False).logits
    return cross_entropy(logits[:, :-1].float().flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def heldout_loss(model: GPT2LMHeadModel, device: str) -> float:
    """Mean loss in nats a token over all held-out windows, in float32."""
    ids = tokens("heldout").astype(np.int64)
    windows = torch.from_numpy(ids[: len(ids) // CONTEXT * CONTEXT].reshape(-1, CONTEXT))
    total = 0.0
    for part in windows.split(32):
        batch = part.to(device)
        logits = model(input_ids=batch, use_cache=False).logits
        total += float(
            cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
        )
    return total / (len(windows) * (CONTEXT - 1))


def unigram_entropy() -> float:
    """Entropy in nats of the held-out token frequencies: what a model without context can reach."""
    counts = np.bincount(tokens("heldout"), minlength=4096).astype(float)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def save(model: GPT2LMHeadModel, folder: Path, facts: dict[str, Any]) -> None:
    half = GPT2LMHeadModel(model.config).half()
    half.load_state_dict({k: v.half() for k, v in model.state_dict().items()})
    half.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n")


def train(seed: int, name: str, steps: int, checkpoints: list[int], device: str) -> None:
    torch.set_num_threads(1)
    WORK.mkdir(exist_ok=True)
    ids = torch.from_numpy(tokens("train").astype(np.int64))
    model = new_model(seed).to(device)
    opts = optimizers(model)
    state_file, start, spent = WORK / f"{name}.pt", 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        for opt, saved in zip(opts, state["optimizers"], strict=True):
            opt.load_state_dict(saved)
        start, spent = state["step"], state["seconds"]
    bases = [
        opt.param_groups[0]["lr"] if start == 0 else r
        for opt, r in zip(opts, (MUON_RATE, ADAM_RATE), strict=True)
    ]

    def facts(step: int, seconds: float) -> dict[str, Any]:
        return {
            "name": name,
            "seed": seed,
            "step": step,
            "of_steps": steps,
            "tokens": step * BATCH * CONTEXT,
            "corpus_tokens": len(ids),
            "heldout_loss_nats": round(heldout_loss(model, device), 4),
            "heldout_unigram_entropy_nats": round(unigram_entropy(), 4),
            "seconds": round(seconds),
            "device": device,
            "threads": 1,
            "processor": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "parameters": model.num_parameters(),
        }

    began = time.monotonic()
    for step in range(start, steps):
        # The windows of a step depend on seed and step alone, so a resumed training is the same.
        draw = np.random.default_rng((seed, step)).integers(0, len(ids) - CONTEXT, BATCH)
        batch = torch.stack([ids[at : at + CONTEXT] for at in draw]).to(device)
        for opt, base in zip(opts, bases, strict=True):
            opt.param_groups[0]["lr"] = base * rate(step, steps)
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        done, seconds = step + 1, spent + time.monotonic() - began
        if done % 20 == 0:
            print(
                f"{name} step {done}/{steps} loss {loss.item():.3f} "
                f"{(done - start) * BATCH * CONTEXT / (time.monotonic() - began):,.0f} tokens/s",
                flush=True,
            )
        if not math.isfinite(loss.item()):
            raise SystemExit(f"{name}: loss is not finite at step {done}")
        if done in checkpoints:
            save(model, HERE / "models" / f"{name}-step{done}", facts(done, seconds))
        if done % 100 == 0:
            state = {
                "model": model.state_dict(),
                "optimizers": [o.state_dict() for o in opts],
                "step": done,
                "seconds": seconds,
            }
            torch.save(state, state_file.with_suffix(".tmp"))
            state_file.with_suffix(".tmp").replace(state_file)
    save(model, HERE / "models" / name, facts(steps, spent + time.monotonic() - began))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--checkpoints", type=int, nargs="*", default=[])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args()
    train(args.seed, args.name, args.steps, args.checkpoints, args.device)


if __name__ == "__main__":
    main()
