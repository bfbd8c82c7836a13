from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ingests_killed_at_any_step_leave_the_old_state_and_go_on() -> None:
    script = Path(__file__).with_name("torture.py")
    done = subprocess.run(
        [sys.executable, str(script), "--trials", "12", "--seed", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"12 trials, (\d+) killed, 0 failed", done.stdout)
    assert found, done.stdout
    assert int(found[1]) >= 8, "most must have died, or nothing is shown"
