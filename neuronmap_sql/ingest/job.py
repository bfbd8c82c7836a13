"""A recipe made ready: documents read, model loaded, sites resolved, text tokenized."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuronmap_sql.errors import DataError, ModelError, UsageError
from neuronmap_sql.ingest.data.documents import Documents, read_documents
from neuronmap_sql.ingest.data.tokenization import Tokenization, tokenize
from neuronmap_sql.ingest.extraction.batching import batch_tokens
from neuronmap_sql.ingest.extraction.extract import REDUCED, Work
from neuronmap_sql.ingest.extraction.reducers import reducer_bytes
from neuronmap_sql.ingest.extraction.weight_rows import mlp_places
from neuronmap_sql.ingest.models.devices import free_memory
from neuronmap_sql.ingest.models.forward import Hook
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe_checks import check_names, check_sites
from neuronmap_sql.ingest.settings import KeepSettings, Recipe
from neuronmap_sql.numerics.extremes import MAX_TOKENS
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.staging import run_id

__all__ = ["Job", "prepare", "work_of"]

_UNBOUNDED_CONTEXT = 1024
"""Window of models whose positions have no bound (T5, BLOOM), unless the recipe sets one."""

_TABLES = {
    "stats": ("neuron_stats", "layer_stats"),
    "top": ("top_activations",),
    "samples": ("activation_samples",),
    "activations": ("activations",),
    "int8": ("activations_int8",),
    "firings": ("firings",),
    "matrices": ("token_matrices",),
    "vectors": ("vectors",),
}
"""Tables of an activations run, by what `keep.tables` calls them."""


@dataclass(frozen=True)
class Job:
    """A recipe made ready: model loaded, sites resolved, text tokenized."""

    recipe: Recipe
    """What was asked for."""
    documents: Documents
    """The dataset."""
    loaded: LoadedModel
    """The model."""
    hooks: list[Hook]
    """Places to record; empty if only weights are wanted."""
    tokenization: Tokenization
    """Tokens and windows."""

    @property
    def runs(self) -> dict[str, str]:
        """Ids of the runs that the job amounts to, parents first."""
        keep, info, data = self.recipe.keep, self.loaded.info, self.recipe.data
        docs = run_id("docs", {"dataset": data.name, "data": self.documents.hash})
        tokens = run_id("tokens", {"docs": docs, "tokenizer": self.tokenization.key})
        model = run_id(
            "model",
            {"model": info.model, "weights": info.weights_hash, "config": info.config,
             "tokenizer": info.tokenizer_hash, "family": info.family},
        )  # fmt: skip
        found = {"docs": docs, "tokens": tokens, "model": model}
        if "weights" in keep.tables and mlp_places(self.loaded):
            weights = asdict(self.recipe.weights) | {"columns": 2}  # 1 had no null_share
            found["weights"] = run_id("weights", {"model": model, **weights})
        if self.hooks:
            wanted = asdict(keep) | {
                "tables": sorted(set(keep.tables) - {"weights"}),
                "hooks": [asdict(hook) for hook in self.hooks],
                "dtype": str(self.loaded.dtype), "seed": self.recipe.seed,
            }  # fmt: skip
            found["activations"] = run_id(
                "activations", {"model": model, "tokens": tokens, **wanted}
            )
        return found

    def keys(self, kind: str) -> tuple[Key, ...]:
        """Names that a run takes. `sites` takes none: the model determines it."""
        model, data = self.loaded.info.model, self.recipe.data.name
        if kind == "weights":
            layers = _layers(mlp_places(self.loaded))
            return tuple(Key("neuron_weights", model, site=s, layers=n) for s, n in layers.items())
        if kind != "activations":
            tokens = Key("tokens", dataset=data, tokenizer=self.tokenization.key)
            return (
                {"docs": Key("docs", dataset=data), "model": Key("models", model)}.get(
                    kind, tokens
                ),
            )
        return tuple(
            Key(table, model, data, site=site, layers=layers)
            for wanted in _TABLES
            if wanted in self.recipe.keep.tables
            for table in _TABLES[wanted]
            for site, layers in _layers((hook.site, hook.layer) for hook in self.hooks).items()
        )


def _layers(places: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    """Return the layers of each site, ascending."""
    found: dict[str, set[int]] = {}
    for site, layer in places:
        found.setdefault(site, set()).add(layer)
    return {site: tuple(sorted(layers)) for site, layers in found.items()}


def prepare(
    recipe: Recipe,
    reporter: Reporter,
    loaded: LoadedModel | None = None,
    documents: Documents | None = None,
) -> Job:
    """Read the documents and load the model, unless given; resolve the sites and tokenize.

    Raises:
        RecipeError, DataError, ModelError: as the readers, the loader and the site map say.
    """
    check_names(recipe, "recipe")  # it may have been made in Python
    if documents is None:
        documents = read_documents(recipe.data, Path())
        for note in documents.notes:
            reporter.say(f"{recipe.data.name}: {note}")
    if loaded is None:
        reporter.say(f"{recipe.model.key}: loading {recipe.model.source}")
        loaded = load(recipe.model)
        if recipe.model.device_map != "none":
            reporter.say(f"{recipe.model.key}: spread over {loaded.placement.text}")
    if loaded.tokenizer is None:
        raise ModelError(
            f"{recipe.model.source}: no tokenizer comes with the model: set model.tokenizer, or"
            " hand one over with the module"
        )
    wanted = set(recipe.keep.tables) - {"weights"}
    hooks = resolve(loaded.backbone, loaded.family, recipe.sites, loaded.full) if wanted else []
    check_sites((hook.site for hook in hooks), "recipe")
    if "weights" in recipe.keep.tables and not mlp_places(loaded):
        _say_no_weights(loaded, hooks, reporter)
    total = len(documents.table)
    with reporter.meter(f"tokenize {recipe.data.name}", total, "documents") as meter:
        seen = 0

        def step(done: int, _: int) -> None:
            nonlocal seen
            meter.advance(done - seen)
            seen = done

        context = loaded.info.context or _UNBOUNDED_CONTEXT
        tokenization = tokenize(documents, loaded.tokenizer, recipe.data, context, step)
    for note in tokenization.notes:
        reporter.say(f"{recipe.data.name}: {note}")
    if len(tokenization.table) > MAX_TOKENS:
        raise DataError(
            f"{recipe.data.name} has {len(tokenization.table):,} tokens; a dataset may have"
            f" {MAX_TOKENS:,}: set data.limit, or ingest parts of it under names of their own"
        )
    _refuse_foreign_tokens(loaded, int(tokenization.windows.input_ids.max()))
    return Job(recipe, documents, loaded, hooks, tokenization)


def _refuse_foreign_tokens(loaded: LoadedModel, largest: int) -> None:
    """Raise ModelError if the tokenizer gives tokens that the model has no embedding for."""
    size = loaded.info.vocabulary
    if size is not None and largest >= size:
        raise ModelError(
            f"{loaded.info.model}: the tokenizer gives token {largest:,}, and the model knows"
            f" {size:,} tokens: set model.tokenizer to the one that it was trained with"
        )


def _say_no_weights(loaded: LoadedModel, hooks: list[Hook], reporter: Reporter) -> None:
    """Raise ModelError if the weights, which no family maps, are all that was asked for."""
    said = (
        f"{loaded.info.model}: no neuron_weights, because family"
        f" {loaded.family.name if loaded.family else 'unknown'!r} maps no MLP weights"
    )
    if not hooks:
        raise ModelError(f"{said}: keep other tables, or add [blocks.weights] to a family file")
    reporter.say(said)


def work_of(job: Job) -> Work:
    """Return what the pass over a job's tokens needs to know."""
    recipe, loaded = job.recipe, job.loaded
    tokens = len(job.tokenization.table)
    on_gpu = loaded.device.type == "cuda"
    keep = replace(recipe.keep, top_k=min(recipe.keep.top_k, max(tokens, 1)))
    sample_tok = _sampled(tokens, recipe.keep.sampled_tokens, recipe.seed)
    computing = loaded.placement.computing
    _refuse_too_much(keep, len(sample_tok), job.hooks, sum(map(free_memory, computing)))
    return Work(
        model=loaded.runs(job.hooks),
        hooks=job.hooks,
        tokenization=job.tokenization,
        keep=keep,
        sample_tok=sample_tok,
        device=loaded.device,
        batch_tokens=recipe.batch.tokens or batch_tokens(loaded.info, job.hooks, computing),
        shard_tokens=recipe.batch.shard_tokens or (131_072 if on_gpu else 16_384),
        save_every_shard=recipe.batch.shard_tokens > 0,
        dataset=recipe.data.name,
        model_name=loaded.info.model,
    )


def _refuse_too_much(keep: KeepSettings, sampled: int, hooks: list[Hook], free: int) -> None:
    """Raise UsageError if what is gathered of every neuron cannot fit in memory."""
    needed = sum(reducer_bytes(hook.width, keep, sampled) for hook in hooks)
    if REDUCED & set(keep.tables) and needed > free:
        raise UsageError(
            f"statistics of {sum(hook.width for hook in hooks):,} neurons take"
            f" {needed / 1e9:,.1f} GB with keep.top_k = {keep.top_k:,} and {sampled:,} sampled"
            f" tokens, and {free / 1e9:,.1f} GB are free: lower keep.top_k (with activations kept,"
            " `neuronmap top` finds the top of any k later), keep.sampled_tokens, or hook less"
        )


def _sampled(tokens: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return np.sort(random.choice(tokens, min(tokens, wanted), replace=False).astype(np.int64))
