"""One writer at a time, by a lock that the system lets go when its process ends."""

from __future__ import annotations

import fcntl
import io
import json
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import psutil

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.files import disk_errors

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
    since: str = ""
    """When it took the lock, UTC, ISO 8601; for people only."""
    started: int = 0
    """When the process began, in ticks since the machine did; 0 where the system does not say."""

    def __str__(self) -> str:
        since = f", since {self.since}" if self.since else ""
        return f"process {self.pid} on {self.host} ({json.dumps(self.command)}{since})"

    @property
    def here(self) -> bool:
        """Whether it is of this machine."""
        return self.host == socket.gethostname()

    @property
    def gone(self) -> bool:
        """Whether the process surely ended: it is of this machine, and not there any more."""
        if not self.here or not psutil.pid_exists(self.pid):
            return self.here
        # The number may be another process's by now; ticks do not jump with the clock.
        return bool(self.started) and _started(self.pid) != self.started


class Lock:
    """An exclusive lock on a file, which names its holder while it is held.

    The lock belongs to the open file (flock), so it ends with the process, however that ends,
    and two holders within one process shut each other out too. What the file says is for people:
    it decides nothing. The holder may delete the file: whoever waits for it then notices that the
    name means another file.
    """

    def __init__(self, path: Path, what: str, wait_seconds: float = 0.0) -> None:
        self.path = path
        self.what = what
        self.wait_seconds = wait_seconds
        self._stream: io.FileIO | None = None

    def acquire(self) -> Lock:
        """Take the lock.

        Raises:
            StoreError: somebody else holds it; the message says who and since when.
        """
        deadline = time.monotonic() + self.wait_seconds
        while not self.take():
            if time.monotonic() >= deadline:
                owner = read_owner(self.path)
                who = owner if owner and not owner.gone else "another process"
                raise StoreError(f"{self.what} is in use by {who}: wait for it, or stop it")
            time.sleep(0.02)
        return self

    def take(self) -> bool:
        """Take the lock if nobody holds it; return whether we have it now."""
        stream = self._open()
        while _taken(stream):
            if _current(stream, self.path):
                with suppress(OSError):  # on a full disk the lock holds without a name
                    stream.truncate(0)
                    stream.write(json.dumps(asdict(_me())).encode())
                self._stream = stream
                return True
            stream.close()  # its holder deleted it, and somebody may hold the new one
            stream = self._open()
        stream.close()
        return False

    @property
    def held(self) -> bool:
        """Whether we hold it, and its file is still the one that others would lock."""
        return self._stream is not None and _current(self._stream, self.path)

    def release(self) -> None:
        """Let the lock go; harmless if it is not held."""
        if self._stream is not None:
            with suppress(OSError):
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

    def _open(self) -> io.FileIO:
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return io.FileIO(self.path, "a")


def _taken(stream: io.FileIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _current(stream: io.FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except OSError:
        return False


def read_owner(path: Path) -> Owner | None:
    """Return who holds a lock, or held it when it was killed; None if nobody, or not to be read."""
    try:
        owner = Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    kinds = (int, str, str, str, int)
    return owner if tuple(map(type, asdict(owner).values())) == kinds else None


def _me() -> Owner:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return Owner(os.getpid(), socket.gethostname(), command, since, _started(os.getpid()))


def _started(pid: int) -> int:
    """Return when a process began, in ticks since the machine did; 0 if unknown, -1 if dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, *rest = fields.rpartition(")")[2].split()
    return -1 if state in "ZX" else int(rest[18])
