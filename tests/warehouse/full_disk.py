"""Jobs of the store on a disk of a few megabytes that fills up, and on one that is read-only.

Run in a mount namespace of its own, where it may mount: `unshare --mount full_disk.py FOLDER`.
Prints what it saw as JSON, a list of trials.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from trouble import JOBS, build, checked, child, said

from neuronmap_sql.warehouse.shell import find_duckdb

MEGABYTES = 16
FREE: dict[str, tuple[int | None, ...]] = {
    "replace": (None, 0, 6, 8, 12, 16, 24, 128, 1024),
    "drop": (None, 0, 8, 64, 1024),
    "add": (None, 0, 12, 16, 64),
}
"""Free kB: too few for a file, a manifest, a journal, a catalogue; enough; None: read-only."""


def mount(disk: Path, *options: str) -> None:
    subprocess.run(["mount", *options, str(disk)], check=True)


def leave_free(disk: Path, kilobytes: int) -> None:
    """Fill a disk, but for so much."""
    page = 4096
    free = shutil.disk_usage(disk).free
    with (disk / "ballast").open("wb") as file:
        for _ in range(0, free - max(kilobytes * 1024, page) + page, page):
            try:
                file.write(bytes(page))
                file.flush()
            except OSError:
                break
    size = (disk / "ballast").stat().st_size
    with (disk / "ballast").open("rb+") as file:
        file.truncate(max(size - kilobytes * 1024, 0))


def ask_shell(root: Path) -> str:
    """What a stock shell answers."""
    command = [str(find_duckdb()), "-init", f"{root}/init.sql", "-readonly", "-csv", "-noheader"]
    sql = "SELECT count(*), count(DISTINCT run) FROM neuron_stats"
    done = subprocess.run(
        [*command, "-c", sql, f"{root}/warehouse.duckdb"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else done.stderr


def trial(disk: Path, base: Path, job: str, free: int | None) -> dict[str, Any]:
    """Do a job with so much free space, or (None) on a read-only disk; look; mend; do it again."""
    root, out = disk / "warehouse", base.parent / "out.json"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root)
    if free is None:
        mount(disk, "-o", "remount,ro")
    else:
        leave_free(disk, free)
    found = child(out, lambda: said(lambda: JOBS[job](root)))[1]
    found["reader"] = child(out, lambda: said(lambda: checked(root)))[1]
    found["shell"] = ask_shell(root) if find_duckdb() else ""
    mount(disk, "-o", "remount,rw")
    (disk / "ballast").unlink(missing_ok=True)
    found["after"] = child(out, lambda: said(lambda: checked(root)))[1]
    found["resumed"] = child(out, lambda: said(lambda: (JOBS[job](root), checked(root))[1]))[1]
    return {"job": job, "free": free, **found}


def main(place: Path) -> None:
    disk, base = place / "disk", place / "base"
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(disk)], check=True
    )
    child(place / "out.json", lambda: build(base))
    trials = [trial(disk, base, job, free) for job in FREE for free in FREE[job]]
    subprocess.run(["umount", str(disk)], check=True)
    print(json.dumps(trials))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
