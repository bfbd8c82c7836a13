"""How far a run's values are from a batch-1 float32 pass: measured on a few windows."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neuronmap_sql.ingest.data.windows import Windows
from neuronmap_sql.ingest.extraction.hooks import extractor
from neuronmap_sql.ingest.models.forward import Hook

__all__ = ["measure_tolerance"]

_LENGTHS = (64, 48, 32, 17)
"""Of the sampled windows, in tokens: unequal, so that padding plays its part."""


def measure_tolerance(
    model: nn.Module, hooks: Sequence[Hook], windows: Windows, device: torch.device, seed: int
) -> float:
    """Compare one padded batch in the run's own dtype with single windows in float32.

    Returns:
        The largest absolute difference at any hook, over the standard deviation of that hook's
        float32 values; NaN if nothing finite could be compared, or a float32 copy of the model
        does not fit in memory beside it, or cannot be made because some of its weights wait on the
        disk.
    """
    chosen = _choose(windows, seed)
    try:
        batched = _values(model, hooks, chosen, device, together=True)
        exact = model
        if any(p.dtype != torch.float32 for p in model.parameters()):
            if any(p.is_meta for p in model.parameters()):
                return float("nan")
            exact = copy.deepcopy(model).float()
        single = _values(exact, hooks, chosen, device, together=False)
    except torch.OutOfMemoryError:
        return float("nan")  # the ingest itself may still do, with the copy gone
    found = (_difference(one, other) for one, other in zip(single, batched, strict=True))
    return max((each for each in found if np.isfinite(each)), default=float("nan"))


def _difference(exact: Tensor, other: Tensor) -> float:
    finite = exact.isfinite() & other.isfinite()
    exact, other = exact[finite].double(), other[finite].double()
    if len(exact) < 2:
        return float("nan")
    worst, spread = float((exact - other).abs().max()), float(exact.std())
    return worst / spread if spread > 0 else 0.0


def _choose(windows: Windows, seed: int) -> list[npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    numbers = random.permutation(len(windows))[: len(_LENGTHS)]
    starts, ends = windows.offsets[numbers], windows.offsets[numbers + 1]
    return [
        windows.input_ids[start : min(end, start + length)].astype(np.int64)
        for start, end, length in zip(starts, ends, _LENGTHS, strict=False)
    ]


def _values(
    model: nn.Module,
    hooks: Sequence[Hook],
    chosen: list[npt.NDArray[np.int64]],
    device: torch.device,
    *,
    together: bool,
) -> list[Tensor]:
    """Values of every hook at the chosen windows' tokens, one flat tensor a hook."""
    found: dict[Hook, list[Tensor]] = {hook: [] for hook in hooks}
    mask = torch.ones(0)

    def sink(hook: Hook, tensor: Tensor) -> None:
        found[hook].append(tensor.float()[mask.bool()].flatten().cpu())

    with extractor(model, hooks, sink) as passes:
        for group in [chosen] if together else [[ids] for ids in chosen]:
            ids = np.zeros((len(group), max(map(len, group))), dtype=np.int64)
            seen = np.zeros_like(ids)
            for row, one in enumerate(group):
                ids[row, : len(one)], seen[row, : len(one)] = one, 1
            mask = torch.from_numpy(seen).to(device)
            passes.run(torch.from_numpy(ids).to(device), mask)
    return [torch.cat(parts) for parts in found.values()]
