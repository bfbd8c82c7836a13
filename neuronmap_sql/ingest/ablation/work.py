"""The ablation of one model, made ready: its targets, the names that it takes, its run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.ingest.ablation.choice import Neuron, Target, with_controls
from neuronmap_sql.ingest.ablation.passes import refuse_unpredictive
from neuronmap_sql.ingest.ablation.settings import Ablation
from neuronmap_sql.ingest.ablation.sources import load_from
from neuronmap_sql.ingest.job import Job, prepare
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.ingest.settings import KeepSettings, ModelSettings, Recipe, SiteSettings
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.provenance import made_with
from neuronmap_sql.warehouse.staging import run_id

__all__ = ["Work", "prepare_work"]

_METHOD = 1
"""Counts changes of what is computed: another method, another run."""


@dataclass(frozen=True)
class Work:
    """The ablation of one model, made ready."""

    ablation: Ablation
    """What was asked for."""
    job: Job
    """As an ingest would have it."""
    targets: list[Target]
    """What is replaced."""

    @cached_property
    def run(self) -> str:
        """Id of the run."""
        job, ablation = self.job, self.ablation
        parts = {
            "model": job.runs["model"], "tokens": job.runs["tokens"],
            "experiment": ablation.experiment,
            "hooks": [dataclasses.asdict(hook) for hook in job.hooks],
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "mode": ablation.mode, "value": ablation.value, "limit": ablation.limit,
            "keep": ablation.keep_tokens, "dtype": str(job.loaded.dtype), "method": _METHOD,
        }  # fmt: skip
        return run_id("ablation", parts)

    @property
    def named(self) -> dict[str, Any]:
        """The columns that all rows share."""
        return {
            "experiment": self.ablation.experiment,
            "model": self.job.loaded.info.model,
            "dataset": self.ablation.data.name,
            "tokenizer": self.job.tokenization.key,
            "site": self.job.hooks[0].site,
        }

    @property
    def keys(self) -> tuple[Key, ...]:
        """Names that the run takes."""
        names = {name: value for name, value in self.named.items() if name != "tokenizer"}
        tables = ["effects", *["token_effects"] * bool(self.ablation.keep_tokens)]
        return tuple(Key(table, **names) for table in tables)

    @property
    def neurons(self) -> list[Neuron]:
        """All that are replaced in some pass."""
        return sorted({neuron for target in self.targets for neuron in target.neurons})

    @property
    def row(self) -> dict[str, Any]:
        """The row of `runs`, less what the passes tell."""
        job, info = self.job, self.job.loaded.info
        return {
            "kind": "ablation",
            "title": self.ablation.title or None,
            "model": info.model,
            "model_hash": info.weights_hash,
            "dataset": self.ablation.data.name,
            "data_hash": job.documents.hash,
            "tokenizer": job.tokenization.key,
            "tokenizer_hash": job.tokenization.tokenizer_hash,
            "parents": [job.runs["model"], job.runs["tokens"]],
            "recipe": to_toml(self.ablation),
            **made_with(),
            "device": job.loaded.placement.text,
            "dtype": str(job.loaded.dtype).removeprefix("torch."),
            "attention": job.loaded.attention,
        }


def prepare_work(
    ablation: Ablation,
    settings: ModelSettings,
    chosen: list[Target],
    loaded: LoadedModel | None,
    reporter: Reporter,
) -> Work:
    """Load a model, tokenize, resolve the site, and draw the controls.

    Args:
        ablation: what was asked for.
        settings: the model.
        chosen: its targets.
        loaded: the model, if it is in memory already.
        reporter: shows progress.

    Raises:
        UnknownNameError: no such site, layer or neuron.
        UsageError: a layer has too few neurons for the controls.
        ModelError: the model cannot be loaded, or predicts no next token.
        DataError: the documents cannot be read.
    """
    layers = sorted({layer for target in chosen for layer, _ in target.neurons})
    if layers[0] < 0:
        raise UnknownNameError(f"{settings.key}: no layer {layers[0]}: layers count from 0")
    if loaded is None:
        reporter.say(f"{settings.key}: loading {settings.source}")
        loaded = load_from(settings)
    refuse_unpredictive(loaded)
    recipe = Recipe(
        model=settings,
        data=ablation.data,
        title=ablation.title,
        sites=SiteSettings(use=(ablation.site,), layers=",".join(map(str, layers))),
        keep=KeepSettings(tables=("stats",)),
        seed=ablation.seed,
    )
    job = prepare(recipe, reporter, loaded)
    widths = {hook.layer: hook.width for hook in job.hooks}
    for layer, neuron in (neuron for target in chosen for neuron in target.neurons):
        if not 0 <= neuron < widths[layer]:
            raise UnknownNameError(
                f"{settings.key}: no neuron {neuron} in layer {layer} of site"
                f" {ablation.site}: it has 0 to {widths[layer] - 1}"
            )
    return Work(ablation, job, with_controls(chosen, widths, ablation.controls, ablation.seed))
