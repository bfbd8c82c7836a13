"""What an ablation must find: plain transformers, a hand-written hook, one window at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax
from transformers import AutoModelForCausalLM, AutoTokenizer

Floats = npt.NDArray[np.float64]


class PlainGPT2:
    """A GPT-2 and texts, cut into windows."""

    def __init__(self, folder: Path, texts: list[str], dtype: torch.dtype, context: int) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
        self.windows: list[torch.Tensor] = []
        self.doc: list[int] = []
        self.tok: list[int] = []
        tok = 0
        for number, text in enumerate(texts):
            ids = tokenizer(text, add_special_tokens=False).input_ids
            for start in range(0, len(ids), context):
                window = ids[start : start + context]
                self.windows.append(torch.tensor([window]))
                self.doc += [number] * (len(window) - 1)
                self.tok += range(tok + 1, tok + len(window))
                tok += len(window)

    def predictions(self, replaced: dict[tuple[int, int], float]) -> tuple[Floats, Floats]:
        """Log probabilities [predicted tokens, vocabulary], and their targets."""
        handles = [self._hook(*place, value) for place, value in replaced.items()]
        found, targets = [], []
        for window in self.windows:
            with torch.no_grad():
                logits = self.model(window).logits[0, :-1].double().numpy()
            found.append(log_softmax(logits, 1))
            targets.append(window[0, 1:].numpy())
        for handle in handles:
            handle.remove()
        return np.concatenate(found), np.concatenate(targets)

    def _hook(self, layer: int, neuron: int, value: float) -> Any:
        def replace(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            changed = args[0].clone()
            changed[:, :, neuron] = value
            return (changed,)

        return self.model.transformer.h[layer].mlp.c_proj.register_forward_pre_hook(replace)

    def changes(self, replaced: dict[tuple[int, int], float]) -> dict[str, Floats]:
        """Changes at every predicted token."""
        p, target = self.predictions({})
        q, _ = self.predictions(replaced)
        at = np.arange(len(target)), target
        ranks = [1 + (x > x[at][:, None]).sum(1) for x in (p, q)]
        return {
            "loss_change": p[at] - q[at],
            "entropy_change": (np.exp(p) * p).sum(1) - (np.exp(q) * q).sum(1),
            "rank_change": ranks[1] - ranks[0],
            "log_rank_change": np.log(ranks[1] / ranks[0]),
            "kl": (np.exp(p) * (p - q)).sum(1),
        }

    def clean_loss(self) -> float:
        p, target = self.predictions({})
        return float(-p[np.arange(len(target)), target].mean())

    def error(self, change: Floats) -> float:
        """Standard error of the mean, documents being the sample: of a ratio of sums."""
        docs = np.unique(self.doc)
        parts = [change[np.array(self.doc) == number] for number in docs]
        residual = np.array([part.sum() - len(part) * change.mean() for part in parts])
        return float(np.sqrt((residual**2).sum() * len(docs) / (len(docs) - 1)) / len(change))
