"""What a recipe of a comparison says, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from neuronmap_sql.ingest.settings import DataSettings, ModelSettings, SiteSettings
from neuronmap_sql.numerics.products import Precision
from neuronmap_sql.numerics.rotation import Kind

__all__ = ["ComparedModel", "Comparison", "Method", "PairSettings", "WorkSettings"]

Method = Literal["mutual", "hungarian", "hungarian_absolute"]


@dataclass(frozen=True)
class ComparedModel(ModelSettings):
    """Which model to load, and how."""

    site: str = ""
    """Its site, where that is called otherwise than in `sites.use`: `decoder.mlp`."""

    @property
    def settings(self) -> ModelSettings:
        """The same, as an ingest has it."""
        names = (item.name for item in fields(ModelSettings))
        return ModelSettings(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class PairSettings:
    """What is written."""

    top_k: int = 5
    """Partners kept a neuron and partner model, by correlation and by magnitude."""
    baselines: tuple[Kind, ...] = ("gaussian",)
    """Random bases of the partner's layers: gaussian (as published), orthogonal, standardised."""
    draws: int = 3
    """Random bases of each kind."""
    histogram: bool = True
    """Whether to count the correlations of every pair of layers."""
    pairs: Literal["all", "first"] = "all"
    """`all` pairs of models, or the `first` model with each other one."""
    matchings: tuple[Method, ...] = ("mutual",)
    """One-to-one assignments of every pair of layers: mutual, hungarian, hungarian_absolute."""


@dataclass(frozen=True)
class WorkSettings:
    """How the work is cut."""

    memory: str = "8GB"
    """Most that sums of products and values may take; what does not fit is spooled to the disk and
    swept over several times, with no further forward pass."""
    spool: Literal["auto", "always", "never"] = "auto"
    """`always`: one model in memory at a time, its values on the disk."""
    precision: Precision = "auto"
    """`auto`: correlations within 3e-8 of float64; `float32`: faster; `float64`."""
    batch_tokens: int = 0
    """Tokens of one batch, padding included; 0: from free memory."""


@dataclass(frozen=True)
class Comparison:
    """One comparison: the neurons of some models on one dataset, each model with each other."""

    models: tuple[ComparedModel, ...]
    data: DataSettings
    title: str = ""
    """Free text, kept in `runs`."""
    sites: SiteSettings = field(default_factory=SiteSettings)
    """Which place of the models: one site, of their families or custom, in the layers wanted."""
    keep: PairSettings = field(default_factory=PairSettings)
    work: WorkSettings = field(default_factory=WorkSettings)
    seed: int = 0
    """Seed of the random bases."""
