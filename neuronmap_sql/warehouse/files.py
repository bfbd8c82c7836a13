"""Files that are whole or absent: written beside their name, flushed, then renamed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SUFFIX", "flush", "flush_tree", "move", "sha256", "whole", "write_text"]

SUFFIX = ".part"
"""Ending of files that are still being written; no glob of the warehouse matches it."""


def flush(path: Path) -> None:
    """Put a file or a directory on the disk (fsync)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_tree(folder: Path) -> None:
    """Put all files of a folder on the disk, then the directories from the inside out."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def move(source: Path, target: Path) -> None:
    """Rename on one file system, and make both directories remember it."""
    source.rename(target)
    flush(target.parent)
    if source.parent != target.parent:
        flush(source.parent)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the name `path` at the end, and only on success."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}{SUFFIX}")
    try:
        yield part
        flush(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a small file whole."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
