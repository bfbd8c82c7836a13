"""Files that are whole or absent: written beside their name, flushed, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neuronmap_sql.errors import StoreError

__all__ = [
    "SUFFIX",
    "disk_errors",
    "flush",
    "flush_tree",
    "keep_copy",
    "move",
    "sha256",
    "stamped",
    "whole",
    "write_text",
]

SUFFIX = ".part"
"""Ending of files that are still being written; no glob of the warehouse matches it."""

_FULL = "free some space (what lies in the warehouse's trash/ and damaged/ may be deleted)"
_FIXED = "make the folder writable for you"
_GONE = "it was moved or deleted under the work: bring it back"
_WAYS_OUT = {
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL,
    errno.EROFS: _FIXED, errno.EACCES: _FIXED, errno.EPERM: _FIXED,
    errno.ENOENT: _GONE, errno.ENOTDIR: _GONE, errno.ESTALE: _GONE,
    errno.EIO: "the disk fails: look after it",
}  # fmt: skip


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn trouble with the disk into StoreError, which names the path and the way out.

    Args:
        place: the path to name where the system's error names none.
    """
    try:
        yield
    except OSError as error:
        path, code = error.filename or place, error.errno
        what = os.strerror(code) if code else str(error)
        way = _WAYS_OUT.get(code or 0, "mend that")
        raise StoreError(f"{path}: {what}: {way}, and give the same command again") from error


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


def stamped(folder: Path, name: str) -> Path:
    """Return a path that is free in a folder: the time, then the name."""
    stamp = time.time_ns()
    while os.path.lexists(target := folder / f"{stamp}-{name}"):
        stamp += 1  # the clock stands still, or went back
    return target


def keep_copy(path: Path, folder: Path) -> Path:
    """Give a file a second name in a folder, before it is made anew; return that name."""
    folder.mkdir(exist_ok=True)
    target = stamped(folder, path.name)
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(path, target, follow_symlinks=False)
    flush(folder)
    return target


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
