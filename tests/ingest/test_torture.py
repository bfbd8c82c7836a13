from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def torture(*options: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("torture.py")
    return subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_ingests_killed_at_any_step_leave_the_old_state_and_go_on() -> None:
    done = torture("--trials", "12", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"12 trials, (\d+) killed, 0 failed", done.stdout)
    assert found, done.stdout
    assert int(found[1]) >= 8, "most must have died, or nothing is shown"


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["flush", "step"])
def test_an_ingest_that_lacks_a_safeguard_is_found_out(broken: str) -> None:
    """Else the test above would prove nothing."""
    done = torture("--trials", "8", "--seed", "1", "--broken", broken)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"8 trials, \d+ killed, [1-8] failed", done.stdout), done.stdout
