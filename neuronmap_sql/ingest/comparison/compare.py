"""One comparison: from a recipe to a committed run.

    documents ──> run docs ──> runs tokens ─┐
    models ─────> runs model ───────────────┴─> run comparison

Each model reads the text once. Where the sums of products do not fit in memory at once, the values
wait on the disk, and are swept over as often as is needed.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from neuronmap_sql.errors import UsageError
from neuronmap_sql.ingest.comparison.blocks import Block, Ints, Layer, chunks, memory_bytes, sweeps
from neuronmap_sql.ingest.comparison.findings import Findings
from neuronmap_sql.ingest.comparison.readers import (
    LiveReader,
    Reader,
    SpooledReader,
    spool_values,
)
from neuronmap_sql.ingest.comparison.recipe import to_toml
from neuronmap_sql.ingest.comparison.rows import Named, tables
from neuronmap_sql.ingest.comparison.settings import ComparedModel, Comparison
from neuronmap_sql.ingest.comparison.sums import Sums
from neuronmap_sql.ingest.comparison.units import Units, shared_units
from neuronmap_sql.ingest.extraction.batching import batch_tokens
from neuronmap_sql.ingest.job import Job, prepare
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.pipeline import Ingested, Maker, logged
from neuronmap_sql.ingest.progress import Meter, Reporter
from neuronmap_sql.ingest.settings import KeepSettings, Recipe, SiteSettings
from neuronmap_sql.numerics.products import tokens_in_float32
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.provenance import git_revision, versions
from neuronmap_sql.warehouse.schema import key_columns
from neuronmap_sql.warehouse.staging import Staging, run_id
from neuronmap_sql.warehouse.store import Store

__all__ = ["compare", "outline"]

_BY_LAYER = ("neuron_matches", "neuron_pairs", "layer_pairs")
_SHARED = ("docs", "tokens", "model")

_log = logging.getLogger(__name__)


def compare(
    comparison: Comparison,
    store: Store,
    *,
    loaded: Sequence[LoadedModel] = (),
    replace: bool = False,
    with_children: bool = False,
    reporter: Reporter | None = None,
) -> Ingested:
    """Compare the neurons of some models, and commit what the warehouse lacks.

    Args:
        comparison: what to compare.
        store: the warehouse.
        loaded: the models, in the recipe's order, if they are in memory already.
        replace: let the new runs take the place of runs that hold the same names.
        with_children: let other runs go too that were computed from those.
        reporter: shows progress; silent if left out.

    Raises:
        UsageError: the warehouse holds rows of the same names from another recipe; or the sums do
            not fit into the memory that the recipe grants.
        RecipeError, DataError, ModelError, StoreError: as an ingest.
    """
    began = time.monotonic()
    reporter = reporter or Reporter(show=False)
    work = _prepare(comparison, reporter, loaded)
    runs, keys = work.runs, work.keys
    new = {run: found for run, found in keys.items() if not store.has(run)}
    made: list[str] = []
    with ExitStack() as stack:
        together = store.leaving(new, replace=replace, with_children=with_children)
        staged: list[tuple[Staging, dict[str, Any], Sequence[Key] | None]] = []

        def enter() -> None:
            for run in store.enter(staged, replace=replace, with_children=with_children):
                reporter.say(f"{run}: replaced, in the trash for a day")
            for staging, _, _ in staged:
                reporter.say(f"{staging.run}: committed")
            staged.clear()

        for job in work.jobs:
            maker = Maker(job, store, reporter, stack)
            for kind in _SHARED:
                if job.runs[kind] not in made and maker.make(kind, job.runs[kind], job.runs):
                    made.append(job.runs[kind])
            staged += maker.staged
            if not together:
                enter()
        run = runs["comparison"]
        if store.has(run):
            reporter.say(f"{run}: already in the warehouse")
        else:
            staging = stack.enter_context(store.stage(run))
            with logged(store.root / "logs", run), disk_errors(store.root):
                _log.info("run %s of recipe:\n%s", run, to_toml(comparison))
                row = _write(work, staging, reporter)
                _log.info("complete")
            row |= {"seconds": time.monotonic() - began}
            staged.append((staging, row, keys[run]))
            made.append(run)
        enter()
    return Ingested(runs, tuple(made), len(work.units), time.monotonic() - began)


def outline(comparison: Comparison, reporter: Reporter) -> str:
    """Load and tokenize, and say what the comparison takes; no warehouse is touched.

    Raises:
        RecipeError, DataError, ModelError, UsageError: as the comparison would.
    """
    work = _prepare(comparison, reporter, ())
    blocks = [block for sweep in work.sweeps for block in sweep]
    units = len(work.units)
    lines = [f"dataset    {comparison.data.name}: {units:,} {work.units.unit}s compared"]
    for number, job in enumerate(work.jobs):
        held, counted = work.units.tokens(number), len(job.tokenization.table)
        neurons = sum(hook.width for hook in job.hooks)
        lines.append(
            f"model      {job.loaded.info.model}: {neurons:,} neurons in {len(job.hooks)} layers,"
            f" {held / counted:.1%} of {counted:,} tokens"
        )
    products = sum(block.x.width * block.y.width for block in blocks) * 2 * units
    sums = max(sum(block.bytes for block in sweep) for sweep in work.sweeps)
    lines += [
        f"pairs      {sum(b.x.width * b.y.width for b in blocks if b.x is not b.y):,} of neurons",
        f"products   {products / 1e12:,.2f} TFLOP",
        f"memory     {sums / 1e9:,.2f} GB of sums, in {len(work.sweeps)} sweeps",
        f"disk       {_spooled_bytes(work) / 1e9:,.2f} GB of values until it is committed",
    ]
    return "\n".join(lines)


def _spooled_bytes(work: _Work) -> int:
    tokens = (len(job.tokenization.table) for job in work.jobs)
    widths = (sum(hook.width for hook in job.hooks) for job in work.jobs)
    return 4 * sum(map(int.__mul__, tokens, widths)) if work.spooled else 0


@dataclass(frozen=True)
class _Work:
    """A comparison made ready."""

    comparison: Comparison
    """What was asked for."""
    jobs: list[Job]
    """One a model, as an ingest would have it."""
    units: Units
    """What the models are compared by."""
    layers: list[list[Layer]]
    """The layers of each model, one a hook."""
    pairs: list[tuple[int, int]]
    """Which models are compared, each pair once."""
    sweeps: list[list[Block]]
    """What is summed in each sweep over the values."""
    cuts: Ints
    """Documents at which the values are cut into chunks."""
    spooled: bool
    """Whether values wait on the disk."""
    given: bool
    """Whether the models were in memory before, and stay there."""
    one_by_one: bool
    """Whether they were let go once their tokens were known, and are loaded again."""

    @property
    def runs(self) -> dict[str, str]:
        """Ids of the runs: docs, `tokens N` and `model N`, comparison."""
        found = {"docs": self.jobs[0].runs["docs"]}
        for number, job in enumerate(self.jobs):
            found |= {f"{kind} {number}": job.runs[kind] for kind in _SHARED[1:]}
        parts = {
            "runs": list(found.values()),
            "hooks": [[dataclasses.asdict(hook) for hook in job.hooks] for job in self.jobs],
            "keep": dataclasses.asdict(self.comparison.keep),
            "dtypes": [str(job.loaded.dtype) for job in self.jobs],
            "precision": self.comparison.work.precision,
            "seed": self.comparison.seed,
        }
        return found | {"comparison": run_id("comparison", parts)}

    @property
    def keys(self) -> dict[str, tuple[Key, ...]]:
        """Names that each run takes, by its id."""
        found = {job.runs[kind]: job.keys(kind) for job in self.jobs for kind in _SHARED}
        return found | {self.runs["comparison"]: tuple(self._pair_keys())}

    def _ordered(self) -> Iterator[tuple[Job, Job]]:
        for one, other in self.pairs:
            yield self.jobs[one], self.jobs[other]
            yield self.jobs[other], self.jobs[one]

    def _pair_keys(self) -> Iterator[Key]:
        keep = self.comparison.keep
        wanted = ["model_pairs", *_BY_LAYER]
        wanted += ["neuron_baseline"] * bool(keep.baselines)
        wanted += ["pair_histogram"] * keep.histogram
        wanted += ["matchings"] * bool(keep.matchings)
        for job, partner in self._ordered():
            for table in wanted:
                layers = tuple(sorted({hook.layer for hook in job.hooks}))
                yield Key(
                    table,
                    job.loaded.info.model,
                    self.comparison.data.name,
                    site=job.hooks[0].site,
                    layers=layers if "layer" in key_columns(table) else (),
                    partner_model=partner.loaded.info.model,
                    partner_site=partner.hooks[0].site,
                )


def _prepare(comparison: Comparison, reporter: Reporter, loaded: Sequence[LoadedModel]) -> _Work:
    one_by_one = comparison.work.spool == "always" and not loaded
    jobs = []
    for number, model in enumerate(comparison.models):
        recipe = Recipe(
            model=model.settings,
            data=comparison.data,
            title=comparison.title,
            sites=_sites(comparison, model),
            keep=KeepSettings(tables=("stats",)),
            seed=comparison.seed,
        )
        jobs.append(prepare(recipe, reporter, loaded[number] if loaded else None))
        _refuse_several_sites(jobs[-1])
        if one_by_one:
            jobs[-1].loaded.unload()
    layers = [_layers(number, job) for number, job in enumerate(jobs)]
    units = shared_units(
        jobs[0].documents.table["text"].to_pylist(), [job.tokenization for job in jobs]
    )
    memory = memory_bytes(comparison.work.memory)
    pairs = list(itertools.combinations(range(len(jobs)), 2))
    if comparison.keep.pairs == "first":
        pairs = [pair for pair in pairs if 0 in pair]
    parts = sweeps(layers, pairs, memory)
    spool = comparison.work.spool
    if spool == "never" and len(parts) > 1:
        raise UsageError(
            "the sums of all pairs of layers do not fit into work.memory ="
            f' {comparison.work.memory!r} at once: set it higher, or work.spool = "auto"'
        )
    cuts = chunks(units.first, sum(layer.width for found in layers for layer in found), memory)
    spooled = spool == "always" or len(parts) > 1
    return _Work(
        comparison, jobs, units, layers, pairs, parts, cuts, spooled, bool(loaded), one_by_one
    )


def _sites(comparison: Comparison, model: ComparedModel) -> SiteSettings:
    sites = comparison.sites
    return dataclasses.replace(sites, use=(model.site,)) if model.site else sites


def _refuse_several_sites(job: Job) -> None:
    names = list(dict.fromkeys(hook.site for hook in job.hooks))
    if len(names) > 1:
        raise UsageError(
            f"{job.loaded.info.model}: a comparison is of one site, and these are"
            f" {', '.join(names)}: name one in sites.use, or with site = ... under its [[models]]"
        )


def _layers(model: int, job: Job) -> list[Layer]:
    first, found = 0, []
    for place, hook in enumerate(job.hooks):
        found.append(Layer(model, place, hook.layer, hook.width, first))
        first += hook.width
    return found


def _write(work: _Work, staging: Staging, reporter: Reporter) -> dict[str, Any]:
    """Run the models, sum, and stage every table; return the row of `runs`."""
    comparison, jobs = work.comparison, work.jobs
    device = _device(jobs)
    run = tokens_in_float32(len(work.units), device, comparison.work.precision)
    with ExitStack() as stack:
        readers = _readers(work, staging, reporter, stack, device)
        findings, spread = _sweep(work, readers, staging, reporter, run, device)
    if not work.given and not work.spooled:
        for job in jobs:
            job.loaded.unload()
    named = Named(
        [job.loaded.info.model for job in jobs],
        comparison.data.name,
        [[hook.site for hook in job.hooks] for job in jobs],
        work.layers,
        [len(job.tokenization.table) for job in jobs],
        work.pairs,
    )
    for table, rows, part in tables(findings, named, work.units, spread, comparison.seed):
        staging.write(table, rows, shard=part)
    return {
        "kind": "comparison",
        "title": comparison.title or None,
        "dataset": comparison.data.name,
        "data_hash": jobs[0].documents.hash,
        "parents": list(dict.fromkeys(job.runs[kind] for job in jobs for kind in _SHARED[1:])),
        "recipe": to_toml(comparison),
        "versions": list(versions().items()),
        "git_revision": git_revision(),
        "token_count": len(work.units),
        "device": str(device),
        "dtype": ", ".join(dict.fromkeys(str(job.loaded.dtype)[6:] for job in jobs)),
        "batching": f"{len(work.cuts) - 1} chunks, {len(work.sweeps)} sweeps, products over"
        f" {run} tokens in float32"
        if run
        else "products in float64",
    }


def _device(jobs: list[Job]) -> torch.device:
    return next(
        (job.loaded.device for job in jobs if job.loaded.device.type == "cuda"),
        jobs[0].loaded.device,
    )


def _readers(
    work: _Work, staging: Staging, reporter: Reporter, stack: ExitStack, device: torch.device
) -> list[Reader]:
    if work.spooled:
        return [_spool(work, number, staging, reporter, device) for number in range(len(work.jobs))]
    total = sum(int(job.tokenization.windows.offsets[-1]) for job in work.jobs)
    meter = stack.enter_context(reporter.meter("compare", total, "tokens", staging.beat))
    return [stack.enter_context(_live(work, job, meter)) for job in work.jobs]


def _live(work: _Work, job: Job, meter: Meter) -> LiveReader:
    computing = job.loaded.placement.computing
    size = work.comparison.work.batch_tokens or batch_tokens(job.loaded.info, job.hooks, computing)
    return LiveReader(job, size, meter.advance)


def _spool(
    work: _Work, number: int, staging: Staging, reporter: Reporter, device: torch.device
) -> SpooledReader:
    """Run one model over all documents, its values going to the disk; then let it go."""
    job = work.jobs[number]
    files = [staging.state(f"values-{number}-{place}") for place in range(len(job.hooks))]
    doc = job.tokenization.table["doc"].to_numpy()
    mark = f"values-{number}"
    if not staging.finished(mark):
        if work.one_by_one:
            job = dataclasses.replace(job, loaded=load(work.comparison.models[number].settings))
        total = int(job.tokenization.windows.offsets[-1])
        title = f"values {job.loaded.info.model}"
        with (
            reporter.meter(title, total, "tokens", staging.beat) as meter,
            _live(work, job, meter) as reader,
        ):
            spool_values(reader, work.cuts, doc, files)
        staging.finish(mark)
    if not work.given:
        job.loaded.unload()
    return SpooledReader(job.hooks, doc, files, device)


def _sweep(
    work: _Work,
    readers: list[Reader],
    staging: Staging,
    reporter: Reporter,
    run: int,
    device: torch.device,
) -> tuple[Findings, dict[Layer, Any]]:
    sums = Sums(readers, work.layers, work.units, run, device)
    keep, seed = work.comparison.keep, work.comparison.seed
    names = [job.loaded.info.model for job in work.jobs]
    found: Findings | None = None
    for blocks in work.sweeps:
        totals = sums.sweep(blocks, work.cuts)
        if found is None:
            own = {block.x: total for block, total in totals.items() if block.x is block.y}
            found = Findings(work.layers, work.pairs, sums.spread, own, keep, seed, names)
        found.add(totals)
    assert found is not None
    return found, sums.spread
