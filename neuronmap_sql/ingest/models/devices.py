"""Choose the device and the number format of the forward pass."""

from __future__ import annotations

import re
from typing import Any

import torch

from neuronmap_sql.errors import ModelError, UsageError
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["choose_device", "choose_dtype", "stored_dtype"]


def choose_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:N` means here.

    Raises:
        UsageError: the name is none of these.
        ModelError: the device is not here.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise UsageError(f"no device {name!r}: say auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    index, count = int(match[1] or 0), torch.cuda.device_count()
    if not torch.cuda.is_available() or index >= count:
        raise ModelError(f'no device {name!r} here, torch sees {count} GPUs: set device = "cpu"')
    return torch.device("cuda", index)


def choose_dtype(settings: ModelSettings, config: Any, device: torch.device) -> torch.dtype:
    """Return float32 on CPU and the stored weights' own dtype on a GPU, or what is asked for.

    Raises:
        ModelError: the GPU does not compute in bfloat16.
    """
    if settings.dtype != "auto":
        dtype: torch.dtype = getattr(torch, settings.dtype)
    elif device.type == "cpu":
        dtype = torch.float32
    else:
        dtype = stored_dtype(config) or torch.float32
    if dtype == torch.bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ModelError(
            f'{device} does not compute in bfloat16: set dtype = "float16" or "float32"'
        )
    return dtype


def stored_dtype(config: Any) -> torch.dtype | None:
    """Return the number format of the stored weights, if the configuration says it."""
    dtype = getattr(config, "dtype", None)
    return getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
