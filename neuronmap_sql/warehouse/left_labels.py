"""Label columns of documents that left: views made before still name them, and must go on working.

An open reader's view of `docs` lists the labels that were there when it was opened, and the engine
refuses a view that names a column of no file. So a file without rows keeps the columns for a while.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.warehouse.manifest import Manifest
from neuronmap_sql.warehouse.parquet import write_parquet
from neuronmap_sql.warehouse.schema import arrow_schema

__all__ = ["LEFT_LABELS", "forget_labels", "keep_labels", "labels_change"]

LEFT_LABELS = Path("labels", "docs", "0.parquet")
"""Where that file is, below `runs/`: not the name of a run, but the glob of `docs` finds it."""


def labels_change(manifests: Iterable[Manifest]) -> bool:
    """Whether columns come or go with some runs: only `docs` has such."""
    return any(entry.table == "docs" for manifest in manifests for entry in manifest.files)


def keep_labels(root: Path, enter: Iterable[Path], leave: Iterable[Path]) -> None:
    """Keep the labels of runs that are about to leave, but those that enter in another type.

    Args:
        root: the warehouse.
        enter: folders of the runs that enter.
        leave: folders of the runs that leave.
    """
    path = root / "runs" / LEFT_LABELS
    before = _labels([path] if path.exists() else [])
    leaving = _labels(file for run in leave for file in _documents(run))
    kept = before | leaving
    for name, kind in _labels(file for run in enter for file in _documents(run)).items():
        if name in kept and kept[name] != kind:
            del kept[name]
    if kept and (leaving or kept != before):
        fields = [pa.field(name, kind) for name, kind in kept.items()]
        write_parquet(path, pa.schema([*arrow_schema("docs"), *fields]).empty_table())
    elif not kept:
        path.unlink(missing_ok=True)


def forget_labels(root: Path, grace_seconds: float) -> bool:
    """Delete labels that left long ago; return whether the catalogue must be made anew."""
    path = root / "runs" / LEFT_LABELS
    if not path.exists() or time.time() - path.stat().st_mtime < grace_seconds:
        return False
    path.unlink()
    return True


def _documents(run: Path) -> list[Path]:
    return sorted((run / "docs").glob("*.parquet"))


def _labels(files: Iterable[Path]) -> dict[str, pa.DataType]:
    known = arrow_schema("docs").names
    return {f.name: f.type for path in files for f in pq.read_schema(path) if f.name not in known}
