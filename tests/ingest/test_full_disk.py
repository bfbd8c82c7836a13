"""Ingests in trouble with their disk: the old state, a way out, and in the end the same sums."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ingests_on_a_full_disk_a_read_only_one_and_without_their_folder(tmp_path: Path) -> None:
    allowed = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    mount = [*allowed, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine does not let us mount")
    script = Path(__file__).with_name("full_disk_ingest.py")
    done = subprocess.run(
        [*allowed, sys.executable, script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)
    for name, trial in trials.items():
        assert trial["code"] == 0, f"{name}: killed"
        assert trial["kind"] == "StoreError", f"{name}: {trial['error']}"
        ways = ("free some", "make the folder writable", "starts anew", "mend the disk")
        assert any(way in trial["error"] for way in ways), trial["error"]
        assert "/trial" in trial["error"], "which file or folder"
        assert trial["during"]["value"]["wrong"] == [], name
        assert trial["wrong"] == [], name
    assert trials["read-only"]["during"]["value"]["runs"] == []
    kinds = {run.partition("-")[0] for run in trials["vanished"]["during"]["value"]["runs"]}
    assert kinds == {"docs", "model", "tokens", "weights"}
