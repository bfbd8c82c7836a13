"""One writer at a time, by a lock that the system lets go when its process ends."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import psutil

from neuronmap_sql.errors import StoreError

__all__ = ["Lock", "Owner", "read_owner"]


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock."""

    pid: int
    """Process id."""
    host: str
    """Machine."""
    command: str
    """What it was started as."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} ({json.dumps(self.command)})"

    @property
    def gone(self) -> bool:
        """Whether the process surely ended: it is of this machine, and not there."""
        return self.host == socket.gethostname() and not psutil.pid_exists(self.pid)


class Lock:
    """An exclusive lock on a file, which names its holder while it is held.

    The lock belongs to the open file (flock), so it ends with the process, however that ends,
    and two holders within one process shut each other out too. The holder may delete the file:
    whoever waits for it then notices that the name means another file.
    """

    def __init__(self, path: Path, what: str, wait_seconds: float = 0.0) -> None:
        self.path = path
        self.what = what
        self.wait_seconds = wait_seconds
        self._stream: TextIO | None = None

    def acquire(self) -> Lock:
        """Take the lock.

        Raises:
            StoreError: somebody else holds it; the message says who.
        """
        deadline = time.monotonic() + self.wait_seconds
        stream = self._open()
        while not (_taken(stream) and _current(stream, self.path)):
            owner = read_owner(self.path)
            stream.close()
            if time.monotonic() >= deadline:
                who = owner or "another process"
                raise StoreError(f"{self.what} is in use by {who}: wait for it, or stop it")
            time.sleep(0.02)
            stream = self._open()
        stream.truncate(0)
        stream.write(json.dumps(asdict(_me())))
        stream.flush()
        self._stream = stream
        return self

    def release(self) -> None:
        """Let the lock go; harmless if it is not held."""
        if self._stream is not None:
            self._stream.truncate(0)
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _open(self) -> TextIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"cannot write to {self.path.parent}: {error.strerror}") from error


def _taken(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _current(stream: TextIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat())


def read_owner(path: Path) -> Owner | None:
    """Return who holds a lock, or held it when it was killed; None if nobody, or not to be read."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _me() -> Owner:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    return Owner(os.getpid(), socket.gethostname(), command)
