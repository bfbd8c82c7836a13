"""One ingest: from a recipe to committed runs.

    documents ─┬─> run docs ──> run tokens ─┐
    model ─────┼─> run model ─> run weights │
               └────────────────────────────┴─> run activations

Each run's id is a hash of what determines its content, so what is there already is not made again.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from neuronmap_sql.errors import ModelError, UsageError
from neuronmap_sql.ingest.batching import batch_tokens
from neuronmap_sql.ingest.documents import Documents, read_documents
from neuronmap_sql.ingest.extract import Extraction, Work
from neuronmap_sql.ingest.forward import Hook
from neuronmap_sql.ingest.large_rows import block_rows, firing_rows, token_rows
from neuronmap_sql.ingest.loaded import LoadedModel
from neuronmap_sql.ingest.models import load
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.provenance import git_revision, versions
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.ingest.rows import layer_stats, neuron_stats, sample_rows, site_rows, top_rows
from neuronmap_sql.ingest.settings import Recipe
from neuronmap_sql.ingest.sites import resolve
from neuronmap_sql.ingest.tokenization import Tokenization, tokenize
from neuronmap_sql.ingest.tolerance import measure_tolerance
from neuronmap_sql.ingest.weight_rows import mlp_places, weight_rows
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.parquet import conform
from neuronmap_sql.warehouse.schema import FORMAT
from neuronmap_sql.warehouse.staging import Staging, run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["Ingested", "Job", "ingest", "prepare", "work_of"]

_log = logging.getLogger(__name__)

_UNBOUNDED_CONTEXT = 1024
"""Window of models whose positions have no bound (T5, BLOOM), unless the recipe sets one."""

_TABLES = {
    "stats": ("neuron_stats", "layer_stats"),
    "top": ("top_activations",),
    "samples": ("activation_samples",),
    "activations": ("activations",),
    "firings": ("firings",),
    "matrices": ("token_matrices",),
    "vectors": ("vectors",),
}
"""Tables of an activations run, by what `keep.tables` calls them."""


@dataclass(frozen=True)
class Ingested:
    """What an ingest did."""

    runs: dict[str, str]
    """Run ids by kind: docs, tokens, model, weights, activations."""
    made: tuple[str, ...]
    """Ids of the runs that were not there before."""
    tokens: int
    """Counted tokens."""
    seconds: float
    """Wall time."""


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
        docs = run_id("docs", {"dataset": data.name, "data": self.documents.hash, "format": FORMAT})
        tokens = run_id("tokens", {"docs": docs, "tokenizer": self.tokenization.key})
        model = run_id(
            "model",
            {"model": info.model, "weights": info.weights_hash, "config": info.config,
             "tokenizer": info.tokenizer_hash, "family": info.family, "format": FORMAT},
        )  # fmt: skip
        found = {"docs": docs, "tokens": tokens, "model": model}
        if "weights" in keep.tables and mlp_places(self.loaded):
            weights = dataclasses.asdict(self.recipe.weights)
            found["weights"] = run_id("weights", {"model": model, **weights})
        if self.hooks:
            wanted = dataclasses.asdict(keep) | {
                "tables": sorted(set(keep.tables) - {"weights"}),
                "hooks": [dataclasses.asdict(hook) for hook in self.hooks],
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


def prepare(recipe: Recipe, reporter: Reporter) -> Job:
    """Read the documents, load the model, resolve the sites and tokenize.

    Raises:
        RecipeError, DataError, ModelError: as the readers, the loader and the site map say.
    """
    documents = read_documents(recipe.data, Path())
    for note in documents.notes:
        reporter.say(f"{recipe.data.name}: {note}")
    reporter.say(f"{recipe.model.key}: loading {recipe.model.source}")
    loaded = load(recipe.model)
    if loaded.tokenizer is None:
        raise ModelError(
            f"{recipe.model.source}: no tokenizer comes with the model: set model.tokenizer"
        )
    wanted = set(recipe.keep.tables) - {"weights"}
    hooks = resolve(loaded.backbone, loaded.family, recipe.sites) if wanted else []
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
    return Job(recipe, documents, loaded, hooks, tokenization)


def work_of(job: Job) -> Work:
    """Return what the pass over a job's tokens needs to know."""
    recipe, loaded = job.recipe, job.loaded
    tokens = len(job.tokenization.table)
    on_gpu = loaded.device.type == "cuda"
    return Work(
        model=loaded.backbone,
        hooks=job.hooks,
        tokenization=job.tokenization,
        keep=recipe.keep,
        sample_tok=_sampled(tokens, recipe.keep.sampled_tokens, recipe.seed),
        device=loaded.device,
        batch_tokens=recipe.batch.tokens or batch_tokens(loaded.info, job.hooks, loaded.device),
        shard_tokens=recipe.batch.shard_tokens or (131_072 if on_gpu else 16_384),
        save_every_shard=recipe.batch.shard_tokens > 0,
        dataset=recipe.data.name,
        model_name=loaded.info.model,
    )


def ingest(
    recipe: Recipe, store: Store, *, replace: bool = False, reporter: Reporter | None = None
) -> Ingested:
    """Run a recipe: make the runs that the warehouse lacks.

    An interrupted ingest goes on from its last saved state when it is called again.

    Args:
        recipe: what to record.
        store: the warehouse.
        replace: let the new run take the place of runs that hold the same names.
        reporter: shows progress; silent if left out.

    Raises:
        UsageError: the warehouse holds rows of the same names from another recipe.
        RecipeError, DataError, ModelError, StoreError: see `prepare` and `Staging`.
    """
    began = time.monotonic()
    job = prepare(recipe, reporter or Reporter(show=False))
    maker = _Maker(job, store, replace, reporter or Reporter(show=False))
    runs = job.runs
    if not replace:
        maker.refuse_conflicts(runs)
    made = tuple(run for kind, run in runs.items() if maker.make(kind, run, runs))
    return Ingested(runs, made, len(job.tokenization.table), time.monotonic() - began)


class _Maker:
    """Makes the runs of a job, one kind at a time."""

    def __init__(self, job: Job, store: Store, replace: bool, reporter: Reporter) -> None:
        self.job = job
        self.store = store
        self.replace = replace
        self.reporter = reporter

    def make(self, kind: str, run: str, runs: dict[str, str]) -> bool:
        """Make one run unless it is there."""
        if self.store.has(run):
            self.reporter.say(f"{run}: already in the warehouse")
            return False
        began = time.monotonic()
        with self.store.stage(run) as staging, _logged(self.store.root / "logs", run):
            _log.info("run %s of recipe:\n%s", run, to_toml(self.job.recipe))
            try:
                extra = getattr(self, f"_{kind}")(staging)
            except KeyboardInterrupt:
                _log.warning("interrupted")
                self.reporter.say(
                    f"{run}: interrupted; the same command goes on from the last saved state"
                )
                raise
            row = self._row(kind, runs) | {"seconds": time.monotonic() - began} | extra
            staging.commit(row, self.job.keys(kind), replace=self.replace)
            _log.info("committed")
        self.reporter.say(f"{run}: committed")
        return True

    def refuse_conflicts(self, runs: dict[str, str]) -> None:
        """Refuse names that are taken before any work is done."""
        for kind, run in runs.items():
            keys = () if self.store.has(run) else self.job.keys(kind)
            for other, key in self.store.conflicts(run, keys).items():
                raise UsageError(
                    f"run {other} already holds {key} from another recipe (`neuronmap runs show"
                    f" {other}`): use --replace to put this one in its place, or set model.name or"
                    " data.name to keep both"
                )

    def _row(self, kind: str, runs: dict[str, str]) -> dict[str, Any]:
        recipe, info = self.job.recipe, self.job.loaded.info
        parents = {
            "tokens": ["docs"], "weights": ["model"], "activations": ["model", "tokens"]
        }.get(kind, [])  # fmt: skip
        about_data = kind in {"docs", "tokens", "activations"}
        about_model = kind in {"model", "weights", "activations"}
        data = {"dataset": recipe.data.name, "data_hash": self.job.documents.hash}
        model = {"model": info.model, "model_hash": info.weights_hash}
        tokenizer = {
            "tokenizer": self.job.tokenization.key,
            "tokenizer_hash": self.job.tokenization.tokenizer_hash,
        }
        return {
            "kind": kind,
            "title": recipe.title or None,
            "parents": [runs[parent] for parent in parents],
            "recipe": to_toml(recipe),
            "versions": list(versions().items()),
            "git_revision": git_revision(),
            **(data if about_data else {}),
            **(tokenizer if about_data and kind != "docs" else {}),
            **(model if about_model else {}),
        }

    def _docs(self, staging: Staging) -> dict[str, Any]:
        table = self.job.documents.table
        dataset = pa.repeat(self.job.recipe.data.name, len(table))
        staging.write("docs", table.add_column(0, "dataset", dataset))
        return {}

    def _tokens(self, staging: Staging) -> dict[str, Any]:
        staging.write("tokens", self.job.tokenization.table)
        return {"token_count": len(self.job.tokenization.table)}

    def _model(self, staging: Staging) -> dict[str, Any]:
        info = dataclasses.asdict(self.job.loaded.info)
        for extra in ("dtype", "files"):
            info.pop(extra)
        staging.write("models", pa.Table.from_pylist([info]))
        return {}

    def _weights(self, staging: Staging) -> dict[str, Any]:
        loaded, settings = self.job.loaded, self.job.recipe.weights
        total = len(mlp_places(loaded)) * (loaded.info.d_mlp or 1)
        with self.reporter.meter(f"weights {loaded.info.model}", total, "neurons") as meter:
            staging.write("neuron_weights", weight_rows(loaded, settings, meter))
        return {"dtype": "float32", "device": str(loaded.device)}

    def _activations(self, staging: Staging) -> dict[str, Any]:
        work, before = work_of(self.job), time.monotonic()
        tolerance = measure_tolerance(
            work.model, work.hooks, work.tokenization.windows, work.device, self.job.recipe.seed
        )
        extraction = Extraction(work, staging)
        resumed = extraction.seconds
        windows = work.tokenization.windows
        title = f"activations {work.model_name}"
        with self.reporter.meter(title, int(windows.offsets[-1]), "tokens") as meter:
            extraction.run(meter)
        nonfinite = self._write_reduced(staging, work, extraction)
        self._write_spooled(staging, work, extraction)
        staging.write("sites", site_rows(work.model_name, work.hooks))
        counted = len(work.tokenization.table)
        loaded = self.job.loaded
        return {
            "token_count": counted,
            "tokens_per_second": counted / max(extraction.seconds, 1e-9),
            "seconds": resumed + time.monotonic() - before,
            "device": str(loaded.device),
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "attention": loaded.attention,
            "batching": f"up to {work.batch_tokens} positions a batch, padded on the right,"
            f" windows sorted by length within shards of {extraction.shard_tokens} positions",
            "tolerance": tolerance if np.isfinite(tolerance) else None,
            "nonfinite": nonfinite,
        }

    def _write_reduced(self, staging: Staging, work: Work, extraction: Extraction) -> int:
        """Write the tables made by the reducers; return the non-finite values met."""
        keep, tokens = work.keep, work.tokenization.table
        found: dict[str, list[pa.Table]] = {}
        nonfinite = 0
        for hook, reduced in extraction.results():
            place = work.place(hook)
            nonfinite += int(reduced.nonfinite.sum())
            if "stats" in keep.tables:
                found.setdefault("neuron_stats", []).append(neuron_stats(place, reduced))
                found.setdefault("layer_stats", []).append(layer_stats(place, reduced))
            if "top" in keep.tables:
                found.setdefault("top_activations", []).append(top_rows(place, reduced, tokens))
            if "samples" in keep.tables:
                rows = sample_rows(
                    place, reduced, work.sample_tok, tokens, keep, self.job.recipe.seed
                )
                found.setdefault("activation_samples", []).append(rows)
        for table, parts in found.items():
            staging.write(table, pa.concat_tables(parts))
        return nonfinite

    def _write_spooled(self, staging: Staging, work: Work, extraction: Extraction) -> None:
        """Turn the spool into the large tables, hook by hook."""
        keep = work.keep
        total = sum(spool.values.nbytes for spool in extraction.spools.values())
        with self.reporter.meter("write values", max(total, 1), "bytes") as meter:
            for hook, spool in extraction.spools.items():
                place = work.place(hook)
                makers = {
                    "activations": ("activations", block_rows(place, spool.values)),
                    "firings": ("firings", firing_rows(place, spool.values, keep)),
                    "matrices": ("token_matrices", token_rows(place, spool.values)),
                }
                for kind, (table, groups) in makers.items():
                    if kind in keep.tables:
                        _write_groups(staging, work, hook, table, groups)
                meter.advance(spool.values.nbytes)


def _write_groups(
    staging: Staging, work: Work, hook: Hook, table: str, groups: Iterator[pa.Table]
) -> None:
    with staging.writer(table, work.partition(hook)) as writer:
        for rows in groups:
            whole = conform(table, rows, staging.run)
            writer.write_table(whole, row_group_size=max(1, len(whole)))


def _sampled(tokens: int, wanted: int, seed: int) -> npt.NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return np.sort(random.choice(tokens, min(tokens, wanted), replace=False).astype(np.int64))


@contextmanager
def _logged(folder: Path, run: str) -> Iterator[None]:
    """Write what this package logs to `logs/<run>.log` while the block lasts."""
    folder.mkdir(exist_ok=True)
    handler = logging.FileHandler(folder / f"{run}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("neuronmap_sql")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except Exception:
        _log.exception("failed")
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
