"""Read Parquet files and Hugging Face datasets on disk, columns keeping their types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.data.nested import on_leaves
from neuronmap_sql.ingest.data.readers import Rows, chosen
from neuronmap_sql.ingest.data.sources import Source
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["read_dataset", "read_parquet"]

_BATCH = 1024
"""Rows yielded at once."""


def read_parquet(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield the rows of a Parquet file."""
    try:
        with pq.ParquetFile(source.path) as file:
            id_column, labels = chosen(data, file.schema_arrow.names, source.name)
            needed = list(dict.fromkeys([data.text, id_column or data.text, *labels]))
            done = 0
            for batch in file.iter_batches(_BATCH, columns=needed):
                yield _rows(batch, source, done, (data.text, id_column, labels))
                done += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{source.path}: cannot be read as Parquet: {error}") from error


def read_dataset(source: Source, data: DataSettings) -> Iterator[Rows]:
    """Yield the rows of a folder written by `datasets.save_to_disk`; class labels by name."""
    try:
        import datasets
    except ImportError:
        raise DataError(
            f"{source.path}: reading it needs the package datasets: "
            "pip install 'neuronmap-sql[datasets]'"
        ) from None
    try:
        stored = datasets.load_from_disk(str(source.path))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{source.path}: cannot be read as a dataset: {error}") from error
    id_column, labels = chosen(data, stored.column_names, source.name)
    classes = {
        name: feature.names
        for name, feature in stored.features.items()
        if isinstance(feature, datasets.ClassLabel)
    }
    done = 0
    for table in stored.with_format("arrow").iter(_BATCH):
        for batch in table.combine_chunks().to_batches():
            named = _named(batch, classes)
            yield _rows(named, source, done, (data.text, id_column, labels))
            done += len(batch)


def _rows(
    batch: pa.RecordBatch, source: Source, done: int, columns: tuple[str, str, list[str]]
) -> Rows:
    text, id_column, labels = columns
    number = range(done + 1, done + len(batch) + 1)
    return Rows(
        [f"{source.name}:{row}" for row in number],
        _ids(batch[id_column], source, id_column) if id_column else [None] * len(batch),
        _texts(batch[text], source, text),
        {name: _label(batch[name]) for name in labels},
    )


def _texts(column: pa.Array, source: Source, name: str) -> list[Any]:
    strings = _strings(column)
    if strings is None:
        raise DataError(f"{source.name}: column {name!r} holds {column.type}, not text (data.text)")
    return strings


def _ids(column: pa.Array, source: Source, name: str) -> list[str | None]:
    strings = _strings(column)
    if strings is not None:
        return strings
    try:
        return list(pc.cast(column, pa.string()).to_pylist())
    except pa.ArrowNotImplementedError:
        raise DataError(
            f"{source.name}: column {name!r} holds {column.type}, no id (data.id)"
        ) from None


def _strings(column: pa.Array) -> list[str | None] | None:
    """Return strings or bytes as text, bad bytes as lone surrogates; None for other types."""
    column = _plain(column)
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return None
    # As bytes, because Arrow does not promise that its strings are UTF-8.
    raw = column.cast(pa.binary()).to_pylist()
    return [None if item is None else item.decode("utf-8", "surrogateescape") for item in raw]


def _label(column: pa.Array) -> list[Any] | pa.Array:
    """Return a label column; one with strings that are no UTF-8 as Python values, for the rules."""
    plain = _plain(column)
    try:
        plain.validate(full=True)
    except pa.ArrowInvalid:
        return [_decoded(value) for value in on_leaves(plain, _raw).to_pylist()]
    return plain


def _raw(leaf: pa.Array) -> pa.Array:
    return leaf.cast(pa.binary()) if pa.types.is_string(leaf.type) else leaf


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        return {name: _decoded(item) for name, item in value.items()}
    return value


def _plain(column: pa.Array) -> pa.Array:
    """Return a column as a type that Parquet and every engine keep."""
    return on_leaves(column, _plain_leaf)


def _plain_leaf(leaf: pa.Array) -> pa.Array:
    kind = leaf.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return leaf.cast(pa.string())
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return leaf.cast(pa.binary())
    return leaf.cast(pa.float32()) if pa.types.is_float16(kind) else leaf


def _named(batch: pa.RecordBatch, classes: dict[str, list[str]]) -> pa.RecordBatch:
    """Return a batch with class numbers as class names; -1 stands for no class."""
    for name, known in classes.items():
        index = batch.schema.get_field_index(name)
        numbers = batch[name].cast(pa.int64())
        held = pc.if_else(pc.less(numbers, 0), pa.scalar(None, pa.int64()), numbers)
        batch = batch.set_column(index, name, pa.array(known, pa.string()).take(held))
    return batch
