"""Commits a run in place of another, killed before the n-th change to the file system.

Run as a program: `killed.py FOLDER` prints a JSON list, one entry for each n.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from small_warehouse import ROW, add_activations, add_documents, fill

from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.staging import run_id
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import verify

CHANGES = {"os.rename", "os.remove", "os.rmdir"}


def forked(work: Callable[[], None]) -> int:
    """Run in a child, so that this process never starts the engine's threads."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def replace(root: Path) -> None:
    staging = Store.open(root).stage(run_id("tokens", {"new": 1}))
    staging.write("docs", fill("docs", 1, dataset="d", text="new"))
    staging.commit(ROW, replace=True, with_children=True)


def die_before(count: int) -> None:
    def hook(event: str, _: object) -> None:
        nonlocal count
        if event in CHANGES:
            count -= 1
            if count == 0:
                os._exit(9)

    sys.addaudithook(hook)


def state(root: Path) -> dict[str, list[str]]:
    store = Store.open(root)
    for manifest in store.manifests().values():
        for entry in manifest.files:
            assert (root / "runs" / f"run={manifest.run}" / entry.path).exists()
    texts = connect(root).sql("SELECT DISTINCT left(text, 3) FROM docs").fetchall()
    assert verify(store) == []
    return {"runs": list(store.run_ids()), "texts": [text for (text,) in texts]}


def trial(base: Path, root: Path, count: int) -> dict[str, object]:
    shutil.copytree(base, root)

    def killed() -> None:
        die_before(count)
        replace(root)

    def look() -> None:
        after = state(root)
        replace(root)
        (root / "state.json").write_text(json.dumps({"after": after, "resumed": state(root)}))

    code = forked(killed)
    assert forked(look) == 0
    return {"code": code, **json.loads((root / "state.json").read_text())}


def main(folder: Path) -> None:
    def build() -> None:
        store = Store.create(folder / "base")
        add_activations(store, parents=(add_documents(store),))

    assert forked(build) == 0
    trials = []
    while not trials or trials[-1]["code"] == 9:
        count = len(trials) + 1
        trials.append(trial(folder / "base", folder / str(count), count))
    print(json.dumps(trials))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
