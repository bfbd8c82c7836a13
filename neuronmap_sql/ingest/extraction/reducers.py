"""All statistics of one site and layer, gathered batch by batch on the device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from neuronmap_sql.ingest.settings import KeepSettings
from neuronmap_sql.numerics.bins import BINS
from neuronmap_sql.numerics.extremes import Extremes
from neuronmap_sql.numerics.histogram import add_to_histogram
from neuronmap_sql.numerics.moments import Moments, central_moments, power_sums
from neuronmap_sql.numerics.stripes import each_stripe, stripes

__all__ = ["Reduced", "SiteReducer", "reducer_bytes"]

_KEY_BYTES = 2 * 8  # of an extreme that is kept, and of one that waits
_TILE_VALUES = {"cpu": 128 * 768, "cuda": 2**26}
"""Values worked on at a time: what stays in a core's cache, or what fills a GPU."""


@dataclass(frozen=True)
class Reduced:
    """What one reducer found, on the host."""

    count: npt.NDArray[np.int64]
    """[neurons] finite values."""
    nonfinite: npt.NDArray[np.int64]
    """[neurons] NaN and infinite values, left out everywhere."""
    moments: Moments
    """Population moments, [neurons] each."""
    histogram: npt.NDArray[np.int32]
    """[neurons, 1024] values in each bin of `numerics.bins`."""
    highest: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
    """Values and tokens [neurons, k]; token -1 where there are fewer than k values."""
    lowest: tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
    """The same for the lowest."""
    sample: npt.NDArray[np.float32]
    """[sampled tokens, neurons] values of the sampled tokens; NaN where not finite."""


def reducer_bytes(neurons: int, keep: KeepSettings, sampled: int) -> int:
    """Return the memory of a SiteReducer at its most, when it merges the extremes of one stripe."""
    k = keep.top_k if "top" in keep.tables else 1
    return neurons * (2 * _KEY_BYTES * k + 4 * BINS + 4 * sampled)


class SiteReducer:
    """Moments, histogram, extremes and sampled tokens of one site and layer.

    Everything that it holds is in `state()`; an interrupted ingest goes on from there bit for bit.
    """

    def __init__(
        self, neurons: int, keep: KeepSettings, sample_tok: torch.Tensor, device: torch.device
    ) -> None:
        k = keep.top_k if "top" in keep.tables else 1
        self.sums = torch.zeros(4, neurons, dtype=torch.float64, device=device)
        self.shift = torch.zeros(neurons, dtype=torch.float64, device=device)
        self.count = torch.zeros(neurons, dtype=torch.int64, device=device)
        self.nonfinite = torch.zeros(neurons, dtype=torch.int64, device=device)
        self.histogram = torch.zeros(neurons, BINS, dtype=torch.int32, device=device)
        self.sample_tok = sample_tok.to(device)
        self.sample = torch.full((len(sample_tok), neurons), torch.nan, device=device)
        self._stripes = stripes(neurons, device)
        widths = [part.stop - part.start for part in self._stripes]
        self._highest = [Extremes(width, k, lowest=False, device=device) for width in widths]
        self._lowest = [Extremes(width, k, lowest=True, device=device) for width in widths]
        self._tile = max(1, _TILE_VALUES["cpu" if device.type == "cpu" else "cuda"] // max(widths))

    def update(self, values: torch.Tensor, tok: torch.Tensor) -> None:
        """Take in `values` [tokens, neurons] in float32 of the tokens `tok` [tokens] (int64)."""
        at = torch.searchsorted(self.sample_tok, tok).clamp_(max=len(self.sample_tok) - 1)
        hit = (self.sample_tok[at] == tok).nonzero().squeeze(1)
        sampled = values[hit]
        self.sample[at[hit]] = sampled.masked_fill_(~sampled.isfinite(), torch.nan)

        def reduce(number: int) -> None:
            part = self._stripes[number]
            tiles = values[:, part].split(self._tile)
            for tile, tile_tok in zip(tiles, tok.split(self._tile), strict=True):
                finite = self._count(part, tile)
                self._highest[number].update(finite, tile_tok)
                self._lowest[number].update(finite, tile_tok)

        each_stripe(reduce, len(self._stripes), values.device)

    def _count(self, part: slice, values: torch.Tensor) -> torch.Tensor:
        """Add a tile to moments and histogram; return it with NaN for what is not finite."""
        self._choose_shift(part, values)
        sums = power_sums(values, self.shift[part])
        if bool(sums.isfinite().all()):
            self.sums[:, part] += sums
            self.count[part] += len(values)
            add_to_histogram(self.histogram[part], values)
            return values
        finite = values.isfinite()
        self.count[part] += finite.sum(0)
        self.nonfinite[part] += (~finite).sum(0)
        self.sums[:, part] += power_sums(values, self.shift[part], finite)
        add_to_histogram(self.histogram[part], values, finite)
        return values.masked_fill(~finite, torch.nan)

    def _choose_shift(self, part: slice, values: torch.Tensor) -> None:
        """Take a neuron's first finite mean as its shift: near the mean, sums lose no digits."""
        fresh = self.count[part] == 0
        if bool(fresh.any()):
            finite = values.double().masked_fill_(~values.isfinite(), torch.nan)
            first = finite.nanmean(0).nan_to_num_(0.0)
            self.shift[part] = torch.where(fresh, first, self.shift[part])

    def state(self) -> dict[str, torch.Tensor]:
        """Everything gathered so far, as tensors on the host."""
        held = {
            "sums": self.sums, "shift": self.shift, "count": self.count,
            "nonfinite": self.nonfinite, "histogram": self.histogram, "sample": self.sample,
            "highest": torch.cat([part.settle() for part in self._highest]),
            "lowest": torch.cat([part.settle() for part in self._lowest]),
        }  # fmt: skip
        return {name: tensor.cpu().contiguous() for name, tensor in held.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from an earlier `state()`."""
        for name in ("sums", "shift", "count", "nonfinite", "histogram", "sample"):
            setattr(self, name, state[name].to(self.sums.device))
        for part, highest, lowest in zip(self._stripes, self._highest, self._lowest, strict=True):
            highest.restore(state["highest"][part])
            lowest.restore(state["lowest"][part])

    def result(self) -> Reduced:
        """Return what was found, on the host."""
        count = self.count.cpu().numpy()
        return Reduced(
            count=count,
            nonfinite=self.nonfinite.cpu().numpy(),
            moments=central_moments(count, self.shift.cpu().numpy(), self.sums.cpu().numpy()),
            histogram=self.histogram.cpu().numpy(),
            highest=_joined(self._highest),
            lowest=_joined(self._lowest),
            sample=self.sample.cpu().numpy(),
        )


def _joined(parts: list[Extremes]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    values, toks = zip(*(part.result() for part in parts), strict=True)
    return np.concatenate(values), np.concatenate(toks)
