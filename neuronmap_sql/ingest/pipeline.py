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
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from neuronmap_sql.ingest.activation_run import write_activations
from neuronmap_sql.ingest.extraction.weight_rows import mlp_places, weight_rows
from neuronmap_sql.ingest.job import Job, prepare
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.recipe import to_toml
from neuronmap_sql.ingest.settings import Recipe
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.provenance import made_with
from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store

__all__ = ["Ingested", "Maker", "ingest", "logged"]

_log = logging.getLogger(__name__)


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


def ingest(
    recipe: Recipe,
    store: Store,
    *,
    loaded: LoadedModel | None = None,
    replace: bool = False,
    with_children: bool = False,
    reporter: Reporter | None = None,
) -> Ingested:
    """Run a recipe: make the runs that the warehouse lacks.

    An interrupted ingest goes on from its last saved state when it is called again.

    Args:
        recipe: what to record.
        store: the warehouse.
        loaded: the model, if it is in memory already; else `recipe.model` says what to load.
        replace: let the new runs take the place of runs that hold the same names. They do so all
            at once, at the end: until then the old ones stay.
        with_children: let other runs go too that were computed from those.
        reporter: shows progress; silent if left out.

    Raises:
        UsageError: the warehouse holds rows of the same names from another recipe: `leaving`.
        RecipeError, DataError, ModelError, StoreError: see `prepare` and `Store.enter`.
    """
    began = time.monotonic()
    reporter = reporter or Reporter(show=False)
    job = prepare(recipe, reporter, loaded)
    runs = job.runs
    new = {kind: run for kind, run in runs.items() if not store.has(run)}
    keys = {run: job.keys(kind) for kind, run in new.items()}
    with ExitStack() as stack:
        maker = Maker(job, store, reporter, stack)
        together = store.leaving(keys, replace=replace, with_children=with_children)
        made = []
        for kind, run in runs.items():
            if maker.make(kind, run, runs):
                made.append(run)
                if not together:
                    maker.enter()
        maker.enter(replace=replace, with_children=with_children)
        if loaded is None:
            before, after = (size / 1e6 for size in job.loaded.unload())
            reporter.say(f"{job.loaded.info.model}: unloaded, {before:,.0f} to {after:,.0f} MB")
    return Ingested(runs, tuple(made), len(job.tokenization.table), time.monotonic() - began)


class Maker:
    """Makes the runs of a job, one kind at a time."""

    def __init__(self, job: Job, store: Store, reporter: Reporter, stack: ExitStack) -> None:
        """Make ready; `stack` lets the unfinished runs go when it is closed."""
        self.job = job
        self.store = store
        self.reporter = reporter
        self.stack = stack
        self.staged: list[tuple[Staging, dict[str, Any], tuple[Key, ...]]] = []

    def make(self, kind: str, run: str, runs: dict[str, str]) -> bool:
        """Make one run unless it is there."""
        if self.store.has(run):
            self.reporter.say(f"{run}: already in the warehouse")
            return False
        began = time.monotonic()
        staging = self.stack.enter_context(self.store.stage(run))
        with logged(self.store.root / "logs", run):
            _log.info("run %s of recipe:\n%s", run, to_toml(self.job.recipe))
            try:
                with disk_errors(self.store.root):
                    extra = getattr(self, f"_{kind}")(staging)
            except KeyboardInterrupt:
                _log.warning("interrupted: the same recipe goes on from the last saved state")
                raise
            row = self._row(kind, runs) | {"seconds": time.monotonic() - began} | extra
            _log.info("complete")
        self.staged.append((staging, row, self.job.keys(kind)))
        return True

    def enter(self, *, replace: bool = False, with_children: bool = False) -> None:
        """Commit what is staged, in one step, and say what entered and what left."""
        left = self.store.enter(self.staged, replace=replace, with_children=with_children)
        for staging, _, _ in self.staged:
            self.reporter.say(f"{staging.run}: committed")
        for run in left:
            self.reporter.say(f"{run}: replaced, in the trash for a day")
        self.staged = []

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
            **made_with(),
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
        title = f"weights {loaded.info.model}"
        with self.reporter.meter(title, total, "neurons", staging.beat) as meter:
            staging.write("neuron_weights", weight_rows(loaded, settings, meter))
        return {"dtype": "float32", "device": str(loaded.device)}

    def _activations(self, staging: Staging) -> dict[str, Any]:
        return write_activations(self.job, staging, self.reporter)


@contextmanager
def logged(folder: Path, run: str) -> Iterator[None]:
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
