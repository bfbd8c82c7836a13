"""A file system whose changes are watched, fail, or are the last before the power goes."""

from __future__ import annotations

import errno
import io
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "link")
"""Functions of `os` that change the disk, or promise that a change will last."""

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)

Told = Callable[[str, str, bool], None]
"""Hears of a change: function, path or handle, whether it has been made."""


def watch(told: Told) -> None:
    """Have each change of the disk told, before and after; for good: this is for children.

    What pyarrow and the engine write by themselves is not seen; that they were flushed is.
    """
    for name in CALLS:
        setattr(os, name, _watched(name, getattr(os, name), told))
    io.open = _watched("open", io.open, told)
    io.FileIO = _watched("open", io.FileIO, told)  # type: ignore[misc]


def _watched(name: str, function: Any, told: Told) -> Any:
    def wrapped(*args: Any, **keys: Any) -> Any:
        path, mode = str(args[0]), keys.get("mode", args[1] if name == "open" and args[1:] else "r")
        if (name == "open" and mode[0] == "r") or (name == "mkdir" and Path(path).is_dir()):
            return function(*args, **keys)
        told(name, path, False)
        result = function(*args, **keys)
        told(name, path, True)
        return result

    return wrapped


def step_of(call: str) -> str:
    """Name the step that makes a call: the nearest function of this package outside `files.py`."""
    frame, name = sys._getframe(1), ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if "neuronmap_sql" in path.parts:
            name = f"{path.stem}.{frame.f_code.co_name}"
            if path.stem != "files":
                break
        frame = frame.f_back  # type: ignore[assignment]
    return f"{name}:{call}"


class PowerCut:
    """Knows which files are on the disk for sure; the others lose half their bytes in the cut.

    Spools are left out: they are written through memory, and no cut takes from their length.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.safe = {self._mark(path.stat()) for path in self._files()}

    def told(self, name: str, handle: str, after: bool) -> None:
        if name == "fsync" and after:
            self.safe.add(self._mark(os.fstat(int(handle))))

    def strike(self) -> None:
        for path in self._files():
            if self._mark(found := path.stat()) not in self.safe:
                os.truncate(path, found.st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    def _files(self) -> Iterator[Path]:
        for path in self.root.rglob("*"):
            if path.is_file() and not path.name.startswith("state-spool-"):
                yield path

    @staticmethod
    def _mark(found: os.stat_result) -> tuple[int, int, int]:
        return found.st_ino, found.st_size, found.st_mtime_ns


def cut_at(root: Path, number: int, after: bool) -> None:
    """Have the power cut before or after the n-th change."""
    cut, count = PowerCut(root), itertools.count()

    def told(name: str, path: str, done: bool) -> None:
        cut.told(name, path, done)
        if done == after and next(count) == number:
            cut.strike()

    watch(told)


def fail_at(number: int, changes: float) -> None:
    """Have so many changes fail, from the n-th on."""
    count, code = itertools.count(), ERRORS[number % len(ERRORS)]

    def told(_: str, path: str, done: bool) -> None:
        if not done and number <= next(count) < number + changes:
            raise OSError(code, os.strerror(code), None if path.isdigit() else path)

    watch(told)
