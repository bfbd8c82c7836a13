"""What an ingest must find, by plain transformers hooks and one document window at a time."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

Array = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BruteForce:
    """All values of a GPT-2, and whose they are."""

    values: dict[tuple[str, int], Array]
    """[tokens, width] by site and layer."""
    doc: Ints
    """[tokens] Document of each token."""
    pos: Ints
    """[tokens] Position in the document."""
    token_id: Ints
    """[tokens] Token id."""


def texts_of(path: Path, docs: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(docs), strict=False)]


def brute_force(folder: Path, texts: list[str]) -> BruteForce:
    """Run a causal GPT-2 on each text, cut into windows of its context, batches of one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found: dict[tuple[str, int], list[Tensor]] = {}
    _record(model.transformer, found)
    doc, pos, token_id = [], [], []
    for number, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        doc += [number] * len(ids)
        pos += range(len(ids))
        token_id += ids
        for start in range(0, len(ids), model.config.n_positions):
            window = torch.tensor([ids[start : start + model.config.n_positions]])
            with torch.no_grad():
                model(window, attention_mask=torch.ones_like(window))
    values = {place: torch.cat(parts).numpy() for place, parts in found.items()}
    return BruteForce(values, np.array(doc), np.array(pos), np.array(token_id))


def _record(body: nn.Module, found: dict[tuple[str, int], list[Tensor]]) -> None:
    for layer, block in enumerate(body.h):  # type: ignore[arg-type]
        mlp = found.setdefault(("mlp", layer), [])
        post = found.setdefault(("resid_post", layer), [])
        block.mlp.c_proj.register_forward_pre_hook(lambda _, a, to=mlp: to.append(a[0][0].clone()))
        block.register_forward_hook(lambda _, __, out, to=post: to.append(_first(out)[0].clone()))


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]
