"""`verify` finds every kind of damage; `repair` moves it aside and loses nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_warehouse import ROW, add_documents, add_weights, fill

from neuronmap_sql.errors import StoreError
from neuronmap_sql.warehouse.commit import seal
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.files import sha256
from neuronmap_sql.warehouse.manifest import read_manifest, write_manifest
from neuronmap_sql.warehouse.schema import FORMAT
from neuronmap_sql.warehouse.staging import run_id
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import Problem, repair, verify

Damage = Callable[[Path], None]


@pytest.fixture
def copied(filled: Store, tmp_path: Path) -> Store:
    shutil.copytree(filled.root, tmp_path / "wh")
    return Store(tmp_path / "wh")


def files(root: Path) -> list[Path]:
    """Every file that holds something."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock" and path.stat().st_size
    )


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files(root)}


def one(store: Store, wanted: str) -> Path:
    """The folder of a run of some kind."""
    return next(
        p for p in sorted((store.root / "runs").iterdir()) if p.name.startswith(f"run={wanted}")
    )


def test_a_sound_warehouse_has_no_problems(filled: Store) -> None:
    seen: list[int] = []
    assert verify(filled, seen.append) == []
    total = sum(filled.manifest(run).bytes for run in filled.run_ids())
    assert sum(seen) == total > 0


@pytest.mark.slow
def test_a_flipped_bit_is_found_in_every_file(copied: Store) -> None:
    random = np.random.default_rng(0)
    for path in files(copied.root):
        before = path.read_bytes()
        for at in {0, int(random.integers(len(before)))}:
            spoilt = bytearray(before)
            spoilt[at] ^= 1 << int(random.integers(8))
            path.write_bytes(spoilt)
            found = verify(copied)
            name = path.relative_to(copied.root).as_posix()
            blamed = [problem.path for problem in found]
            assert any(map(name.startswith, blamed)) or (blamed and name == "catalog.json"), name
        path.write_bytes(before)
    assert verify(copied) == []


def _truncate(run: Path) -> None:
    path = run / "neuron_weights" / "0.parquet"
    path.write_bytes(path.read_bytes()[:-7])


def _remove(run: Path) -> None:
    (run / "neuron_weights" / "1.parquet").unlink()


def _edit(run: Path) -> None:
    path = run / "manifest.json"
    path.write_text(path.read_text().replace('"seconds": 1.5', '"seconds": 0.5'))


def _edit_whole(run: Path) -> None:
    """Change rows and checksum of the file that the manifest names: the seal still shows it."""
    found = json.loads((run / "manifest.json").read_text())
    found["files"][0]["rows"] += 1
    (run / "manifest.json").write_text(json.dumps(found, indent=1) + "\n")


def _rows(run: Path) -> None:
    manifest = read_manifest(run)
    entries = tuple(dataclasses.replace(e, rows=e.rows + 1) for e in manifest.files)
    write_manifest(run, dataclasses.replace(manifest, files=entries))


def _unreadable(run: Path) -> None:
    (run / "manifest.json").write_text("{")


def _no_manifest(run: Path) -> None:
    (run / "manifest.json").unlink()


def _renamed(run: Path) -> None:
    run.rename(run.with_name("run=weights-0123456789abcdef"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_truncate, r"neuron_weights/0.parquet has [\d,]+ bytes instead of"),
        (_remove, "neuron_weights/1.parquet is missing"),
        (_edit, "was changed after the run was committed"),
        (_edit_whole, "was changed after the run was committed"),
        (_rows, "rows instead of"),
        (_unreadable, "is missing or damaged"),
        (_no_manifest, "is missing or damaged"),
        (_renamed, "has the manifest of run weights-"),
    ],
)
def test_a_damaged_run_is_found_and_moved_aside_whole(
    copied: Store, damage: Damage, says: str
) -> None:
    run = one(copied, "weights")
    damage(run)
    (problem,) = {problem.path for problem in verify(copied)}
    assert any(re.search(says, found.what) for found in verify(copied))
    before = contents(copied.root / problem)
    (moved,) = repair(copied, verify(copied))
    assert contents(moved) == before
    assert moved.parent == copied.root / "damaged"
    assert verify(copied) == []
    add_weights(copied)
    assert verify(copied) == []


def test_strangers_are_found_and_moved_alone(copied: Store) -> None:
    run = one(copied, "weights")
    strangers = [
        copied.root / "notes.txt",
        copied.root / "runs" / "old-copy",
        run / "neuron_weights" / "2.parquet",
        run / "thumbs.db",
        copied.root / "staging" / "run=weights-1",
        copied.root / "staging" / "x",
    ]
    for path in strangers:
        path.write_text("mine") if path.suffix else path.mkdir()
    found = {problem.path for problem in verify(copied)}
    assert found == {path.relative_to(copied.root).as_posix() for path in strangers}
    moved = repair(copied, verify(copied))
    assert len(moved) == len(strangers)
    assert sum(path.is_file() and path.read_text() == "mine" for path in moved) == 3
    assert verify(copied) == []
    assert run.exists()


def test_a_missing_parent_is_named_and_nothing_is_moved_for_it(copied: Store) -> None:
    shutil.rmtree(one(copied, "tokens"))
    (problem,) = verify(copied)
    assert problem.cure == "ingest"
    assert "was computed from tokens-" in problem.what
    assert repair(copied, [problem]) == []


def test_two_runs_of_one_name_are_found(copied: Store) -> None:
    with copied.stage(run_id("weights", {"twin": 1})) as twin:  # as no commit would let it in
        twin.write("neuron_weights", fill("neuron_weights", 1, model="m", site="mlp", layer=1))
        seal(twin.folder, twin.run, {**ROW, "model": "m"}, None)
        shutil.copytree(twin.folder, copied.root / "runs" / twin.folder.name)
        twin.discard()
    (problem,) = verify(copied)
    assert problem.cure == "drop"
    assert "holds neuron_weights (model m, site mlp, layers " in problem.what


def test_two_rows_of_one_key_are_found(store: Store) -> None:
    with store.stage(run_id("weights", {})) as staging:
        keys = {"model": "m", "site": "mlp", "layer": 0, "neuron": [0, 1, 1]}
        staging.write("neuron_weights", fill("neuron_weights", 3, **keys))
        staging.commit({**ROW, "model": "m"})
    (problem,) = verify(store)
    assert problem.what == "neuron_weights has two rows with model m, site mlp, layer 0, neuron 1"


def test_the_catalogue_is_made_anew(copied: Store) -> None:
    for name in ("warehouse.duckdb", "init.sql", "catalog.json"):
        (copied.root / name).write_text("x")
    found = verify(copied)
    assert {problem.cure for problem in found} == {"rebuild"}
    kept = repair(copied, found)
    assert [path.read_text() for path in kept] == ["x"] * 3
    assert verify(copied) == []


def test_a_damaged_journal_is_moved_aside(copied: Store) -> None:
    (copied.root / "journal.json").write_text('{"enter": ')
    with pytest.raises(StoreError, match=r"journal\.json is damaged.*verify --repair"):
        Store.open(copied.root)
    assert verify(copied) == [Problem("journal.json", "is damaged", "move")]
    repair(copied, verify(copied))
    assert verify(Store.open(copied.root)) == []


def age(run: Path) -> None:
    """Make a run one of format 1, which had no seals, and one column less in `runs`."""
    path = run / "runs" / "0.parquet"
    rows = pq.read_table(path).drop_columns(["quantization_error"])
    place = rows.schema.get_field_index("format")
    pq.write_table(rows.set_column(place, rows.schema[place], pa.array([1], pa.int32())), path)
    found = json.loads((run / "manifest.json").read_text())
    del found["seal"]
    found["format"] = found["row"]["format"] = 1
    for entry in found["files"]:
        if entry["table"] == "runs":
            entry.update(bytes=path.stat().st_size, sha256=sha256(path))
    (run / "manifest.json").write_text(json.dumps(found))


def test_runs_of_an_older_format_are_read_and_migrated(copied: Store) -> None:
    ids = copied.run_ids()
    for run in ids:
        age(copied.root / "runs" / f"run={run}")
    empty = copied.root / "runs" / "run=none" / "runs" / "0.parquet"
    pq.write_table(pq.ParquetFile(empty).read().drop_columns(["quantization_error"]), empty)
    (copied.root / "catalog.json").unlink()
    old = Store.open(copied.root)
    question = "SELECT count(*), sum(mean) FROM neuron_stats"
    before = connect(old.root).sql(question).fetchall()
    assert connect(old.root).sql("SELECT count(quantization_error) FROM runs").fetchall() == [(0,)]
    assert {(p.cure, p.what) for p in verify(old)} == {("migrate", "has the older format 1")}
    data = {n: b for n, b in contents(old.root / "runs").items() if "/neuron_" in n}
    assert old.migrate() == ids
    assert verify(old) == []
    assert old.migrate() == ()
    assert connect(old.root).sql(question).fetchall() == before
    assert connect(old.root).sql("SELECT DISTINCT format FROM runs").fetchall() == [(FORMAT,)]
    assert {n: b for n, b in contents(old.root / "runs").items() if "/neuron_" in n} == data
    assert len(list((old.root / "trash").iterdir())) == len(ids)


def test_a_damaged_run_is_not_migrated(copied: Store) -> None:
    run = one(copied, "weights")
    age(run)
    path = run / "neuron_weights" / "0.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"0\.parquet is damaged.*verify --repair"):
        copied.migrate()
    assert run.exists()


def test_a_newer_format_is_refused_with_the_reason(copied: Store) -> None:
    run = one(copied, "weights")
    manifest = read_manifest(run)
    write_manifest(run, dataclasses.replace(manifest, format=99))
    with pytest.raises(StoreError, match=rf"has format 99.*up to {FORMAT}: update it"):
        copied.manifest(manifest.run)
    path = copied.root / "catalog.json"
    path.write_text(path.read_text().replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(StoreError, match=rf"has format 99.*up to {FORMAT}: update it"):
        Store.open(copied.root)


def test_a_warehouse_made_by_another_version_gets_a_new_catalogue(copied: Store) -> None:
    path = copied.root / "catalog.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"made_from": "0"}))
    Store.open(copied.root)
    assert json.loads(path.read_text()) == found
    before = (copied.root / "warehouse.duckdb").stat().st_mtime_ns
    Store.create(copied.root)
    assert (copied.root / "warehouse.duckdb").stat().st_mtime_ns == before


@pytest.mark.slow
def test_verify_goes_on_while_runs_come_and_go(store: Store) -> None:
    def churn() -> None:
        for _ in range(5):
            store.drop(add_documents(store))

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(churn)
        while not done.done():
            assert [p for p in verify(store) if p.cure == "move"] == []
        done.result()
