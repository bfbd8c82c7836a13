"""Every kind of damage to every file is found, a manifest forged with care too; nothing is lost."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_warehouse import ROW, add_documents, add_weights, fill

from neuronmap_sql.warehouse.catalog import CATALOG_FILES
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import sha256
from neuronmap_sql.warehouse.manifest import Key
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import Problem, repair, verify


@pytest.fixture
def small(store: Store) -> Store:
    """Two runs, and labels of one that left."""
    store.drop(add_documents(store, "gone", topic=["x", "y"]))
    add_documents(store)
    add_weights(store)
    return store


def files(root: Path) -> list[Path]:
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "lock")
    return sorted(path for path in paths if "trash" not in path.parts)


def blamed(store: Store, path: Path) -> bool:
    """Whether verify names a file, its run, or (for what holds the checksums) anything."""
    name, found = path.relative_to(store.root).as_posix(), verify(store)
    return bool(found) and (
        name == "catalog.json" or any(name.startswith(problem.path) for problem in found)
    )


def inodes(root: Path, damaged: str = "") -> dict[int, bytes]:
    """All files by what tells them apart however they are called, with their bytes.

    Without the catalogue, which is made anew; but with a damaged file of it.
    """
    return {
        path.stat().st_ino: path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in {"lock", *CATALOG_FILES} - {damaged}
    }


@pytest.mark.slow
def test_a_flipped_bit_is_found_wherever_it_is(small: Store) -> None:
    random = np.random.default_rng(1)
    assert verify(small) == []
    for path in files(small.root):
        before = path.read_bytes()
        for at in {0, len(before) - 1, *random.integers(len(before), size=4).tolist()}:
            spoilt = bytearray(before)
            spoilt[at] ^= 1 << int(random.integers(8))
            path.write_bytes(spoilt)
            assert blamed(small, path), f"{path} at {at}"
        path.write_bytes(before)
    assert verify(small) == []


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_a_file_cut_or_gone_is_found_and_what_is_left_of_it_is_kept(
    small: Store, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    for name in (path.relative_to(small.root) for path in files(small.root)):
        copied = Store(tmp_path / "copied")
        shutil.copytree(small.root, copied.root)
        damage(copied.root / name)
        assert blamed(copied, copied.root / name), name
        left = inodes(copied.root, name.name)
        repair(copied, verify(copied))
        now = {p.stat().st_ino: p.read_bytes() for p in copied.root.rglob("*") if p.is_file()}
        assert left.items() <= now.items()
        assert verify(copied) == []
        runs = set(small.run_ids()) - set(copied.run_ids())
        assert {f"run={run}" for run in runs} <= {name.parts[1] if len(name.parts) > 1 else ""}
        with connect(copied.root) as con:  # the views hold
            rows = con.sql("SELECT count(*) FROM docs").fetchall()
        assert rows == [(0 if "tokens-" in str(name) else 2,)]
        shutil.rmtree(copied.root)


def test_strangers_in_hidden_corners_are_found_and_kept(small: Store, tmp_path: Path) -> None:
    rows = pq.read_table(next((small.root / "runs").glob("run=tokens-*/docs/0.parquet")))
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(rows, tmp_path / "elsewhere" / "0.parquet")
    run = next((small.root / "runs").glob("run=weights-*"))
    pq.write_table(rows, small.root / "runs" / "run=none" / "docs" / "evil.parquet")
    pq.write_table(rows, small.root / "runs" / "labels" / "docs" / "1.parquet")
    (run / "activations").symlink_to(tmp_path / "elsewhere")
    (small.root / "runs" / "run=linked").symlink_to(run)
    (small.root / "runs" / "run=%FF").mkdir()
    assert connect(small.root).sql("SELECT count(*) FROM docs").fetchall() == [(6,)]
    found = verify(small)
    assert {problem.path for problem in found} == {
        "runs/run=none/docs/evil.parquet", "runs/labels/docs/1.parquet",
        f"runs/{run.name}/activations", "runs/run=linked", "runs/run=%FF",
    }  # fmt: skip
    assert set(small.run_ids()) > {run.name.removeprefix("run=")}, "and nothing fails for them"
    left = inodes(small.root)
    assert len(repair(small, found)) == 5
    assert left.items() <= inodes(small.root).items()
    assert verify(small) == []
    assert connect(small.root).sql("SELECT count(*) FROM docs").fetchall() == [(2,)]
    assert (tmp_path / "elsewhere" / "0.parquet").exists()


def test_a_commit_does_not_declare_damage_sound(small: Store) -> None:
    path = small.root / "runs" / "run=none" / "docs" / "0.parquet"
    path.write_bytes(before := b"PAR1 spoilt")
    add_documents(small, "e", author=["a", "b"])  # which makes the catalogue anew
    assert verify(small) == []
    assert [path.read_bytes() for path in (small.root / "damaged").iterdir()] == [before]
    assert pq.read_metadata(path).num_rows == 0


def leaves(found: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a manifest are."""
    inner = found.items() if isinstance(found, dict) else enumerate(found)
    for key, value in inner:
        if isinstance(value, dict | list) and value:
            yield from leaves(value, (*place, key))
        yield (*place, key)


def forge(path: Path, found: dict[str, Any]) -> None:
    """Write a manifest with a seal that fits."""
    bare = json.dumps(found | {"seal": ""}, indent=1, ensure_ascii=False) + "\n"
    sealed = found | {"seal": hashlib.sha256(bare.encode()).hexdigest()}
    path.write_text(json.dumps(sealed, indent=1, ensure_ascii=False) + "\n")


def forged(value: Any) -> list[Any]:
    plausible = {bool: True, int: 7, float: 0.25, str: "another", list: [], dict: {}}
    return [plausible.get(type(value), "x"), None if value is not None else 3, ["x"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tokens", "weights"])
def test_a_manifest_with_one_value_forged_is_found(small: Store, kind: str) -> None:
    """With its seal made to fit: each value is told in another place too, or makes no sense."""
    path = next((small.root / "runs").glob(f"run={kind}-*/manifest.json"))
    true = json.loads(path.read_text())
    forge(path, true)
    assert verify(small) == [], "the seal of the forger is the true one"
    for place in leaves(true):
        holder = true
        for key in place[:-1]:
            holder = holder[key]
        for value in forged(holder[place[-1]]):
            if place == ("seal",) or value == holder[place[-1]]:
                continue
            found = copy.deepcopy(true)
            inside = found
            for key in place[:-1]:
                inside = inside[key]
            inside[place[-1]] = value
            forge(path, found)
            assert blamed(small, path), f"{place}: {value}"
    forge(path, true)
    assert verify(small) == []


def test_a_file_taken_out_with_its_entry_is_missed(small: Store) -> None:
    path = next((small.root / "runs").glob("run=weights-*/manifest.json"))
    found = json.loads(path.read_text())
    (path.parent / found["files"].pop(1)["path"]).unlink()
    forge(path, found)
    assert any("tells rows in two ways: 4 and 8" in problem.what for problem in verify(small))


def test_rows_of_another_run_are_found(small: Store) -> None:
    add_weights(small, "other")
    mine, other = sorted((small.root / "runs").glob("run=weights-*/manifest.json"))
    name = "neuron_weights/0.parquet"
    shutil.copy(other.parent / name, mine.parent / name)
    found = json.loads(mine.read_text())
    (entry,) = (entry for entry in found["files"] if entry["path"] == name)
    size = (mine.parent / name).stat().st_size
    found["row"]["bytes"] += size - entry["bytes"]
    entry |= {"bytes": size, "sha256": sha256(mine.parent / name)}
    forge(mine, found)
    assert any(f"{name} holds rows of run weights-" in problem.what for problem in verify(small))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows.drop_columns(["w_out_norm"]), "lacks the column w_out_norm"),
        (lambda rows: rows.set_column(
            rows.column_names.index("neuron"), "neuron", rows["neuron"].cast(pa.int64())
        ), "has int64 in the column neuron, not int32"),
        (lambda rows: rows.append_column("extra", rows["neuron"]),
         "has the column extra, which neuron_weights has not"),
    ],
)  # fmt: skip
def test_another_schema_is_found(
    store: Store, change: Callable[[pa.Table], Any], says: str
) -> None:
    with store.stage("weights-1") as staging:
        staging.write("neuron_weights", fill("neuron_weights", 1))
        path = staging.path("neuron_weights")
        pq.write_table(change(pq.read_table(path)), path)
        staging.commit(ROW, [Key("neuron_weights", "x", site="x", layers=(0,))])
    assert verify(store) == [
        Problem("runs/run=weights-1", f"neuron_weights/0.parquet {says}", "move")
    ]
