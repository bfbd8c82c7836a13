"""A disk that is full, read-only or failing, a power cut: the old state or the new; a way on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_warehouse import ROW, add_activations, add_documents, fill

from neuronmap_sql.warehouse.staging import run_id
from neuronmap_sql.warehouse.store import Store

HERE = Path(__file__).parent
WAYS_OUT = ("free some space", "make the folder writable", "look after it", "bring it back")


def spoken(program: str, *arguments: object) -> list[dict[str, Any]]:
    """What a program of this folder prints."""
    unshare = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    done = subprocess.run(
        [*(unshare if program == "full_disk.py" else []), sys.executable, HERE / program,
         *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def faults(trials: list[dict[str, Any]]) -> list[str]:
    """All that is not as readers, and whoever goes on, may expect; the last trial is untroubled."""
    old, new = trials[0]["after"].get("value"), trials[-1]["resumed"].get("value")
    assert old
    assert new
    assert old != new
    assert old["wrong"] == new["wrong"] == []
    found = []
    for number, trial in enumerate(trials):
        name = f"trial {number}: "
        if trial["after"].get("value") not in (old, new):
            found.append(f"{name}left {trial['after']}")
        if trial["resumed"].get("value") != new:
            found.append(f"{name}came to {trial['resumed']}")
        said = trial.get("error", "warehouse: free some space")
        if "unexpected" in trial.get("kind", "") or not any(way in said for way in WAYS_OUT):
            found.append(f"{name}said {said}")
        if "/" not in said.partition(":")[0] and "warehouse:" not in said:
            found.append(f"{name}named no path: {said}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("job", "every"), [("replace", 2), ("drop", 3), ("add", 4)])
def test_a_power_cut_at_any_change_leaves_the_old_state_or_the_new(
    tmp_path: Path, job: str, every: int
) -> None:
    """Files that were not flushed lose half their bytes in it."""
    trials = spoken("trouble.py", tmp_path, job, "cut", "--every", every)
    assert faults(trials) == []
    assert {trial["code"] for trial in trials[:-1]} == {-9}
    assert {str(trial["after"]) for trial in trials} == {
        str(trials[0]["after"]), str(trials[-1]["after"])
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["flush", "step", "journal"])
def test_a_commit_that_lacks_one_of_its_safeguards_is_noticed(tmp_path: Path, broken: str) -> None:
    trials = spoken("trouble.py", tmp_path, "replace", "cut", "--broken", broken, "--first", 24)
    assert faults(trials)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["once", "lasting"])
@pytest.mark.parametrize(("job", "every"), [("replace", 5), ("drop", 3), ("add", 7)])
def test_errors_of_the_disk_are_told_and_survived(
    tmp_path: Path, job: str, every: int, kind: str
) -> None:
    trials = spoken("trouble.py", tmp_path, job, kind, "--every", every)
    assert faults(trials) == []
    assert all("error" in trial for trial in trials[:-1])
    states = [trials[0]["after"]["value"]["state"], trials[-1]["after"]["value"]["state"]]
    for trial in trials:  # a reader, while the disk still fails
        half = trial["reader"].get("kind") == "StoreError" and kind == "lasting"
        assert half or trial["reader"]["value"] in states


@pytest.mark.slow
def test_a_full_disk_and_a_read_only_one(tmp_path: Path) -> None:
    """Real ones, of some megabytes: where the space ends is for pyarrow and the engine to find."""
    allowed = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount"]
    mount = [*allowed, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine does not let us mount")
    trials = spoken("full_disk.py", tmp_path)
    for job in ("replace", "drop", "add"):
        mine = [trial for trial in trials if trial["job"] == job]
        assert faults(mine) == []
        assert ["error" in trial for trial in mine] == [True] * (len(mine) - 1) + [False]
        old = mine[0]["after"]
        for trial in mine[:-1]:  # nothing has changed, and readers and `verify` need no space
            assert trial["after"] == trial["reader"] == old
            assert trial["shell"] in ("", "8,1\n")


def test_what_a_journal_plans_is_on_the_disk_before_it_is_done(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of folders matters to file systems that flush them one by one."""
    parent = add_documents(store)
    add_activations(store, parents=(parent,))
    seen: list[str] = []
    rename, replace, fsync = os.rename, os.replace, os.fsync

    def watched(function: Any, sign: str) -> Any:
        def call(source: Any, target: Any) -> None:
            seen.append(f"{sign} {Path(target).parent.name}/{Path(target).name.split('.')[0]}")
            function(source, target)

        return call

    def flushed(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").resolve()
        seen.append(f"flush {path.name}" if path.is_dir() else "")
        fsync(handle)

    monkeypatch.setattr(os, "rename", watched(rename, "move"))
    monkeypatch.setattr(os, "replace", watched(replace, "write"))
    monkeypatch.setattr(os, "fsync", flushed)
    with store.stage(run_id("tokens", {"new": 1})) as staging:
        staging.write("docs", fill("docs", 1, dataset="d", text="new"))
        staging.commit(ROW, replace=True, with_children=True)
    begin = seen.index("write wh/journal")
    moves = [at for at, what in enumerate(seen) if what.startswith("move ")]
    assert len(moves) == 3
    assert moves == list(range(moves[0], moves[0] + 3)), "readers see each: no flush between"
    assert f"flush {staging.folder.name}" in seen[:begin]
    assert "flush wh" in seen[begin : moves[0]]
    catalogue = seen.index("write wh/warehouse")
    assert {"flush runs", "flush trash", "flush staging"} <= set(seen[moves[-1] : catalogue])
    assert seen[-2:] == ["flush wh"] * 2, "before the journal goes, and after"
