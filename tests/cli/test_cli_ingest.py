"""`neuronmap ingest`: flags are a recipe, a dry run tells the truth, an interrupted run goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from neuronmap_sql.content import folder
from neuronmap_sql.warehouse.store import Store


@pytest.fixture
def flags(demo_model: Path) -> tuple[str, ...]:
    """A small ingest, from flags alone."""
    return (
        "--model", str(demo_model), "--data", str(folder("demo") / "text.jsonl.gz"),
        "--labels", "source,split", "--layers", "1-2", "--keep", "stats,top,weights",
        "--set", "data.limit=20", "--set", "keep.top_k=5", "--set", "title=a small one",
    )  # fmt: skip


def made(answer: Any) -> dict[str, str]:
    """What the command printed: run ids, and whether they were made."""
    return dict(line.split("\t") for line in answer.text.splitlines())


def test_flags_amount_to_a_recipe(cli: Any, flags: tuple[str, ...], tmp_path: Path) -> None:
    """The recipe that the flags print, saved and ingested, finds its runs there."""
    warehouse, saved = tmp_path / "wh", tmp_path / "recipe.toml"
    first = cli("ingest", *flags, "--to", warehouse, "-q")
    assert first.code == 0, first.err
    runs = made(first)
    assert set(runs.values()) == {"made"}
    assert set(runs) == set(Store.open(warehouse).run_ids())
    assert 'title = "a small one"' in first.err
    assert "top_k = 5" in first.err

    saved.write_text(first.err)
    second = cli("ingest", saved, "--to", warehouse, "-q")
    assert (second.code, second.err) == (0, "")
    assert made(second) == dict.fromkeys(runs, "was there")

    asked = "SELECT min(layer), max(layer), max(rank) FROM top_activations"
    assert cli("sql", asked, "-w", warehouse, "-f", "csv").text.splitlines()[1] == "1,2,5"

    # The same names from another recipe: refused, then put in their place.
    other = ("--set", "keep.top_k=4", "--to", warehouse, "-q")
    refused = cli("ingest", saved, *other)
    assert refused.code == 2
    assert "--replace" in refused.err
    assert cli("ingest", saved, *other, "--replace").code == 0
    assert cli("sql", asked, "-w", warehouse, "-f", "csv").text.splitlines()[1] == "1,2,4"


def test_progress_is_talk(cli: Any, flags: tuple[str, ...], tmp_path: Path) -> None:
    answer = cli("ingest", *flags, "--to", tmp_path / "wh")
    assert "committed" in answer.err
    assert all(re.fullmatch(r"\w+-[0-9a-f]{16}\tmade", line) for line in answer.text.splitlines())


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize(
    "keep", ["stats,top,samples,weights", "weights", "activations,firings,vectors"]
)
def test_a_dry_run_is_near_the_truth(
    cli: Any, flags: tuple[str, ...], tmp_path: Path, keep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = (*flags, "--layers", "all", "--set", "data.limit=60", "--keep", keep)
    dry = cli("ingest", *wanted, "--to", tmp_path / "wh", "--dry-run", "-q")
    assert dry.code == 0, dry.err
    assert list(tmp_path.iterdir()) == []

    assert cli("ingest", *wanted, "--to", tmp_path / "wh", "-q").code == 0
    asked = "SELECT (SELECT count(*) FROM tokens) AS tokens, sum(bytes)::BIGINT AS bytes FROM runs"
    (real,) = json.loads(cli("sql", asked, "-w", tmp_path / "wh", "-f", "json").out)
    assert number(dry.text, r"tokens +([0-9,]+) counted") == real["tokens"]
    megabytes = number(dry.text, r"disk +about ([0-9,.]+) MB")
    assert real["bytes"] / 1.5 < megabytes * 1e6 < real["bytes"] * 1.5
    assert 50 < number(dry.text, r"memory +about ([0-9,.]+) MB") < 20_000
    assert 0 < number(dry.text, r"time +about ([0-9,.]+) s") < 600


def test_a_dry_run_needs_no_warehouse(cli: Any, flags: tuple[str, ...]) -> None:
    answer = cli("ingest", *flags, "--dry-run", "-q")
    assert answer.code == 0
    assert "tokens" in answer.text


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--to FOLDER, or set NEURONMAP_WAREHOUSE"),
        (("--to", "wh"), 2, "command line: key 'model' is missing"),
        (("none.toml", "--to", "wh"), 2, "none.toml: no such recipe"),
        (("--to", "wh", "--set", "keep.topk=5"), 2, "'keep.topk'; did you mean 'top_k'"),
        (("--to", "wh", "--set", "keep.top_k"), 2, "write key=value"),
        (("--to", "wh", "--keep", "stat"), 2, "did you mean 'stats'"),
        (("--to", "wh", "--site", "mpl"), 2, "did you mean 'mlp'"),
        (("--to", "wh", "--layers", "0-9"), 2, "no layer 9"),
        (("--to", "wh", "--data", "none.jsonl"), 1, "none.jsonl"),
        (("--to", "wh", "--labels", "sauce"), 1, "source"),
        (("--to", "wh", "--model", "no-such/model"), 1, "no-such/model"),
        (("--to", "wh", "--device", "cuda:7"), 1, "cuda:7"),
    ],
)  # fmt: skip
def test_wrong_flags_name_the_way_out(
    cli: Any, flags: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    whole = () if arguments in {("--to", "wh"), ("none.toml", "--to", "wh")} else flags
    answer = cli("ingest", *whole, *arguments, "-q")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == b""
    assert answer.code == code


@pytest.mark.slow
def test_ctrl_c_and_the_same_command_again(
    script: Path, process: Any, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Interrupted after a saved state, the ingest goes on from there, to the same end."""
    warehouse = tmp_path / "wh"
    long = (*flags, "--layers", "all", "--keep", "stats,top", "--set", "data.limit=150")
    command = ("ingest", *long, "--set", "batch.shard_tokens=2000", "--to", str(warehouse))
    running = subprocess.Popen(
        [script, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while not any(warehouse.glob("staging/state=activations*/state-reducers")):
            assert running.poll() is None, running.stderr and running.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130
    assert out == ""
    assert "interrupted: give the same command again to go on" in err
    assert "Traceback" not in err
    (unfinished,) = Store.open(warehouse).unfinished()
    assert unfinished in process("runs", "-w", warehouse).err

    again = process(*command)
    assert again.code == 0, again.err
    assert made(again)[unfinished] == "made"
    assert "resumed at shard" in (warehouse / "logs" / f"{unfinished}.log").read_text()
    assert Store.open(warehouse).unfinished() == ()

    whole = process(
        "ingest", *long, "--set", "batch.shard_tokens=2000", "--to", tmp_path / "at-once", "-q"
    )
    assert unfinished in made(whole)
    asked = (
        "SELECT layer, neuron, count, mean, kurtosis, hist_counts FROM neuron_stats ORDER BY ALL"
    )
    rows = [
        process("sql", asked, "-w", wh, "-f", "csv").out for wh in (warehouse, tmp_path / "at-once")
    ]
    assert rows[0] == rows[1]
    assert rows[0].count(b"\n") == 2049
