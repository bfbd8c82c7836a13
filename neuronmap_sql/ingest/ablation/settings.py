"""What a recipe of an ablation says, as a frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from neuronmap_sql.ingest.settings import DataSettings, ModelSettings

__all__ = ["Ablation"]


@dataclass(frozen=True)
class Ablation:
    """One experiment: replace neurons' activations, and see what becomes of the predictions."""

    neurons: str
    """SQL over the warehouse that returns model, layer, neuron, and perhaps grp: neurons of one
    model and grp are replaced at once."""
    data: DataSettings
    name: str = ""
    """Name in the warehouse, the column `experiment`; empty: the mode."""
    title: str = ""
    """Free text, kept in `runs`."""
    models: tuple[ModelSettings, ...] = ()
    """Where to load models that are not where the table `models` says."""
    site: str = "mlp"
    """The place whose units are replaced: one site of the models' families."""
    mode: Literal["zero", "mean", "value"] = "zero"
    """What a neuron is replaced with: zero, its mean over the dataset, or `value`."""
    value: float | None = None
    """What neurons are replaced with in the mode `value`."""
    together: bool = False
    """Replace all chosen neurons of a model at once."""
    controls: int = 3
    """Random neurons of the same layer (or as many of each layer as a group has) replaced in the
    place of each chosen one."""
    limit: int = 0
    """Read only the first so many documents of the dataset; 0: all."""
    keep_tokens: int = 10
    """Tokens kept whose loss rises most, and as many whose loss falls most."""
    batch_tokens: int = 0
    """Tokens of one batch, padding included; 0: from free memory and the vocabulary."""
    seed: int = 0
    """Seed of the random neurons."""

    @property
    def experiment(self) -> str:
        """The value of the column `experiment`."""
        mode = self.mode if self.value is None else f"{self.mode} {self.value:g}"
        return self.name or mode + " together" * self.together
