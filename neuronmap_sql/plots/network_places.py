"""Where the neurons of a network stand: in their layer's band, near their partners."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

__all__ = ["Neuron", "places"]

Neuron = tuple[str, int, int]
"""Model, layer and neuron."""

_SWEEPS = 8
_FILLED = 0.8
"""Share of a band that its neurons fill at most."""


def places(pairs: Sequence[tuple[Neuron, Neuron]], models: Sequence[str]) -> dict[Neuron, float]:
    """Return a height for every neuron: layer l has the band from l to l + 1.

    Neurons of a band are sorted by the mean height of their partners, model by model, back and
    forth: the barycentre heuristic, which leaves few lines crossed (Sugiyama et al. 1981).

    Args:
        pairs: neurons with a line between them.
        models: the columns, from left to right.
    """
    partners: dict[Neuron, list[Neuron]] = defaultdict(list)
    for start, end in pairs:
        partners[start].append(end)
        partners[end].append(start)
    bands: dict[tuple[str, int], list[Neuron]] = defaultdict(list)
    for key in sorted(partners):
        bands[key[:2]].append(key)
    heights = {key: at for band in bands.values() for key, at in _spread(band).items()}
    for sweep in range(_SWEEPS):
        for model in models if sweep % 2 else reversed(models):
            for band in (keys for (owner, _), keys in bands.items() if owner == model):
                means = {key: fmean(heights[other] for other in partners[key]) for key in band}
                heights |= _spread(sorted(band, key=lambda key: (means[key], key)))
    return heights


def _spread(band: Sequence[Neuron]) -> dict[Neuron, float]:
    """Return heights at equal distances; a few neurons do not take the whole band."""
    filled = min(_FILLED, 0.05 * len(band))
    start = band[0][1] + 0.5 - filled / 2
    return {key: start + filled * (at + 0.5) / len(band) for at, key in enumerate(band)}
