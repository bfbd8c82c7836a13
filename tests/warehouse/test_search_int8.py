"""Searches where only codes are kept: exact beside float16 rows, and else honest about it."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_warehouse import ROW

import neuronmap_sql as nm
from neuronmap_sql.errors import StoreError, UnknownNameError
from neuronmap_sql.numerics.best_first import Score, combined, cosine, euclidean
from neuronmap_sql.numerics.int8 import iter_int8_tables
from neuronmap_sql.warehouse import stored_values
from neuronmap_sql.warehouse.block_files import BlockFiles
from neuronmap_sql.warehouse.frames import matrix
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.row_files import RowFiles
from neuronmap_sql.warehouse.search import Found, nearest_tokens, top_tokens
from neuronmap_sql.warehouse.staging import Partition, run_id
from neuronmap_sql.warehouse.store import Store

TOKENS, NEURONS, BLOCK = 900, 4, 64
RNG = np.random.default_rng(8)
SHAPE = (TOKENS, NEURONS)

DATA = {
    "random": RNG.normal(size=SHAPE),
    "tied": RNG.integers(0, 4, SHAPE),
    "heavy-tailed": RNG.standard_cauchy(SHAPE),
    "constant": np.broadcast_to(RNG.normal(size=NEURONS), SHAPE),
    "rests at zero": np.maximum(RNG.normal(size=SHAPE) - 1, 0),
    "many in one code": 1000 * (np.arange(TOKENS) == 450)[:, None] + RNG.normal(size=SHAPE),
    "some not finite": np.where(RNG.random(SHAPE) < 0.1, np.nan, RNG.normal(size=SHAPE)),
}


def keep(store: Store, model: str, exact: bool) -> None:
    """Keep the values of DATA[model] as codes: on dataset `exact` beside float16 rows, and on
    dataset `codes` alone."""
    place = Partition(model, "exact" if exact else "codes", "mlp", 0)
    values = DATA[model].astype(np.float16)
    with store.stage(run_id("activations", vars(place))) as staging:
        codes = pa.concat_tables(iter_int8_tables(values.copy(), BLOCK))
        staging.write("activations_int8", _named(codes), place)
        if exact:
            staging.write("token_matrices", rows_table(values), place)
        staging.commit(ROW)


def rows_table(values: np.ndarray) -> pa.Table:
    vals = [row.tobytes() for row in values.astype(np.float16)]
    return _named(pa.table({"tok": np.arange(len(values)), "vals": vals}))


def _named(table: pa.Table) -> pa.Table:
    return table.append_column("tokenizer", pa.array(["tk"] * len(table)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse whose models are the kinds of DATA; nobody changes it."""
    store = Store.create(tmp_path_factory.mktemp("coded") / "wh")
    for kind in DATA:
        keep(store, kind, exact=True)
        keep(store, kind, exact=False)
    return store.root


@pytest.fixture(scope="module")
def decoded(root: Path) -> dict[str, np.ndarray]:
    """What the codes of each kind stand for, read through plain SQL: [neurons, tokens]."""
    sql = "SELECT neuron, first_tok, scale, center, vals FROM activations_int8 WHERE model = $kind"
    found = {}
    with nm.open(root) as wh:
        for kind in DATA:
            values = np.empty((NEURONS, TOKENS))
            for neuron, tok, scale, center, vals in wh.sql(sql, {"kind": kind}).fetchall():
                codes = np.frombuffer(vals, np.int8).astype(np.float32)
                values[neuron, tok : tok + len(codes)] = np.where(
                    codes == -128, np.nan, codes * np.float32(scale) + np.float32(center)
                )
            found[kind] = values
    return found


def best(scores: np.ndarray, k: int) -> list[int]:
    """Brute force: the k best, ties to the earlier token."""
    ranked = np.lexsort((np.arange(len(scores)), -scores))
    return [int(tok) for tok in ranked if not np.isnan(scores[tok])][:k]


def halves(kind: str, neurons: tuple[int, ...]) -> np.ndarray:
    """Values as float64, [neurons, tokens]."""
    found: np.ndarray = DATA[kind].astype(np.float16).astype(np.float64)[:, neurons].T
    return found


QUESTIONS: dict[str, tuple[tuple[int, ...], Callable[[np.ndarray], Score]]] = {
    "highest": ((2,), lambda _: combined("sum")),
    "lowest": ((2,), lambda _: combined("sum", lowest=True)),
    "sum": ((0, 1, 3), lambda _: combined("sum")),
    "least": ((0, 3), lambda _: combined("min")),
    "l2": ((0, 1, 3), euclidean),
    "cosine": ((0, 1, 3), cosine),
}


def ask(root: Path, kind: str, dataset: str, question: str, k: int) -> Found:
    neurons, _ = QUESTIONS[question]
    where = (root, kind, "mlp", 0, neurons)
    if question in {"l2", "cosine"}:
        (found,) = nearest_tokens(*where, target(kind), k, question, dataset)
    else:
        side = "lowest" if question == "lowest" else "highest"
        combine = "min" if question == "least" else "sum"
        (found,) = top_tokens(*where, k, side, combine, dataset)
    return found


def scored(question: str, values: np.ndarray, tok: int) -> tuple[np.ndarray, Score]:
    score = QUESTIONS[question][1](values[:, tok])
    scores = score.of(values)
    if question in {"l2", "cosine"}:
        scores[tok] = np.nan
    return scores, score


def target(kind: str) -> int:
    """A token to which others can be near: its values are finite and not all zero."""
    values = DATA[kind]
    good = np.isfinite(values).all(axis=1) & (values != 0).any(axis=1)
    return int(np.flatnonzero(good)[17])


@pytest.mark.parametrize("k", [1, 30, 2000])
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", DATA)
def test_beside_float16_rows_the_answer_is_brute_force(
    root: Path, kind: str, question: str, k: int
) -> None:
    found = ask(root, kind, "exact", question, k)
    scores, score = scored(question, halves(kind, QUESTIONS[question][0]), target(kind))
    expected = best(scores, k)
    assert found.tok.tolist() == expected
    np.testing.assert_array_equal(found.value, score.shown(scores[expected]))
    assert not found.error.any()


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("kind", DATA)
def test_without_them_the_answer_is_that_of_decoded_values_and_says_so(
    root: Path, decoded: dict[str, np.ndarray], kind: str, question: str
) -> None:
    neurons = QUESTIONS[question][0]
    found = ask(root, kind, "codes", question, 30)
    scores, score = scored(question, decoded[kind][neurons, :], target(kind))
    assert found.tok.tolist() == best(scores, 30)
    assert (found.error > 0).all() == (kind != "constant")
    true, _ = scored(question, halves(kind, neurons), target(kind))
    off = np.abs(found.value - score.shown(true[found.tok]))
    assert (np.nan_to_num(off) <= found.error + 1e-12).all()  # no cosine to zeros: NaN


@pytest.mark.parametrize("question", ["highest", "sum", "l2"])
def test_a_search_that_trusts_the_codes_is_wrong(
    root: Path, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nearly all values share a code, so that only the check tells them apart."""
    kind = "many in one code"
    scores, _ = scored(question, halves(kind, QUESTIONS[question][0]), target(kind))
    assert ask(root, kind, "exact", question, 20).tok.tolist() == best(scores, 20)
    monkeypatch.setattr(stored_values, "_of_one_run", lambda *_: False)
    assert ask(root, kind, "exact", question, 20).tok.tolist() != best(scores, 20)


def test_only_what_can_matter_is_read(root: Path) -> None:
    found = ask(root, "heavy-tailed", "exact", "highest", 5)
    assert found.blocks_read <= 5 < found.blocks
    held = RowFiles([file_of(root, "heavy-tailed", "token_matrices")], [2])
    held.at(np.array([3]))
    assert held.bytes_read == mmap.PAGESIZE


def file_of(root: Path, model: str, table: str) -> Path:
    (path,) = (root / "runs").glob(
        f"*/{table}/model={encode(model)}/dataset=exact/site=mlp/layer=0/0.parquet"
    )
    return path


LAYOUTS: dict[str, dict[str, object]] = {
    "as written": {},
    "row groups": {"row_group_size": 100},
    "many pages": {"data_page_size": 100, "write_batch_size": 7},
    "zstd": {"compression": "zstd"},
    "dictionary": {"use_dictionary": ["vals"]},
    "second version of pages": {"data_page_version": "2.0"},
    "statistics in the headers of pages": {"write_statistics": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_and_codes_are_read_from_any_layout(root: Path, tmp_path: Path, layout: str) -> None:
    plain = {"compression": "none", "use_dictionary": False, "write_statistics": ["tok", "neuron"]}
    paths = {}
    for table in ("token_matrices", "activations_int8"):
        paths[table] = tmp_path / f"{table}.parquet"
        held = pq.ParquetFile(file_of(root, "random", table)).read()
        pq.write_table(held, paths[table], **plain | LAYOUTS[layout])
    tok = RNG.integers(0, TOKENS, 50)
    found = RowFiles([paths["token_matrices"]], [3, 0]).at(tok)
    np.testing.assert_array_equal(found, halves("random", (3, 0))[:, tok])
    blocks = BlockFiles([paths["activations_int8"]], [3, 0])
    codes = np.concatenate([blocks.read(at) for at in range(len(blocks.starts))], axis=1)
    assert (np.abs(codes - halves("random", (3, 0))) <= blocks.error[:, None]).all()


def test_missing_rows_are_noticed(root: Path, tmp_path: Path) -> None:
    rows = pq.ParquetFile(file_of(root, "random", "token_matrices")).read()
    pq.write_table(rows.take([0, 1, 3]), tmp_path / "gap.parquet")
    pq.write_table(rows.slice(0, 10), tmp_path / "short.parquet")
    with pytest.raises(StoreError, match="lacks tokens: `neuronmap verify`"):
        RowFiles([tmp_path / "gap.parquet"], [0])
    with pytest.raises(StoreError, match="lacks tokens: `neuronmap verify`"):
        RowFiles([tmp_path / "short.parquet"], [0]).at(np.array([10]))


def test_rows_of_another_run_are_not_trusted(store: Store) -> None:
    """Another pass may give values that differ in the last digits: codes bound only their own."""
    keep(store, "random", exact=False)
    with store.stage("activations-other") as staging:
        place = Partition("random", "codes", "mlp", 0)
        staging.write("token_matrices", rows_table(DATA["random"]), place)
        staging.commit(ROW)
    assert (ask(store.root, "random", "codes", "highest", 5).error > 0).all()


@pytest.mark.parametrize("kind", DATA)
def test_a_matrix_of_codes_is_within_half_a_step(root: Path, kind: str) -> None:
    tok, found = matrix(root, kind, 0, dataset="codes")
    assert (found.dtype, tok.tolist()) == (np.float16, list(range(TOKENS)))
    exact = halves(kind, (0, 1, 2, 3)).T
    finite = np.isfinite(exact)
    assert np.array_equal(np.isfinite(found), finite)
    exact = np.where(finite, exact, 0)
    step = np.ptp(np.where(finite, exact, exact.mean(axis=0)), axis=0) / 254
    room = 0.5625 * step + np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
    assert (np.abs(np.where(finite, found, 0) - exact) <= room).all()
    same = matrix(root, kind, 0, dataset="exact").values
    np.testing.assert_array_equal(same, np.where(finite, exact, np.nan))


def test_sql_and_python_say_the_same(root: Path) -> None:
    with nm.open(root) as wh:
        for dataset in ("exact", "codes"):
            mine = wh.top_values("tied", 0, [1, 3], 9, combine="min", dataset=dataset)
            sql = (
                "FROM py.top_values('tied', 0, [1, 3], k := 9, combine := 'min', dataset :="
                f" '{dataset}')"
            )
            assert wh.sql(sql).fetchall() == mine.rows()
            (found,) = top_tokens(root, "tied", "mlp", 0, [1, 3], 9, "highest", "min", dataset)
            assert mine["tok"].to_list() == found.tok.tolist()
            assert mine["error"].to_list() == found.error.tolist()
            assert (mine["error"] > 0).any() == (dataset == "codes")
        with pytest.raises(UnknownNameError, match="no values of neuron 9 are kept"):
            wh.top_values("tied", 0, 9)


def test_values_are_decoded_in_sql(root: Path, decoded: dict[str, np.ndarray]) -> None:
    with nm.open(root) as wh:
        found = wh.sql(
            "FROM py.values_of('some not finite', 0, 2, dataset := 'codes') ORDER BY tok"
        ).pl()
        searched = wh.top_values("some not finite", 0, 2, 1, dataset="codes")["error"]
    expected = decoded["some not finite"][2]
    assert found["tok"].to_list() == list(range(TOKENS))
    assert found["value"].is_null().to_list() == np.isnan(expected).tolist()
    np.testing.assert_array_equal(found["value"].to_numpy(), expected.astype(np.float32))
    off = np.abs(expected - halves("some not finite", (2,))[0])
    assert 0 < np.nanmax(off) <= found["error"][0]
    assert set(found["error"]) == {np.float32(searched[0])}
