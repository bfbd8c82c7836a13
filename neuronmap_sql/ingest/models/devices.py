"""Choose the devices and the number format of the forward pass."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError, UsageError
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = [
    "Placement",
    "choose_device",
    "choose_dtype",
    "free_memory",
    "parameter",
    "placement",
    "release",
    "stored_dtype",
]


@dataclass(frozen=True)
class Placement:
    """Where a model is."""

    inputs: torch.device
    """Where token ids go."""
    computing: tuple[torch.device, ...]
    """All devices that run a part of it."""
    text: str
    """For `runs.device`: the device, or the parts of a device map with the modules on each."""


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


def placement(model: nn.Module) -> Placement:
    """Return where a model is: in one place, or where accelerate has spread it."""
    found = tuple(dict.fromkeys(_execution_devices(model)))
    if not found:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        return Placement(device, (device,), str(device))
    spread = [
        str(torch.device("cuda", where) if isinstance(where, int) else where)
        for where in getattr(model, "hf_device_map", {}).values()
    ]
    parts = [f"{where} ({spread.count(where)} modules)" for where in dict.fromkeys(spread)]
    return Placement(found[0], found, ", ".join(parts) or ", ".join(map(str, found)))


def _execution_devices(model: nn.Module) -> Iterator[torch.device]:
    for module in model.modules():
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            yield torch.device("cuda", device) if isinstance(device, int) else torch.device(device)


def parameter(module: nn.Module, name: str, device: torch.device) -> Tensor | None:
    """Return a parameter in float32 on a device, also where its values wait in memory or on disk.

    Returns:
        None if the module has no such parameter.
    """
    if getattr(module, name, None) is None:
        return None
    if not hasattr(module, "_hf_hook"):
        return _plain(module, name, device)
    from accelerate.utils import align_module_device

    with align_module_device(module):
        return _plain(module, name, device)


def _plain(module: nn.Module, name: str, device: torch.device) -> Tensor:
    values: Tensor = getattr(module, name)
    return values.detach().to(device).float()


def release(model: nn.Module) -> None:
    """Let the weights of a model go, whoever still holds it; it cannot run any more."""
    if any(hasattr(module, "_hf_hook") for module in model.modules()):
        from accelerate.hooks import remove_hook_from_submodules

        remove_hook_from_submodules(model)
    nn.Module.to(model, "meta")  # accelerate's own `to` refuses for a model that is spread
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(device: torch.device) -> int:
    """Return the bytes that a device has free now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
