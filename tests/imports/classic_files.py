"""HDF5 files in the classic layout, written with h5py alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

QUESTIONS = {0: "What is two?", 1: "Ist das – ein Fragezeichen?", 2: "Why?", 10: "And ten?"}
LAYERS = ("transformer_h_0_mlp_c_proj", "transformer_h_11_mlp_c_proj", "transformer_h_0_attn")


def vector(question: int, layer: str) -> npt.NDArray[np.float32]:
    """Values that tell where they belong; one of them is zero."""
    found = np.arange(5) * 0.1 + question + 100 * LAYERS.index(layer)
    found[3] = 0
    return found.astype(np.float32)


def statistics(values: npt.NDArray[Any]) -> dict[str, float]:
    """What the classic writer tells of a vector."""
    return {
        "mean": float(np.mean(values)), "std": float(np.std(values)), "min": float(np.min(values)),
        "max": float(np.max(values)), "sparsity": float(np.mean(values == 0)),
    }  # fmt: skip


def classic(path: Path, **root: Any) -> Path:
    """Write a file as the classic writer does: texts, vectors, shapes, statistics as JSON."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"model_name": "gpt2", "num_questions": len(QUESTIONS)} | root)
        file.attrs["extraction_config"] = json.dumps({"max_length": 512})
        texts, activations = file.create_group("questions"), file.create_group("activations")
        for question, text in QUESTIONS.items():
            texts.create_dataset(f"question_{question}", data=text)
            group = activations.create_group(f"question_{question}")
            for name in LAYERS:
                layer = group.create_group(name)
                values = vector(question, name)
                layer.create_dataset("vector", data=values.tolist())
                layer.attrs["shape"] = values.shape
                layer.attrs["stats"] = json.dumps(statistics(values))
    return path


def bare(path: Path, **vectors: Any) -> Path:
    """Write a file of one question whose layers have vectors of any kind of data."""
    with h5py.File(path, "w") as file:
        file.attrs["model_name"] = "m"
        for name, data in vectors.items():
            file.create_dataset(f"activations/question_0/{name}/vector", data=data)
    return path
