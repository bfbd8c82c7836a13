"""Documents out of data files: which rows count as documents, and under which ids."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from neuronmap_sql.errors import DataError, nearest
from neuronmap_sql.ingest.data.columnar import read_dataset, read_parquet
from neuronmap_sql.ingest.data.delimited import read_csv
from neuronmap_sql.ingest.data.json_values import mended, strings_in
from neuronmap_sql.ingest.data.labels import Parts, label_column, label_names
from neuronmap_sql.ingest.data.nested import on_leaves
from neuronmap_sql.ingest.data.readers import Rows, read_files, read_jsonl, read_lines
from neuronmap_sql.ingest.data.sources import Source, find_sources
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["Documents", "read_documents"]

_READERS: dict[str, Callable[[Source, DataSettings], Iterator[Rows]]] = {
    "csv": read_csv,
    "dataset": read_dataset,
    "files": read_files,
    "jsonl": read_jsonl,
    "lines": read_lines,
    "parquet": read_parquet,
}

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Documents:
    """A dataset: its documents in order, with their labels."""

    name: str
    """The column `dataset`."""
    table: pa.Table
    """`doc` (int64, from 0), `doc_id`, `text`, then the labels with their own types."""
    hash: str
    """sha256 over ids, texts and labels."""
    notes: tuple[str, ...]
    """What the rules did, in words."""


@dataclass
class _Kept:
    """The documents so far."""

    data: DataSettings
    ids: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    labels: dict[str, Parts] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)
    """Where each id was first met."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often each rule was used, by the note about it; `%s` stands for `documents`."""

    @property
    def full(self) -> bool:
        return 0 < self.data.limit <= len(self.ids)


def read_documents(data: DataSettings, base: Path) -> Documents:
    """Read the documents that a recipe names.

    Rows without text, and those whose text is white space only, are left out. Bad UTF-8, lone
    surrogates and ids that are taken are treated as the settings say. `notes` counts it all.

    Args:
        data: what to read.
        base: folder that `data.path` is relative to.

    Raises:
        DataError: files or columns are missing, cannot be read, or hold no document.
    """
    sources = find_sources(data, base)
    kept = _Kept(data)
    for source in sources:
        for rows in _READERS[source.format](source, data):
            _keep(kept, rows)
            if kept.full:
                break
        if kept.full:
            break
    if not kept.ids:
        found = "; ".join(_notes(kept.counts)) or "it is empty"
        raise DataError(f"no documents in {data.path}: {found}")
    columns, notes = _labels(kept, sources[0].format == "csv")
    texts = pa.chunked_array(_chunks(kept.texts), pa.string())
    table = pa.table(
        {"doc": range(len(kept.ids)), "doc_id": pa.array(kept.ids), "text": texts, **columns}
    )
    name = data.name or sources[0].path.name.partition(".")[0]
    return Documents(name, table, _hash(table), (*_notes(kept.counts), *notes))


def _keep(kept: _Kept, rows: Rows) -> None:
    """Take over the rows that the rules let pass, up to the limit."""
    before, chosen = len(kept.ids), []
    for row in range(len(rows.places)):
        if kept.full:
            break
        if _keep_row(kept, rows, row):
            chosen.append(row)
    for name in {**kept.labels, **rows.labels}:
        parts = kept.labels.setdefault(name, [[None] * before] if before else [])
        parts.append(_pick(kept, rows.labels.get(name), chosen))


def _keep_row(kept: _Kept, rows: Rows, row: int) -> bool:
    text, place = rows.texts[row], rows.places[row]
    if text is None:
        return _leave(kept, "%s without text")
    if not isinstance(text, str):
        raise DataError(
            f"{place}: column {kept.data.text!r} holds {type(text).__name__}, not text (data.text)"
        )
    labels = [v[row] for v in rows.labels.values() if isinstance(v, list)]
    strings = strings_in([text, rows.ids[row], *labels])
    bad = next(filter(None, map(_SURROGATE.search, strings)), None)
    if bad and not _mends(kept, place, bad[0]):
        return False
    if not text.strip():
        return _leave(kept, "empty %s")
    new = _identifier(kept, mended(rows.ids[row] or place), place)
    if new is None:
        return _leave(kept, "%s with an id that is taken")
    kept.ids.append(new)
    kept.texts.append(mended(text) if bad else text)
    return True


def _leave(kept: _Kept, why: str) -> bool:
    kept.counts[f"{why} left out"] += 1
    return False


def _mends(kept: _Kept, place: str, char: str) -> bool:
    """Return whether a row with a bad character is kept, mended."""
    rule = kept.data.encoding_errors
    byte = ord(char) - 0xDC00  # how Python writes a bad byte
    what = f"byte 0x{byte:02x}" if 0x80 <= byte <= 0xFF else f"the lone surrogate U+{ord(char):04X}"
    if rule == "error":
        raise DataError(
            f"{place}: {what} is no character; set data.encoding_errors to 'replace' or 'skip'"
        )
    if rule == "skip":
        return _leave(kept, "%s of invalid UTF-8")
    kept.counts["%s with U+FFFD put for bad bytes"] += 1
    return True


def _identifier(kept: _Kept, wish: str, place: str) -> str | None:
    """Return the id that a document gets, None to leave it out."""
    rule, new, number = kept.data.duplicates, wish, 1
    if wish in kept.taken and rule == "skip":
        return None
    if wish in kept.taken and rule == "error":
        raise DataError(
            f"{place}: id {wish!r} is taken by {kept.taken[wish]}; set data.duplicates to 'number' "
            "or 'skip', or data.id to another column"
        )
    while new in kept.taken:
        number += 1
        new = f"{wish}#{number}"
    kept.counts["%s whose id was taken got a number"] += new != wish
    kept.taken[new] = place
    return new


def _pick(
    kept: _Kept, values: list[Any] | pa.Array | None, rows: list[int]
) -> list[Any] | pa.Array:
    if values is None:
        return [None] * len(rows)
    if isinstance(values, pa.Array):
        return values.take(pa.array(rows, pa.int64()))
    return [mended(values[row]) for row in rows]


def _labels(kept: _Kept, parse: bool) -> tuple[dict[str, pa.ChunkedArray], list[str]]:
    """Return the label columns by their names in `docs`, and notes."""
    lost = [name for name in kept.data.labels if name not in kept.labels and name != "*"]
    if lost:
        raise DataError(
            f"{kept.data.path}: no column {lost[0]!r} (data.labels){nearest(lost[0], kept.labels)}"
        )
    names = label_names(kept.labels if "*" in kept.data.labels else kept.data.labels)
    notes = [f"label {old!r} is called {new!r}" for old, new in names.items() if old != new]
    columns = {}
    for old, new in names.items():
        columns[new], changes = label_column(old, kept.labels[old], parse)
        notes += [f"label {new!r}: {change}" for change in changes]
    return columns, notes


def _notes(counts: Counter[str]) -> tuple[str, ...]:
    found = [(number, what) for what, number in sorted(counts.items()) if number]
    return tuple(f"{number} {what % ('document' + 's' * (number > 1))}" for number, what in found)


def _chunks(texts: list[str]) -> list[pa.Array]:
    """Return texts in arrays well below the 2 GB that one of Arrow's can hold."""
    return [pa.array(texts[i : i + 1024], pa.string()) for i in range(0, len(texts), 1024)]


def _counted(leaf: pa.Array) -> pa.Array:
    """Return dates and times as integers: Python's own do not reach as far, nor to nanoseconds."""
    if not pa.types.is_temporal(leaf.type):
        return leaf
    return leaf.view(pa.int32() if leaf.type.bit_width == 32 else pa.int64())


def _hash(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for name in table.column_names[1:]:
        column = table[name]
        digest.update(json.dumps([name, str(column.type)]).encode())
        for chunk in column.iterchunks():
            for value in on_leaves(chunk, _counted):
                item = value.as_py()
                text = item if isinstance(item, str) else json.dumps(item, default=str)
                digest.update(f"{len(text)}:{text}".encode())
    return digest.hexdigest()
