"""Run the models of a comparison, sum their products, and find what the sums say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import torch

from neuronmap_sql.ingest.comparison.blocks import Layer
from neuronmap_sql.ingest.comparison.findings import Findings
from neuronmap_sql.ingest.comparison.readers import (
    LiveReader,
    Reader,
    SpooledReader,
    spool_values,
)
from neuronmap_sql.ingest.comparison.sums import Sums
from neuronmap_sql.ingest.comparison.work import Work
from neuronmap_sql.ingest.extraction.batching import batch_tokens
from neuronmap_sql.ingest.job import Job
from neuronmap_sql.ingest.models.loading import load
from neuronmap_sql.ingest.progress import Meter, Reporter
from neuronmap_sql.numerics.correlation import Spread
from neuronmap_sql.warehouse.staging import Staging

__all__ = ["Pass"]


class Pass:
    """The work of one comparison on its models and their values."""

    def __init__(
        self, work: Work, staging: Staging, reporter: Reporter, device: torch.device, run: int
    ) -> None:
        """Make ready.

        Args:
            work: what to do.
            staging: the run; values that wait on the disk lie beside it.
            reporter: shows progress.
            device: where products are computed.
            run: tokens summed in float32, from `tokens_in_float32`.
        """
        self._work, self._staging, self._reporter = work, staging, reporter
        self._device, self._run = device, run

    def findings(self) -> tuple[Findings, dict[Layer, Spread]]:
        """Go over the values as often as is planned.

        Returns:
            What is written of each pair of models, and each layer's deviations.
        """
        work = self._work
        with ExitStack() as stack:
            readers = self._readers(stack)
            sums = Sums(readers, work.layers, work.units, self._run, self._device)
            found: Findings | None = None
            for number, blocks in enumerate(work.sweeps, 1):
                title = f"products {number} of {len(work.sweeps)}"
                with self._meter(title, len(work.units), work.units.unit + "s") as meter:
                    totals = sums.sweep(blocks, work.cuts, meter.advance)
                if found is None:
                    own = {block.x: total for block, total in totals.items() if block.x is block.y}
                    names = [job.loaded.info.model for job in work.jobs]
                    keep, seed = work.comparison.keep, work.comparison.seed
                    found = Findings(work.layers, work.pairs, sums.spread, own, keep, seed, names)
                with self._meter("partners", len(blocks), "pairs of layers") as meter:
                    found.add(totals, meter.advance)
        assert found is not None
        return found, sums.spread

    def _meter(self, title: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return self._reporter.meter(title, total, unit, self._staging.beat)

    def _readers(self, stack: ExitStack) -> list[Reader]:
        jobs = self._work.jobs
        if self._work.spooled:
            return [self._spool(number) for number in range(len(jobs))]
        return [stack.enter_context(self._live(job, lambda _: None)) for job in jobs]

    def _live(self, job: Job, seen: Callable[[int], None]) -> LiveReader:
        computing, wanted = job.loaded.placement.computing, self._work.comparison.work.batch_tokens
        return LiveReader(job, wanted or batch_tokens(job.loaded.info, job.hooks, computing), seen)

    def _spool(self, number: int) -> SpooledReader:
        """Run one model over all documents, its values going to the disk; then let it go."""
        work, staging, job = self._work, self._staging, self._work.jobs[number]
        files = [staging.state(f"values-{number}-{place}") for place in range(len(job.hooks))]
        doc = job.tokenization.table["doc"].to_numpy()
        if not staging.finished(f"values-{number}"):
            if work.one_by_one:
                loaded = load(work.comparison.models[number].settings)
                job = dataclasses.replace(job, loaded=loaded)
            total = int(job.tokenization.windows.offsets[-1])
            with (
                self._meter(f"values {job.loaded.info.model}", total, "tokens") as meter,
                self._live(job, meter.advance) as reader,
            ):
                spool_values(reader, work.cuts, doc, files)
            staging.finish(f"values-{number}")
        if not work.given:
            job.loaded.unload()
        return SpooledReader(job.hooks, doc, files, self._device)
