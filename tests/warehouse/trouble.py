"""A disk that fails: errors and power cuts at chosen changes of the file system.

Run as a program, it puts a job of the store through them and prints what it saw as JSON:

    python tests/warehouse/trouble.py FOLDER JOB KIND [--broken NAME] [--first N] [--every N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from faulty import cut_at, fail_at, watch
from small_warehouse import ROW, add_activations, add_documents, add_weights, fill

import neuronmap_sql.warehouse.store
from neuronmap_sql.errors import NeuronMapError
from neuronmap_sql.warehouse import commit, files
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.staging import run_id
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify


def replace(root: Path) -> None:
    """Put other documents, with other labels, in the place of the old ones."""
    with Store.open(root).stage(run_id("tokens", {"new": 1})) as staging:
        staging.write("docs", fill("docs", 1, dataset="d", text="new", author=["a"]))
        staging.commit(ROW, replace=True, with_children=True)


def drop(root: Path) -> None:
    store, run = Store.open(root), run_id("tokens", {"dataset": "d", "tokenizer": "tk"})
    if store.has(run):
        store.drop(run, with_children=True)


def add(root: Path) -> None:
    add_weights(Store.open(root))


JOBS = {"replace": replace, "drop": drop, "add": add}


def _copy(root: Path, enter: Any, leave: Any, *, catalog: bool = False) -> None:
    """An exchange that is no single step: file after file is copied to where readers look."""
    for run in enter:
        shutil.copytree(root / "staging" / f"run={run}", root / "runs" / f"run={run}")
    _move(root, (), leave)


def _move(root: Path, enter: Any, leave: Any, *, catalog: bool = False) -> None:
    """An exchange that nobody can finish, since no journal tells of it."""
    for run in leave:
        (root / "runs" / f"run={run}").rename(root / "trash" / f"1-run={run}")
    for run in enter:
        (root / "staging" / f"run={run}").rename(root / "runs" / f"run={run}")


def take_away(name: str) -> None:
    """Take away one of the things that make a commit safe, so that what is seen must be wrong."""
    if name == "flush":
        files.flush = commit.flush = commit.flush_tree = lambda _: None
    elif name:
        neuronmap_sql.warehouse.store.exchange = {"step": _copy, "journal": _move}[name]


def state(root: Path) -> dict[str, Any]:
    """What readers see, and the checksums of the data."""
    store = Store.open(root)
    tables = ("runs", "tokens", "neuron_stats", "neuron_weights", "activations")
    with connect(root) as con:
        texts = con.sql("SELECT dataset, left(text, 3) FROM docs ORDER BY ALL").fetchall()
        counts = [
            con.sql(f"SELECT run, count(*) FROM {table} GROUP BY run ORDER BY ALL").fetchall()
            for table in tables
        ]
    sums = sorted(
        (manifest.run, entry.path, entry.sha256)
        for manifest in store.manifests().values()
        for entry in manifest.files
        if entry.table != "runs"
    )
    return {"texts": texts, "counts": counts, "sums": sums}


def checked(root: Path) -> dict[str, Any]:
    found = state(root)
    return {"state": found, "wrong": [f"{p.path} {p.what}" for p in verify(Store(root))]}


def said(work: Callable[[], Any]) -> dict[str, Any]:
    """What work returns or says; errors that are not raised on purpose are told by their kind."""
    try:
        return {"value": work()}
    except NeuronMapError as error:
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:
        return {"error": str(error), "kind": f"unexpected {type(error).__name__}"}


def child(out: Path, work: Callable[[], Any]) -> tuple[int, Any]:
    """Run in a child, so that this process never starts the engine's threads."""
    out.write_text("{}")
    handle = os.open(out, os.O_WRONLY)  # what is written to it later is not watched
    pid = os.fork()
    if pid == 0:
        os.write(handle, json.dumps(work()).encode())
        os._exit(0)
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), json.loads(out.read_text())


def trial(place: Path, job: str, trouble: Callable[[Path], None], broken: str) -> dict[str, Any]:
    """Do a job in trouble; look at what is left; do it again."""
    root, out = place / "trial", place / "out.json"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(place / "base", root)

    def doomed() -> Any:
        take_away(broken)
        trouble(root)
        found = said(lambda: JOBS[job](root))
        return found | {"reader": said(lambda: state(root))}  # the disk may still fail

    code, found = child(out, doomed)
    after = child(out, lambda: said(lambda: checked(root)))[1]
    resumed = child(out, lambda: said(lambda: (JOBS[job](root), checked(root))[1]))[1]
    return {"code": code, **found, "after": after, "resumed": resumed}


def build(root: Path) -> None:
    store = Store.create(root)
    parent = add_documents(store, "d", topic=["x", "y"])
    add_activations(store, "d", parents=(parent,))
    add_documents(store, "e")


def trials(
    place: Path, job: str, kind: str, broken: str, first: int, every: int
) -> Iterator[dict[str, Any]]:
    """Go through the changes that a job makes: the very first, some, and none."""
    child(place / "out.json", lambda: build(place / "base"))
    shutil.copytree(place / "base", place / "counted")

    def count() -> int:
        seen: list[str] = []
        watch(lambda name, _, after: seen.append(name) if after else None)
        JOBS[job](place / "counted")
        return len(seen)

    total: int = child(place / "out.json", count)[1]
    for number in [0, *range(first, total, every), 10**9]:
        trouble: dict[str, Callable[[Path], None]] = {
            "cut": lambda root, n=number: cut_at(root, n, after=n // every % 2 == 1),
            "once": lambda _, n=number: fail_at(n, 1),
            "lasting": lambda _, n=number: fail_at(n, float("inf")),
        }  # type: ignore[misc]
        yield {"number": number, **trial(place, job, trouble[kind], broken)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("kind", choices=("cut", "once", "lasting"))
    parser.add_argument("--broken", default="", choices=("", "flush", "step", "journal"))
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    given = parser.parse_args()
    options = (given.job, given.kind, given.broken, given.first, given.every)
    print(json.dumps(list(trials(given.folder, *options))))
