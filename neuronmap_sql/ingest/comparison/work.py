"""A comparison made ready: models, units, and how the sums are cut to fit into memory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuronmap_sql.errors import UsageError
from neuronmap_sql.ingest.comparison.blocks import Block, Ints, Layer, chunks, memory_bytes, sweeps
from neuronmap_sql.ingest.comparison.settings import ComparedModel, Comparison
from neuronmap_sql.ingest.comparison.units import Units, shared_units
from neuronmap_sql.ingest.job import Job, prepare
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.settings import KeepSettings, Recipe, SiteSettings
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.schema import key_columns
from neuronmap_sql.warehouse.staging import run_id

__all__ = ["SHARED", "Work", "outline", "ready"]

SHARED = ("docs", "tokens", "model")
"""Kinds of the runs that a comparison shares with ingests."""

_BY_LAYER = ("neuron_matches", "neuron_pairs", "layer_pairs")


@dataclass(frozen=True)
class Work:
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
            found |= {f"{kind} {number}": job.runs[kind] for kind in SHARED[1:]}
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
        found = {job.runs[kind]: job.keys(kind) for job in self.jobs for kind in SHARED}
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


def ready(comparison: Comparison, reporter: Reporter, loaded: Sequence[LoadedModel]) -> Work:
    """Read the documents, load the models unless they are given, tokenize, and plan the work.

    Raises:
        UsageError: a model is to be compared at several sites, or the sums do not fit into the
            memory that the recipe grants.
        RecipeError, DataError, ModelError: see `prepare`.
    """
    one_by_one = comparison.work.spool == "always" and not loaded
    jobs: list[Job] = []
    for number, model in enumerate(comparison.models):
        recipe = Recipe(
            model=model.settings,
            data=comparison.data,
            title=comparison.title,
            sites=_sites(comparison, model),
            keep=KeepSettings(tables=("stats",)),
            seed=comparison.seed,
        )
        known = jobs[0].documents if jobs else None
        jobs.append(prepare(recipe, reporter, loaded[number] if loaded else None, known))
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
    return Work(
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


def outline(comparison: Comparison, reporter: Reporter) -> str:
    """Load and tokenize, and say what the comparison takes; no warehouse is touched.

    Raises:
        RecipeError, DataError, ModelError, UsageError: as the comparison would.
    """
    work = ready(comparison, reporter, ())
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


def _spooled_bytes(work: Work) -> int:
    tokens = (len(job.tokenization.table) for job in work.jobs)
    widths = (sum(hook.width for hook in job.hooks) for job in work.jobs)
    return 4 * sum(map(int.__mul__, tokens, widths)) if work.spooled else 0
