"""How fast are exact top-k and nearest neighbours over stored values? Prints two tables.

    python benchmarks/search.py
    python benchmarks/search.py --limit 300 --folder some/folder
    python benchmarks/search.py --deepeverest some/checkout     also DeepEverest's published core

Data: as in `queries.py`, the neurons of one layer of a real BERT (MiniLM) over the demo text. The
first table says what each contender keeps beside the values, and how long that takes to make; the
second, what it reads for an answer and how long that takes over numpy's way on a token-major
memmap. All answers are compared with numpy's in float64 before they are timed; those of int8 codes
that are not checked against float16 values must be within the error that they state.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import machine, paired, shown
from deepeverest import Index
from layouts import Blocks, write_codes
from layouts_sql import Long
from numpy.typing import NDArray

from neuronmap_sql.api import Warehouse
from neuronmap_sql.warehouse.frames import stored_files
from neuronmap_sql.warehouse.search import nearest_tokens, top_tokens
from queries import LAYER, ONE, THREE, record

TOK = 5000
PAGE = 4096


@dataclass(frozen=True)
class Question:
    """Which k tokens are best: by the sum of some neurons, or by nearness to token TOK in them."""

    title: str
    by: str
    """highest, lowest, l2 or cosine."""
    neurons: tuple[int, ...]
    k: int

    @property
    def near(self) -> bool:
        return self.by in {"l2", "cosine"}


QUESTIONS = (
    Question("top-1 of a neuron", "highest", (ONE,), 1),
    Question("top-20 of a neuron", "highest", (ONE,), 20),
    Question("top-1,000 of a neuron", "highest", (ONE,), 1000),
    Question("lowest 20 of a neuron", "lowest", (ONE,), 20),
    Question("top-20 by the sum of 3 neurons", "highest", THREE, 20),
    Question("20 nearest in 3 neurons, l2", "l2", THREE, 20),
    Question("20 nearest in 3 neurons, cosine", "cosine", THREE, 20),
)


@dataclass(frozen=True)
class Answer:
    """The best tokens, best first."""

    tok: NDArray[np.int64]
    value: NDArray[np.float64]
    """Sums of values, or distances."""
    read: int | None = None
    """Bytes that were read for it, if the contender counts them."""
    blocks: str = ""
    """Blocks read, of those there are."""
    error: float = 0.0
    """Most that the values are off."""


class Contender:
    """A way to answer."""

    name: str
    slow = False
    """Takes seconds, so that two rounds must do."""

    def make(self) -> None:
        """Make what it asks, from the values."""
        raise NotImplementedError

    def kept(self) -> tuple[int, int]:
        """Return how many bytes of values it keeps, and how many beside them."""
        raise NotImplementedError

    def answers(self, _question: Question) -> bool:
        return True

    def ask(self, question: Question) -> Answer:
        raise NotImplementedError

    def read(self, _question: Question, answer: Answer) -> int | None:
        """Return the bytes that were read for an answer; None: not counted."""
        return answer.read


class Numpy(Contender):
    """What one writes without a warehouse: whole columns of a token-major memmap."""

    name = "numpy on a memmap"

    def __init__(self, held: NDArray[np.float16], aside: Path) -> None:
        self.held, self.aside = held, aside

    def make(self) -> None:
        np.save(self.aside / "again.npy", self.held)

    def kept(self) -> tuple[int, int]:
        return self.held.nbytes, self.held.offset

    def score(self, question: Question, kind: type = np.float64) -> NDArray[np.floating]:
        """Score all tokens, less is better: values have their sign changed if highest are best."""
        columns = np.stack([self.held[:, neuron].astype(kind) for neuron in question.neurons])
        if not question.near:
            return columns.sum(axis=0) * (-1 if question.by == "highest" else 1)
        target = columns[:, TOK]
        if question.by == "l2":
            far = np.sqrt(np.square(columns - target[:, None]).sum(axis=0))
        else:
            norms = np.linalg.norm(columns, axis=0) * np.linalg.norm(target)
            far = 1 - target @ columns / norms
        far[TOK] = np.inf
        return far

    def ask(self, question: Question) -> Answer:
        # float32 holds values and nearly all sums as they are; it cannot tell cosines near 1 apart
        score = self.score(question, np.float64 if question.near else np.float32)
        best = np.argpartition(score, question.k)[: question.k]
        best = best[np.lexsort((best, score[best]))]
        value = -score[best] if question.by == "highest" else score[best]
        return Answer(best, value.astype(np.float64))

    def read(self, question: Question, _answer: Answer) -> int:
        """Bytes of the pages that hold the values."""
        starts = self.held.offset + np.arange(len(self.held)) * self.held.strides[0]
        pages = [(starts + 2 * neuron) // PAGE for neuron in question.neurons]
        return len(np.unique(np.concatenate(pages))) * PAGE


class Core(Contender):
    """Blocks in the order of their bounds, read from the files."""

    name, table = "ours, Python", "activations"

    def __init__(self, held: NDArray[np.float16], aside: Path, root: Path) -> None:
        self.held, self.aside, self.root = held, aside, root

    def make(self) -> None:
        Blocks(self.aside / "blocks.parquet", self.held.shape).write(self.held)

    def kept(self) -> tuple[int, int]:
        (files,) = stored_files(self.root, self.table, "minilm", "mlp", LAYER).values()
        return _bytes(files, "vals")

    def ask(self, question: Question) -> Answer:
        where = (self.root, "minilm", "mlp", LAYER, question.neurons)
        if question.near:
            (found,) = nearest_tokens(*where, TOK, question.k, question.by)
        else:
            (found,) = top_tokens(*where, question.k, question.by)
        blocks = f"{found.blocks_read} of {found.blocks}"
        off = float(found.error.max(initial=0))
        return Answer(found.tok, found.value, found.bytes_read, blocks, off)


class Codes(Core):
    """Blocks of int8 codes; the float16 values of what they leave, from token-major rows."""

    name, table = "ours, int8 beside matrices", "activations_int8"

    def make(self) -> None:
        write_codes(self.aside / "codes.parquet", self.held)


class CodesAlone(Codes):
    """The codes as they are: approximate."""

    name = "ours, int8 alone"


class Sql(Contender):
    """The same through SQL, which also joins tokens and documents for the context."""

    name = "ours, SQL"

    def __init__(self, wh: Warehouse) -> None:
        self.wh = wh
        self.place = wh.sql(f"SELECT doc, pos FROM tokens WHERE tok = {TOK}").fetchall()[0]

    def ask(self, question: Question) -> Answer:
        where, last = f"'minilm', {LAYER}, {list(question.neurons)}", f"k := {question.k}"
        if question.near:
            doc, pos = self.place
            call = f"py.nearest({where}, {doc}, {pos}, {last}, metric := '{question.by}')"
        else:
            call = f"py.top_values({where}, {last}, side := '{question.by}')"
        table: pa.Table = self.wh.sql(f"FROM {call}").arrow()
        tok, value = table["tok"].to_numpy(), table[2].to_numpy()
        return Answer(tok, value, blocks=f"{table['blocks_read'][0]} of {table['blocks'][0]}")


class DuckDB(Contender):
    """Plain SQL over the long table of `layout.py`, a row a value."""

    name = "DuckDB alone, long table"

    def __init__(self, held: NDArray[np.float16], aside: Path) -> None:
        self.held, self.table = held, Long(aside / "long.parquet", held.shape)

    def make(self) -> None:
        self.table.write(self.held)

    def kept(self) -> tuple[int, int]:
        return _bytes([self.table.path], "value")

    def ask(self, question: Question) -> Answer:
        chosen = ", ".join(map(str, question.neurons))
        mine = f"SELECT neuron, tok, value::DOUBLE AS v FROM FILE WHERE neuron IN ({chosen})"
        if question.near:
            score = {
                "l2": "sqrt(sum((v - a) ** 2))",
                "cosine": "1 - sum(v * a) / sqrt(sum(v * v) * sum(a * a))",
            }[question.by]
            target = f"SELECT neuron, v AS a FROM m WHERE tok = {TOK}"
            rows = f"(FROM m JOIN ({target}) USING (neuron) WHERE tok <> {TOK}) GROUP BY tok"
        elif len(question.neurons) > 1:
            score, rows = "sum(v)", "m GROUP BY tok"
        else:
            score, rows = "v", "m"
        order = "DESC" if question.by == "highest" else "ASC"
        best = f"SELECT tok, {score} AS s FROM {rows} ORDER BY s {order}, tok LIMIT {question.k}"
        tok, value = self.table.array(f"WITH m AS ({mine}) {best}").T
        return Answer(tok.astype(np.int64), value)

    def read(self, question: Question, _answer: Answer) -> int:
        """Bytes of the row groups whose zone maps let a neuron through: at most that is read."""
        footer = pq.read_metadata(self.table.path)
        size = 0
        for number in range(footer.num_row_groups):
            columns = [footer.row_group(number).column(at) for at in range(footer.num_columns)]
            zone = columns[0].statistics
            if any(zone.min <= neuron <= zone.max for neuron in question.neurons):
                size += sum(column.total_compressed_size for column in columns)
        return size


class DeepEverest(Contender):
    """Its published function finds nearest neighbours by l2, and so the values nearest to the
    extreme one of a neuron; it has no sums, and no cosine."""

    name = "DeepEverest, model free of cost"
    slow = True

    def __init__(self, held: NDArray[np.float16], checkout: Path) -> None:
        self.held, self.index = held, Index(checkout, held)

    def make(self) -> None:
        self.index.build(self.held.astype(np.float32))

    def kept(self) -> tuple[int, int]:
        return 0, self.index.nbytes

    def answers(self, question: Question) -> bool:
        return question.by == "l2" or (not question.near and len(question.neurons) == 1)

    def ask(self, question: Question) -> Answer:
        neurons, k = question.neurons, question.k
        if question.near:
            found, far, rows = self.index.nearest(neurons, TOK, k + 1)
            found, value = found[found != TOK], far[found != TOK]
        else:
            tok = self._extreme(question)
            found, far, rows = self.index.nearest(neurons, tok, k)
            value = self.held[tok, neurons[0]] - far * (1 if question.by == "highest" else -1)
        return Answer(found, value, rows * self.held.shape[1] * self.held.itemsize)

    def _extreme(self, question: Question) -> int:
        if question.by == "highest":
            return self.index.at_maximum(question.neurons[0])
        return self.lowest[question.neurons[0]]

    @cached_property
    def lowest(self) -> dict[int, int]:
        """The token of the lowest value: not in its indexes, but given for nothing."""
        asked = [q.neurons[0] for q in QUESTIONS if q.by == "lowest"]
        return {neuron: int(self.held[:, neuron].argmin()) for neuron in asked}


def check(reference: Numpy, contender: Contender, question: Question) -> Answer:
    """Stop unless an answer is right: as good as the reference's in float64, token by token."""
    answer, score = contender.ask(question), reference.score(question)
    sign = -1 if question.by == "highest" else 1
    best = np.sort(np.partition(score, question.k)[: question.k])
    rough = 1e-4 if contender.slow else 1e-6  # DeepEverest computes in float32
    where = f"{contender.name}: {question.title}"
    assert len(np.unique(answer.tok)) == question.k, where
    if answer.error:
        assert (np.abs(sign * answer.value - score[answer.tok]) <= answer.error).all(), where
        return answer
    for found in (score[answer.tok], sign * answer.value):
        np.testing.assert_allclose(found, best, rtol=rough, atol=1e-9, err_msg=where)
    return answer


def make(contenders: list[Contender]) -> None:
    """Print what each keeps beside the values, and what making that costs."""
    taken = paired({each.name: each.make for each in contenders}, rounds=1, warm=False)
    print("| contender | values, MB | beside them, MB | seconds to make | processor seconds |")
    print("|---|---|---|---|---|")
    for each in contenders:
        values, beside = (f"{size / 1e6:,.2f}" for size in each.kept())
        seconds = f"{taken[each.name].seconds:.1f} | {taken[each.name].cpu:.1f}"
        print(f"| {each.name} | {values} | {beside} | {seconds} |", flush=True)


def _bytes(files: list[Path], column: str) -> tuple[int, int]:
    """Bytes of one column of Parquet files, and of all that is beside it."""
    values = 0
    for path in files:
        footer = pq.read_metadata(path)
        at = footer.schema.to_arrow_schema().get_field_index(column)
        groups = range(footer.num_row_groups)
        values += sum(footer.row_group(g).column(at).total_compressed_size for g in groups)
    return values, sum(path.stat().st_size for path in files) - values


def ask(reference: Numpy, contenders: list[Contender], rounds: int) -> None:
    """Print what each reads for an answer, and how long it takes over the reference."""
    titles = ("question", "through", "wall time over numpy", "processor time", "MB read", "blocks")
    print(f"\n| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for question in QUESTIONS:
        for each in (one for one in contenders if one.answers(question)):
            answer = check(reference, each, question)
            pair = {"": partial(reference.ask, question), each.name: partial(each.ask, question)}
            taken = paired(pair, min(rounds, 2) if each.slow else rounds, warm=not each.slow)
            one = taken[each.name]
            times = f"{shown(one.ratio)} | {shown(one.cpu_ratio)}"
            if each is reference:
                times = f"{one.seconds * 1e3:.1f} ms | {one.cpu * 1e3:.1f} ms"
            size = each.read(question, answer)
            read = "" if size is None else f"{size / 1e6:,.2f}"
            row = f"| {question.title} | {each.name} | {times} | {read} | {answer.blocks} |"
            print(row, flush=True)


def lacking(root: Path, folder: Path, *tables: str) -> Path:
    """Link the files of a warehouse without some tables."""
    leave = shutil.ignore_patterns(*tables)
    return Path(shutil.copytree(root, folder, ignore=leave, copy_function=os.link))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=0, help="documents; all by default")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="folder to keep the warehouse in")
    parser.add_argument("--deepeverest", type=Path, help="a checkout with its index library built")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        aside = Path(name)
        tables = ("activations", "int8", "matrices")
        wh = record(options.folder or aside, "all", tables, options.limit)
        np.save(aside / "values.npy", np.ascontiguousarray(wh.matrix("minilm", LAYER)))
        held = np.load(aside / "values.npy", mmap_mode="r")
        reference = Numpy(held, aside)
        beside = lacking(wh.path, aside / "beside", "activations")
        alone = lacking(wh.path, aside / "alone", "activations", "token_matrices")
        codes = [Codes(held, aside, beside), CodesAlone(held, aside, alone)]
        made = [reference, Core(held, aside, wh.path), *codes, DuckDB(held, aside)]
        if options.deepeverest:
            made.append(DeepEverest(held, options.deepeverest))
        print(machine("numpy", "duckdb", "pyarrow"))
        print("{:,} tokens x {:,} neurons\n".format(*held.shape))
        make([each for each in made if each is not codes[1]])
        ask(reference, [*made[:2], Sql(wh), *made[2:]], options.rounds)


if __name__ == "__main__":
    main()
