"""Ingests on a disk that fills up, on a read-only one, and without the folder that they work in.

Run in a mount namespace of its own, where it may mount: `unshare --mount full_disk_ingest.py`.
Prints what it saw as JSON, a list of trials.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))

import torture
from full_disk import leave_free, mount
from trouble import child, said

from neuronmap_sql.warehouse.staging import Staging
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

MEGABYTES = 64
FREE = (64, 512, 1536, 3072)
"""Free kB. An ingest takes about 4 MB with its spools."""


def without_folder(root: Path) -> None:
    """Ingest; the folder of the unfinished run is deleted on the way."""
    write, calls = Staging.write, iter(range(10**9))

    def vanishing(self: Staging, table: str, *rest: Any, **keys: Any) -> None:
        if table == "vectors" and next(calls) == 3:
            shutil.rmtree(self.folder)
        write(self, table, *rest, **keys)

    Staging.write = vanishing  # type: ignore[method-assign]
    torture.ingest(root)


def seen(root: Path) -> dict[str, Any]:
    problems = [f"{problem.path} {problem.what}" for problem in verify(Store.open(root))]
    return {"runs": torture.answers(root)["runs"], "wrong": problems}


def trial(
    place: Path, disk: Path, work: Callable[[Path], None], prepare: Callable[[], None]
) -> dict[str, Any]:
    """Ingest in trouble; look while it lasts; end it; resume."""
    root, out = disk / "trial", place / "out.json"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(place / "base", root)
    prepare()
    code, found = child(out, lambda: said(lambda: work(root)))
    found["during"] = child(out, lambda: said(lambda: seen(root)))[1]
    mount(disk, "-o", "remount,rw")
    (disk / "ballast").unlink(missing_ok=True)
    pid = torture.child(lambda: torture.look(root, place / "expected.json", place / "wrong.json"))
    failed = torture.wait(pid)
    wrong = ["the resume failed"] if failed else json.loads((place / "wrong.json").read_text())
    return {"code": code, **found, "wrong": wrong}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place, disk = Path(folder), Path(folder, "disk")
        torture.reference(place, "")
        disk.mkdir()
        mount(disk, "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs")
        trials = {
            str(free): trial(place, disk, torture.ingest, lambda n=free: leave_free(disk, n))
            for free in FREE
        }
        read_only = lambda: mount(disk, "-o", "remount,ro")  # noqa: E731
        trials["read-only"] = trial(place, disk, torture.ingest, read_only)
        trials["vanished"] = trial(place, disk, without_folder, lambda: None)
        subprocess.run(["umount", str(disk)], check=True)
    print(json.dumps(trials))


if __name__ == "__main__":
    main()
