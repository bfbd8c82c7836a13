"""What a committed run consists of: `manifest.json`, and the names that the run takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.files import write_text
from neuronmap_sql.warehouse.schema import FORMAT

__all__ = [
    "NAME",
    "FileEntry",
    "Key",
    "Manifest",
    "check_seal",
    "merge_keys",
    "overlap",
    "read_manifest",
    "refuse_newer",
    "write_manifest",
]

NAME = "manifest.json"


@dataclass(frozen=True)
class Key:
    """Rows of one table that no second run may hold."""

    table: str
    """Table."""
    model: str | None = None
    """Model, where the table has one."""
    dataset: str | None = None
    """Dataset, where the table has one."""
    tokenizer: str | None = None
    """Tokenizer, where the table has one and no model."""
    site: str | None = None
    """Site, where the table has one."""
    partner_model: str | None = None
    """Model that the rows compare `model` with, where the table has one."""
    partner_site: str | None = None
    """Site of that model, where the table has one."""
    experiment: str | None = None
    """Name of the experiment, where the table has one."""
    layers: tuple[int, ...] = ()
    """Layers, sorted, where the table has them."""

    def overlaps(self, other: Key) -> bool:
        """Whether a row could belong to both."""
        same = replace(self, layers=()) == replace(other, layers=())
        return same and (self.layers == other.layers or bool(set(self.layers) & set(other.layers)))

    def __str__(self) -> str:
        parts = {"model": self.model, "dataset": self.dataset, "tokenizer": self.tokenizer}
        parts |= {"site": self.site, "layers": ",".join(map(str, self.layers)) or None}
        parts |= {"partner model": self.partner_model, "partner site": self.partner_site}
        parts |= {"experiment": self.experiment}
        said = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
        return f"{self.table} ({said})"


@dataclass(frozen=True)
class FileEntry:
    """One Parquet file of a run."""

    path: str
    """Path within the run, with forward slashes."""
    table: str
    """Table it belongs to."""
    rows: int
    """Rows."""
    bytes: int
    """Size."""
    sha256: str
    """SHA-256 of the bytes, in hex."""


@dataclass(frozen=True)
class Manifest:
    """A committed run: its files with checksums, its keys, and its row of `runs`."""

    run: str
    """Run id."""
    kind: str
    """tokens, model, weights, activations, ..."""
    format: int
    """Version of the store's format."""
    created: str
    """When it was committed, UTC, ISO 8601."""
    parents: tuple[str, ...]
    """Runs that it was computed from."""
    keys: tuple[Key, ...]
    """Names that it takes."""
    files: tuple[FileEntry, ...]
    """Its Parquet files, sorted by path."""
    row: dict[str, Any]
    """The row of `runs`: recipe and provenance."""
    seal: str = ""
    """SHA-256 of all of the above, in hex: shows changes by hand."""

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(entry.rows for entry in self.files)

    @property
    def bytes(self) -> int:
        """Bytes in all files."""
        return sum(entry.bytes for entry in self.files)


def merge_keys(keys: Iterable[Key]) -> tuple[Key, ...]:
    """Join keys that differ in their layers only."""
    layers: dict[Key, set[int]] = {}
    for key in keys:
        layers.setdefault(replace(key, layers=()), set()).update(key.layers)
    merged = [replace(key, layers=tuple(sorted(found))) for key, found in layers.items()]
    return tuple(sorted(merged, key=str))


def overlap(mine: Sequence[Key], theirs: Sequence[Key]) -> Key | None:
    """Return the first of my keys that is taken by theirs."""
    return next((key for key in mine if any(key.overlaps(other) for other in theirs)), None)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Seal a manifest, and write it into a run's folder as `manifest.json`."""
    write_text(folder / NAME, _render(replace(manifest, seal=_seal(manifest))))


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` of a run's folder.

    Raises:
        StoreError: it is missing or damaged, or of a format that came after this version.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        refuse_newer(path, found["format"])
        keys = (Key(**{**key, "layers": tuple(key["layers"])}) for key in found.pop("keys"))
        files = (FileEntry(**entry) for entry in found.pop("files"))
        found["parents"] = tuple(found["parents"])
        return Manifest(**found, keys=tuple(keys), files=tuple(files))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{path} is missing or damaged ({error}): `neuronmap verify --repair` moves the run"
            " aside; then ingest it again"
        ) from error


def check_seal(folder: Path) -> None:
    """Make sure that a manifest is, byte for byte, what was written.

    Raises:
        StoreError: it is not, or it has no seal, or it cannot be read.
    """
    manifest, path = read_manifest(folder), folder / NAME
    if manifest.seal != _seal(manifest) or path.read_bytes() != _render(manifest).encode():
        raise StoreError(f"{path} was changed after the run was committed")


def refuse_newer(path: Path, format_: int) -> None:
    """Raise StoreError if something was written in a format that this version does not know."""
    if format_ > FORMAT:
        raise StoreError(
            f"{path} has format {format_}, and this version of NeuronMap SQL knows formats up to"
            f" {FORMAT}: update it with `pip install --upgrade neuronmap-sql`"
        )


def _seal(manifest: Manifest) -> str:
    return hashlib.sha256(_render(replace(manifest, seal="")).encode()).hexdigest()


def _render(manifest: Manifest) -> str:
    found = asdict(manifest)
    for key in found["keys"]:
        if key["experiment"] is None:
            del key["experiment"]  # the seals of runs without one are older than the field
    return json.dumps(found, indent=1, default=str, ensure_ascii=False) + "\n"
