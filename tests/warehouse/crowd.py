"""One of a crowd on a warehouse: writes, drops or reads for some seconds, and tells what it saw.

python tests/warehouse/crowd.py ROLE ROOT SECONDS SEED
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from small_warehouse import add_activations, add_documents

import neuronmap_sql
from neuronmap_sql.errors import NeuronMapError, StoreError, UnknownNameError
from neuronmap_sql.warehouse.shell import find_duckdb
from neuronmap_sql.warehouse.store import Store

QUESTION = """
SELECT
    (SELECT count(*) FROM neuron_stats WHERE dataset = 'still') AS still,
    (
        SELECT coalesce(max(n), 1) FROM (
            SELECT count(*) AS n FROM neuron_stats GROUP BY model, dataset, site, layer, neuron
        )
    ) AS times,
    (SELECT list(DISTINCT n) FROM (SELECT count(*) AS n FROM neuron_stats GROUP BY run)) AS rows,
    (SELECT count(*) FROM docs WHERE dataset = 'still') AS docs
"""
"""A run that stays; how often a row is there; rows of each run; documents under any labels."""

ANSWER = [[8, 1, [8], 2]]


def turns(seconds: float) -> Iterator[int]:
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        yield number
        number += 1


def write(store: Store, seconds: float, seed: int) -> dict[str, Any]:
    """Add runs that nobody else adds or drops."""
    made = []
    for number in turns(seconds):
        parent = add_documents(store, f"w{seed}-{number}", **{f"label{seed}": [1, 2]})
        made += [parent, add_activations(store, f"w{seed}-{number}", parents=(parent,))]
    return {"made": made}


def same(store: Store, seconds: float, seed: int) -> dict[str, Any]:
    """Add the run that others add too, and that is dropped again and again."""
    made: list[str] = []
    told: list[str] = []
    for _ in turns(seconds):
        try:
            made.append(add_activations(store, "same"))
        except StoreError as error:
            told.append(str(error))
            time.sleep(0.05)
    return {"made": sorted(set(made)), "told": told}


def drop(store: Store, seconds: float, seed: int) -> dict[str, Any]:
    """Drop the run that others add, and documents whose label no others have."""
    dropped = []
    for number in turns(seconds):
        if number % 3:
            run = add_activations(store, f"gone{seed}")
        else:
            run = add_documents(store, f"gone{seed}", **{f"gone{number % 2}": ["a", "b"]})
        dropped += store.drop(run)
        for run, manifest in store.manifests().items():
            if manifest.row.get("dataset") == "same":
                with suppress(UnknownNameError):  # another dropped it first
                    dropped += store.drop(run)
    return {"dropped": dropped}


def read(store: Store, seconds: float, seed: int) -> dict[str, Any]:
    """Ask through Python: one reader stays open all the time, another is opened for each turn."""
    with neuronmap_sql.open(store.root) as stays:

        def ask(number: int) -> list[list[Any]]:
            if number % 2:
                return [list(row) for row in stays.sql(QUESTION).fetchall()]
            with neuronmap_sql.open(store.root) as fresh:
                return [list(row) for row in fresh.sql(QUESTION).fetchall()]

        return _asked(ask, seconds)


def shell(store: Store, seconds: float, seed: int) -> dict[str, Any]:
    """Ask through the stock shell."""
    root = store.root
    command = [str(find_duckdb()), "-init", f"{root}/init.sql", "-readonly", "-json"]

    def ask(_: int) -> list[list[Any]]:
        done = subprocess.run(
            [*command, "-c", QUESTION, f"{root}/warehouse.duckdb"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NeuronMapError(done.stderr)
        return [[v if v != "[8]" else [8] for v in row.values()] for row in json.loads(done.stdout)]

    return _asked(ask, seconds)


def _asked(ask: Callable[[int], list[list[Any]]], seconds: float) -> dict[str, Any]:
    """Ask again and again; a question that met a run as it left is asked once more, as it says."""
    answers, again, wrong, random_ = 0, 0, [], random.Random(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end or not (answers or wrong):
        try:
            found = ask(answers + again)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            if "No such file or directory" in text and "/runs/run=" in text:
                again += 1
            else:
                wrong.append(text)
        else:
            answers += 1
            if found != ANSWER:
                wrong.append(f"saw {found}")
        time.sleep(random_.uniform(0, 0.02))
    return {"answers": answers, "again": again, "wrong": wrong}


ROLES = {"write": write, "same": same, "drop": drop, "read": read, "shell": shell}

if __name__ == "__main__":
    role, root, seconds, seed = sys.argv[1:]
    found = ROLES[role](Store.open(Path(root)), float(seconds), int(seed))
    print(json.dumps({"role": role, "seed": int(seed), **found}))
