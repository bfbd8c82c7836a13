from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_commit_killed_anywhere_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)
    old = {"runs": trials[0]["after"]["runs"], "texts": ["The", "é f"]}
    new = {"runs": trials[-1]["after"]["runs"], "texts": ["new"]}
    assert len(old["runs"]) == 2
    assert len(new["runs"]) == 1
    seen = []
    for trial in trials:
        after = {**trial["after"], "texts": sorted(trial["after"]["texts"])}
        assert after in (old, new)
        assert trial["resumed"] == new
        seen.append(after == new)
    assert trials[-1]["code"] == 0
    assert seen == sorted(seen), "once the new state is there, it stays"
    assert seen.count(False) > 3
    assert seen.count(True) > 3
