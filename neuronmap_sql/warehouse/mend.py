"""The lock under which runs enter and leave, and what is set right as soon as somebody holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.catalog import is_current
from neuronmap_sql.warehouse.commit import exchange, finish_exchange, is_half_done
from neuronmap_sql.warehouse.files import disk_errors
from neuronmap_sql.warehouse.lock import Lock
from neuronmap_sql.warehouse.trash import sweep

__all__ = ["locked", "mend", "warehouse_lock"]

_WAIT_SECONDS = 60.0


def warehouse_lock(root: Path) -> Lock:
    """Return the lock of a warehouse, which waits for others that are at work."""
    return Lock(root / "lock", f"the warehouse {root}", _WAIT_SECONDS)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock; what a killed process left half done is finished first, old trash deleted.

    Raises:
        StoreError: another process holds it for long, the journal is damaged, or the disk fails.
    """
    with warehouse_lock(root), disk_errors(root):
        finish_exchange(root)
        sweep(root)
        yield


def mend(root: Path) -> None:
    """Finish what a killed process left half done, and make an old catalogue anew: for readers.

    They need neither where a living process is at it, nor where the disk does not let us.

    Raises:
        StoreError: runs are half moved and the disk does not let us go on, or the journal is
            damaged.
    """
    if is_current(root) and not (root / "journal.json").exists():
        return
    lock = warehouse_lock(root)
    try:
        with disk_errors(root):
            if lock.take():
                finish_exchange(root)
                if not is_current(root):
                    exchange(root, (), (), catalog=True)
    except StoreError as error:
        if not isinstance(error.__cause__, OSError | duckdb.Error) or is_half_done(root):
            raise
    finally:
        lock.release()
