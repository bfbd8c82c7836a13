"""A run in progress: a folder that no reader sees, until one rename makes it a run."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import StoreError, UsageError
from neuronmap_sql.warehouse.files import SUFFIX, disk_errors, flush_tree, whole, write_text
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.parquet import conform, parquet_options, write_parquet
from neuronmap_sql.warehouse.schema import PARTITIONED, arrow_schema
from neuronmap_sql.warehouse.staged_files import StagedFiles

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 1.0

__all__ = ["Enter", "Partition", "Staging", "run_id"]


@dataclass(frozen=True)
class Partition:
    """Where in a partitioned table rows belong: the folders of their path."""

    model: str
    """Model."""
    dataset: str
    """Dataset."""
    site: str
    """Site."""
    layer: int
    """Layer."""

    @property
    def path(self) -> Path:
        """`model=<m>/dataset=<d>/site=<s>/layer=<n>`, percent-encoded."""
        parts = {"model": self.model, "dataset": self.dataset, "site": self.site}
        return Path(
            *(f"{key}={encode(name, key)}" for key, name in parts.items()), f"layer={self.layer}"
        )


def run_id(kind: str, parts: Mapping[str, Any]) -> str:
    """Return `<kind>-<16 hex digits>`: a hash of what determines the run's content.

    Args:
        kind: tokens, model, weights, activations, ...
        parts: anything that JSON can hold, canonically written: the order of keys is no matter.
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{kind}-{hashlib.sha256(f'{kind}:{text}'.encode()).hexdigest()[:16]}"


Enter = Callable[..., object]
"""Makes staged runs committed ones: `Store.enter`, which hands itself to its stagings."""


class Staging:
    """A run being written: at most one process at a time holds the staging of one run.

    Layout: `staging/run=<id>/` is the later run; `staging/state=<id>/` beside it holds what
    only the work needs (reducer states, marks of finished shards) and goes when the run is
    committed. Both stay after an interruption, so that the work can go on; where files of the run
    are gone by then, it starts anew.
    """

    def __init__(self, root: Path, run: str, enter: Enter) -> None:
        self.run = run
        self.folder = root / "staging" / f"run={encode(run, 'run')}"
        self._state = root / "staging" / f"state={encode(run, 'run')}"
        self._enter = enter
        self._files = StagedFiles(self.folder, self._state / "files.txt")
        self._lock = Lock(self._state / "lock", f"the unfinished run {run}").acquire()
        try:
            with disk_errors(self.folder):
                self.folder.mkdir(exist_ok=True)
                if lost := self._files.missing():
                    _log.warning("%s is gone: the run starts anew", lost)
                    self.reset()
        except StoreError:
            self.close()
            raise
        self._beaten = float("-inf")

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the run go; what is staged stays for a later resume."""
        self._lock.release()

    def path(self, table: str, partition: Partition | None = None, shard: str = "0") -> Path:
        """Return where a file of a table goes, its folder made.

        Raises:
            UsageError: a partitioned table without a partition, or the other way round.
            StoreError: the folder cannot be made, or what was staged is gone.
        """
        arrow_schema(table)
        if (partition is not None) != (table in PARTITIONED):
            need = "needs" if table in PARTITIONED else "takes no"
            raise UsageError(f"table {table} {need} a partition (model, dataset, site, layer)")
        self.refuse_if_gone()
        folder = self.folder / table / (partition.path if partition else "")
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{encode(shard, 'shard')}.parquet"

    def write(
        self, table: str, rows: pa.Table, partition: Partition | None = None, shard: str = "0"
    ) -> None:
        """Write one file of a table, whole or not at all; the same shard again replaces it.

        Args:
            table: a declared table.
            rows: its columns in any order, without `run`; `docs` may have label columns.
            partition: for partitioned tables; model, dataset, site and layer may then be left
                out of `rows`.
            shard: name of the file.

        Raises:
            StoreError: rows do not fit the table, or hold NULL, NaN or infinities unduly; or the
                disk is full or read-only, or what was staged is gone.
        """
        path = self.path(table, partition, shard)
        fitting = conform(table, _with_keys(rows, partition), self.run)
        with disk_errors(path):
            write_parquet(path, fitting)
            self._files.add(path)

    @contextmanager
    def writer(
        self, table: str, partition: Partition | None = None, shard: str = "0"
    ) -> Iterator[pq.ParquetWriter]:
        """Give a `ParquetWriter` for row groups; the file counts once the block ends well.

        The caller casts to `arrow_schema(table)` and fills in all columns, `run` too.
        """
        path = self.path(table, partition, shard)
        with disk_errors(path):
            with whole(path) as part:  # noqa: SIM117
                with pq.ParquetWriter(part, arrow_schema(table), **parquet_options(table)) as made:
                    yield made
            self._files.add(path)

    def state(self, name: str) -> Path:
        """Return the path of a file that the work needs to resume and readers never see."""
        return self._state / f"state-{encode(name, 'state')}"

    def beat(self, what: str, done: int, total: int, unit: str) -> None:
        """Leave word of how far the work is, at most once a second: see `jobs.jobs`.

        Raises:
            StoreError: what was staged is gone, so that going on would be in vain.
        """
        now = time.monotonic()
        if now - self._beaten < _BEAT_SECONDS:
            return
        self._beaten = now
        self.refuse_if_gone()
        found = {"what": what, "done": done, "total": total, "unit": unit}
        found |= {"time": time.time(), "monotonic": now}
        part = self._state / f"heartbeat.json{SUFFIX}"
        with suppress(OSError):  # a word that cannot be left is no reason to stop
            part.write_text(json.dumps(found), encoding="utf-8")
            part.replace(self._state / "heartbeat.json")  # not flushed: it is of this moment only

    def finish(self, name: str) -> None:
        """Record that a part of the work is done, once all that is staged is on the disk."""
        with disk_errors(self.folder):
            flush_tree(self.folder)
            write_text(self._state / f"done-{encode(name, 'mark')}", "")

    def finished(self, name: str) -> bool:
        """Whether `finish(name)` was reached, now or before an interruption."""
        return (self._state / f"done-{encode(name, 'mark')}").exists()

    def reset(self) -> None:
        """Forget all that is staged: the work starts anew."""
        with disk_errors(self.folder):
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            for path in self._state.iterdir():
                if path.name != "lock":
                    path.unlink()

    def refuse_if_gone(self, *, files: bool = False) -> None:
        """Make sure that what was staged is still there, and still ours.

        Args:
            files: look for every file that was written, not only for the folders.

        Raises:
            StoreError: somebody deleted it: a run without it would lack rows.
        """
        gone = None if self._lock.held and self.folder.is_dir() else self.folder
        gone = gone or (self._files.missing() if files else None)
        if gone:
            raise StoreError(
                f"{gone} was deleted while the run was in progress: give the same command again,"
                " and the run starts anew"
            )

    def discard(self) -> None:
        """Delete all that is staged, and let the run go."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._state, ignore_errors=True)
        self.close()

    def commit(
        self,
        row: Mapping[str, Any],
        keys: Sequence[Key] | None = None,
        *,
        replace: bool = False,
        with_children: bool = False,
    ) -> str:
        """Make the staged files a run: all of it appears at once, or nothing.

        Args:
            row: the row of `runs`; `run`, `created`, `rows`, `bytes`, `format` are filled in,
                and `parents` is empty unless given.
            keys: names that the run takes; by default read from the files.
            replace: move runs that hold the same names to the trash in the same step.
            with_children: and those that were computed from them.

        Returns:
            The run id.

        Raises:
            UsageError: another run holds one of the names, and `replace` is false.
            StoreError: a file is damaged or gone, a parent is missing, the warehouse is busy, or
                the disk is full or read-only.
        """
        self._enter([(self, row, keys)], replace=replace, with_children=with_children)
        return self.run


def _with_keys(rows: pa.Table, partition: Partition | None) -> pa.Table:
    for key, value in vars(partition).items() if partition else ():
        if key not in rows.column_names:
            kind = pa.int32() if key == "layer" else pa.string()
            column = pa.array([value] if len(rows) else [], kind)
            rows = rows.append_column(key, column.take(pa.array([0] * len(rows), pa.int32())))
    return rows
