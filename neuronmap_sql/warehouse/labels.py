"""Label columns of `docs`, which datasets share: their types must have one in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neuronmap_sql.errors import UsageError
from neuronmap_sql.warehouse.manifest import Manifest
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.schema import arrow_schema

__all__ = ["refuse_clashes"]


def refuse_clashes(entering: tuple[Path, Manifest], root: Path, present: list[Manifest]) -> None:
    """Refuse a label that is a list or a struct in one dataset and not in another.

    The engine casts numbers to text and merges structs, but reading `docs` would fail here.

    Args:
        entering: the staged folder of a run, and its manifest.
        root: the warehouse.
        present: the runs that stay.

    Raises:
        UsageError: names the label, both types and the other run.
    """
    mine = dict(_labels(*entering))
    for manifest in present if mine else ():
        for name, kind in _labels(root / "runs" / f"run={encode(manifest.run)}", manifest):
            if name in mine and not _fit(mine[name], kind):
                raise UsageError(
                    f"label {name!r} is {mine[name]} here and {kind} in run {manifest.run}, and one"
                    " column cannot hold both: rename it in the data, or leave it out of"
                    " data.labels"
                )


def _labels(folder: Path, manifest: Manifest) -> Iterator[tuple[str, pa.DataType]]:
    known = arrow_schema("docs").names
    for entry in manifest.files:
        if entry.table == "docs":
            for field in pq.read_schema(folder / entry.path):
                if field.name not in known:
                    yield field.name, field.type


def _fit(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether the engine finds a common type: a list with a list, a struct with a struct."""
    if pa.types.is_list(one) and pa.types.is_list(other):
        return _fit(one.value_type, other.value_type)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        shared = {field.name for field in one} & {field.name for field in other}
        return all(_fit(one.field(name).type, other.field(name).type) for name in shared)
    return not (pa.types.is_nested(one) or pa.types.is_nested(other)) or pa.types.is_null(one)
