"""Kill ingests with SIGKILL, at changes of the disk or at any moment, and look at what is left.

    python tests/ingest/torture.py --trials 100 --seed 0

Each step of an ingest that changes the disk is cut short, before and after its calls; half of the
cuts are power cuts, in which files that were not flushed lose half their bytes. After each death:
readers see exactly the old state, `verify` finds nothing, the same recipe finishes the work, and
every data file has the checksum of an ingest that nobody disturbed. With --broken the ingest lacks
one of the safeguards of a commit, and failures must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))

from demo_recipes import demo_recipe
from faulty import PowerCut, step_of, watch
from trouble import take_away

import neuronmap_sql.ingest.pipeline
from neuronmap_sql.content import folder
from neuronmap_sql.ingest.settings import Recipe
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

TABLES = ["stats", "top", "samples", "weights", "activations", "firings", "vectors"]


@dataclass(frozen=True)
class Death:
    """When an ingest dies: before or after the n-th call of a step, or at a time."""

    step: str
    """A function of this package and the function of `os` that it calls; empty: at a time."""
    number: int = 0
    """Which of its calls, from 0."""
    after: bool = False
    """Whether the call has been made."""
    power: bool = False
    """Whether the machine dies with it."""
    seconds: float = 0.0
    """The time, from the start."""

    def __str__(self) -> str:
        when = f"{'after' if self.after else 'before'} {self.step} {self.number}"
        return (when if self.step else f"at {self.seconds:.3f} s") + " (power)" * self.power


def recipe(docs: int = 12) -> Recipe:
    model = folder("demo") / "models" / "demo-a"
    batch = {"tokens": 256, "shard_tokens": 400}
    return demo_recipe(model, docs, keep={"tables": TABLES}, batch=batch, sites={"layers": "0-1"})


def child(work: Callable[[], None]) -> int:
    """Run in a process of its own; return its pid. This one never starts threads of engines."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ingest(root: Path) -> None:
    neuronmap_sql.ingest.pipeline.ingest(recipe(), Store.open(root))


def counted(root: Path, out: Path) -> None:
    """Ingest, and write how often each function was called, and how long it took."""
    calls: Counter[str] = Counter()
    watch(lambda name, _, after: calls.update([step_of(name)] if after else []))
    began = time.monotonic()
    ingest(root)
    seconds = time.monotonic() - began
    out.write_text(json.dumps({"calls": calls, "seconds": seconds}))


def doomed(root: Path, death: Death, broken: str) -> None:
    """Ingest, and die on the way."""
    calls: Counter[str] = Counter()
    cut = PowerCut(root)

    def die(name: str, handle: str, after: bool) -> None:
        cut.told(name, handle, after)
        if after == death.after and death.step and step_of(name) == death.step:
            if calls[name] == death.number:
                cut.strike() if death.power else os.kill(os.getpid(), signal.SIGKILL)
            calls[name] += 1

    take_away(broken)
    watch(die)
    ingest(root)


def killed(root: Path, death: Death, broken: str) -> int:
    """Run an ingest that dies; return its exit code: -9 if it died, 0 if it was done before."""
    pid = child(lambda: doomed(root, death, broken))
    if not death.step:
        time.sleep(death.seconds)
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return 0
        os.kill(pid, signal.SIGKILL)
    return wait(pid)


def checksums(root: Path) -> dict[str, str]:
    """SHA-256 of every data file: the rows of `runs` alone hold times."""
    store = Store(root)
    return {
        f"{run}/{entry.path}": entry.sha256
        for run in store.run_ids()
        for entry in store.manifest(run).files
        if entry.table != "runs"
    }


def answers(root: Path) -> dict[str, object]:
    """What a reader sees, a run at a time: all of it, or nothing of it."""
    with connect(root) as con:
        runs = sorted(row[0] for row in con.sql("SELECT run FROM runs").fetchall())
        counts = {
            table: con.sql(f"SELECT count(*), count(DISTINCT run) FROM {table}").fetchall()
            for table in ("docs", "tokens", "neuron_stats", "activations", "vectors")
        }
    return {"runs": runs, "counts": counts}


def look(root: Path, expected: Path, out: Path) -> None:
    """Say all that is wrong after a death."""
    wrong = []
    before = checksums(root)
    whole = json.loads(expected.read_text())
    wrong += [f"{name} differs" for name, sum_ in before.items() if whole["sums"].get(name) != sum_]
    seen = answers(root)
    wrong += [f"a reader sees {r}" for r in seen["runs"] if r not in whole["answers"]["runs"]]
    wrong += [f"before resume: {p.path} {p.what}" for p in verify(Store.open(root))]
    ingest(root)
    wrong += [f"after resume: {p.path} {p.what}" for p in verify(Store.open(root))]
    wrong += [] if checksums(root) == whole["sums"] else ["the result differs"]
    now = json.loads(json.dumps(answers(root)))
    wrong += [] if now == whole["answers"] else [f"a reader sees {now}"]
    wrong += [f"left in staging: {p.name}" for p in (root / "staging").iterdir()]
    out.write_text(json.dumps(wrong))


def reference(place: Path, broken: str) -> dict[str, object]:
    """An ingest that nobody disturbs: what it must come to, and what can be cut short."""
    base, out = place / "base", place / "counted.json"

    def whole() -> None:
        Store.create(base)
        shutil.copytree(base, place / "whole")
        ingest(place / "whole")
        found = {"sums": checksums(place / "whole"), "answers": answers(place / "whole")}
        (place / "expected.json").write_text(json.dumps(found))

    def count() -> None:
        shutil.copytree(base, place / "counted")
        take_away(broken)
        counted(place / "counted", out)

    assert wait(child(whole)) == wait(child(count)) == 0
    return dict(json.loads(out.read_text()))


def trial(place: Path, death: Death, broken: str = "") -> tuple[int, list[str]]:
    """Return the exit code of the doomed ingest, and what was wrong afterwards."""
    root, out = place / "trial", place / "wrong.json"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(place / "base", root)
    code = killed(root, death, broken)
    if wait(child(lambda: look(root, place / "expected.json", out))):
        return code, ["the resume failed"]
    return code, list(json.loads(out.read_text()))


def deaths(found: dict[str, object], trials: int, seed: int) -> list[Death]:
    """Choose deaths: four fifths at the steps, each in turn, before and after; a fifth at times."""
    rng = random.Random(seed)
    calls: dict[str, int] = found["calls"]  # type: ignore[assignment]
    steps = [(step, after) for step in sorted(calls) for after in (False, True)]
    rng.shuffle(steps)
    chosen = []
    for number in range(trials):
        if number % 5 == 4:
            chosen.append(Death("", seconds=rng.uniform(0, float(found["seconds"]))))  # type: ignore[arg-type]
        else:
            step, after = steps[(number - number // 5) % len(steps)]
            power = number % 2 == 0
            chosen.append(Death(step, rng.randrange(calls[step]), after, power))
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--broken", default="", choices=("", "flush", "step", "journal"))
    options = parser.parse_args()
    died = failed = 0
    with tempfile.TemporaryDirectory() as place:
        found = reference(Path(place), options.broken)
        print(f"an ingest takes {found['seconds']:.1f} s and changes the disk in these steps:")
        print(json.dumps(found["calls"], indent=1, sort_keys=True))
        for death in deaths(found, options.trials, options.seed):
            code, wrong = trial(Path(place), death, options.broken)
            died += code == -signal.SIGKILL
            failed += bool(wrong)
            said = "; ".join(wrong) or "as it was, and resumed"
            print(f"{death}: {'killed' if code else 'was done'}; {said}", flush=True)
    print(f"{options.trials} trials, {died} killed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
