"""Which files a recipe means, in which format, and their bytes."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from neuronmap_sql.errors import DataError, nearest
from neuronmap_sql.ingest.settings import DataSettings

__all__ = ["LONGEST", "Source", "decode", "find_sources", "opened", "text_lines", "whole_file"]

LONGEST = 64 << 20
"""Most bytes of a line, or of a file that is one document. A small packed file may hold any number
of bytes: reading stops here, before they fill the memory."""

_FORMATS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    ".txt": "lines",
    **dict.fromkeys((".md", ".rst", ".html", ".xml", ".tex", ".py", ".sql"), "files"),
}

_PACKINGS = (".gz", ".xz", ".bz2", ".zst", ".zip")
"""Endings before which stands the one that tells the format."""


_MAGIC = {
    b"\x1f\x8b": ".gz",
    b"\xfd7zXZ\x00": ".xz",
    **{b"BZh%d1AY&SY" % level: ".bz2" for level in range(1, 10)},
    b"\x28\xb5\x2f\xfd": ".zst",
}
"""How packed files begin, by the ending that says so."""

_FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"PK\x05\x06": "a zip archive without files",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"\x04\x22\x4d\x18": "packed with lz4: unpack it with `lz4 -d`",
    b"\x1f\x9d": "packed with compress: unpack it with `uncompress`",
    b"PAR1\x15": "a Parquet file: set data.format to 'parquet'",
    b"ARROW1\0\0": "an Arrow file: write it as Parquet",
}
"""How files begin that are no text and no packing that we read, with the way out."""


def _unpacked(raw: io.BufferedReader, path: Path) -> IO[bytes]:
    """Return a file unpacked, if its first bytes, or else its ending, say that it is packed."""
    head = raw.peek(16)
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            raise DataError(f"{path}: is {what}")
    packing = next((end for start, end in _MAGIC.items() if head.startswith(start)), None)
    match packing or path.suffix.lower():
        case ".gz":
            return cast("IO[bytes]", gzip.open(raw, "rb"))
        case ".xz":
            return lzma.open(raw, "rb")
        case ".bz2":
            return bz2.open(raw, "rb")
        case ".zst":
            return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(raw), "zstd"))
    return raw


@dataclass(frozen=True)
class Source:
    """One file (or dataset folder) of documents."""

    path: Path
    """Where it lies."""
    name: str
    """Its name in messages and document ids: relative to the folder that all sources share."""
    format: str
    """`jsonl`, `csv`, `parquet`, `lines`, `files` or `dataset`."""


def find_sources(data: DataSettings, base: Path) -> tuple[Source, ...]:
    """Return the files that `data.path` names, sorted by path.

    Raises:
        DataError: there are none, one is a folder, or their format cannot be told.
    """
    pattern = os.path.expanduser(data.path)  # noqa: PTH111 - a glob is no path
    literal = base / pattern
    # os.path, because pathlib raises for names that are too long.
    paths = [literal] if os.path.exists(literal) else _matches(pattern, base)  # noqa: PTH110
    if not paths:
        raise _nothing(data.path, literal)
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(shared).as_posix() for path in paths]
    formats = [data.format if data.format != "auto" else _format(path) for path in paths]
    for path, kind in zip(paths, formats, strict=True):
        _refuse_folder(path, kind)
    if len(set(formats)) > 1:
        raise DataError(
            f"{data.path}: files of several formats ({', '.join(sorted(set(formats)))}): narrow "
            "the glob, or set data.format"
        )
    return tuple(map(Source, paths, names, formats))


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked if it is packed with gzip, xz, bzip2 or zstd, whatever its name.

    Raises:
        DataError: it cannot be read or unpacked, or is an archive.
    """
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def text_lines(source: Source, rule: str) -> Iterator[tuple[int, str]]:
    r"""Yield the lines of a text file with their numbers from 1, with their line ends.

    Only `\n` ends a line: U+2028 and its like are text. A byte order mark is no text either.
    """
    with opened(source.path) as file:
        # One byte more shows that there is more.
        for number, raw in enumerate(iter(partial(file.readline, LONGEST + 1), b""), 1):
            _refuse_long(raw, f"{source.name}:{number}: the line")
            line = _unmarked(raw, source.name) if number == 1 else raw
            yield number, decode(line, f"{source.name}:{number}", rule)


def whole_file(source: Source, rule: str) -> str:
    """Return a file as one text, its line ends as they are."""
    with opened(source.path) as file:
        raw = file.read(LONGEST + 1)
    _refuse_long(raw, f"{source.name}: the file, one document,")
    return decode(raw.removeprefix(b"\xef\xbb\xbf"), source.name, rule)


def decode(raw: bytes, place: str, rule: str) -> str:
    """Return UTF-8 bytes as text; bad bytes as lone surrogates unless the rule is `error`.

    Raises:
        DataError: bytes are no UTF-8, and the rule is `error`.
    """
    raw = _unmarked(raw, place) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if rule != "error":
            return raw.decode("utf-8", "surrogateescape")
        raise DataError(
            f"{place}: not valid UTF-8: byte 0x{raw[error.start]:02x} at byte {error.start + 1}; "
            "set data.encoding_errors to 'replace' or 'skip'"
        ) from None


def _refuse_long(raw: bytes, what: str) -> None:
    if len(raw) > LONGEST:
        raise DataError(
            f"{what} has more than {LONGEST:,} bytes: cut the document into parts; if it is not"
            " that long, the file is damaged, or made to fill the memory of who unpacks it"
        )


def _unmarked(raw: bytes, name: str) -> bytes:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{name}: is UTF-16: convert it with `iconv -f utf-16 -t utf-8`")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _matches(pattern: str, base: Path) -> list[Path]:
    found = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207 - root_dir
    return [base / name for name in found if not (base / name).is_dir()]


def _nothing(pattern: str, literal: Path) -> DataError:
    if glob.has_magic(pattern):
        return DataError(f"no file matches data.path = {pattern!r} in {literal.parent}")
    there = literal.parent
    names = [path.name for path in there.iterdir()] if there.is_dir() else []
    return DataError(f"no file {literal}{nearest(literal.name, names)}")


def _format(path: Path) -> str:
    if path.is_dir():
        return "dataset" if (path / "state.json").exists() else "folder"
    name = path.with_suffix("") if path.suffix.lower() in _PACKINGS else path
    try:
        return _FORMATS[name.suffix.lower()]
    except KeyError:
        raise DataError(
            f"{path}: what format is it? Set data.format to jsonl, csv, parquet, lines (one "
            "document a line), files (one document a file) or dataset"
        ) from None


def _refuse_folder(path: Path, kind: str) -> None:
    if path.is_dir() and (path / "dataset_dict.json").exists():
        splits = sorted(part.parent.name for part in path.glob("*/state.json"))
        raise DataError(
            f"{path}: holds several splits: set data.path to one of {', '.join(splits)}"
        )
    if path.is_dir() and kind != "dataset":
        raise DataError(f"{path}: is a folder: name its files, such as {path.name + '/*.jsonl'!r}")
    if kind == "dataset" and not (path / "state.json").exists():
        raise DataError(f"{path}: is not a folder written by datasets.save_to_disk")
