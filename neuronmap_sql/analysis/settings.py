"""What an analysis of labels is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from neuronmap_sql.errors import UsageError

__all__ = ["LabelSettings"]


@dataclass(frozen=True)
class LabelSettings:
    """Which values to score against which labels.

    Raises:
        UsageError: a number is out of range.
    """

    model: str
    """Model, or model@revision."""
    dataset: str | None = None
    """Dataset; None: the only one with values."""
    site: str = "mlp"
    """Site."""
    layers: tuple[int, ...] | None = None
    """Layers; None: all with values."""
    labels: tuple[str, ...] | None = None
    """Labels; None: all of token_classes, and those of docs that are no names of documents."""
    lags: tuple[int, ...] = (0, 1)
    """How many tokens back the label is; labels of positions and documents have none but 0."""
    least: int = 10
    """Tokens that a class needs to be named as best or top, or to be kept with its mean."""
    means: int = 10
    """Classes of a label kept with their means, at most; 0: none."""
    memory: int = 256 << 20
    """Bytes of values and sums at a time, about."""

    def __post_init__(self) -> None:
        lowest = {"least": (1, self.least), "means": (0, self.means), "memory": (1, self.memory)}
        lowest |= {"lags": (0, min(self.lags, default=-1))}
        for name, (low, value) in lowest.items():
            if value < low:
                raise UsageError(f"{name} = {value}: it is a number from {low}")
