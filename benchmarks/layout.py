"""Which physical layout should table `activations` have? Prints a table of ratios to npy.

    python benchmarks/layout.py --tokens 65536 --only all
    python benchmarks/layout.py --only blocks
    python benchmarks/layout.py --only compact

Data: the neurons of one layer of a real BERT (MiniLM) over the demo text. Every answer of every
layout is compared with the reference's before it is timed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from common import machine, paired, real_activations
from layouts import Arrays, Blocks, Npy, Planes, TokenRows, Values, write_codes
from layouts_sql import BlocksInDuckDB, Columns, Long

from neuronmap_sql.numerics.blocks import iter_block_tables
from neuronmap_sql.numerics.turning import neuron_major

MB = 1 << 20
STRIPES = range(0, 1536, 128)
Make = Callable[..., Arrays]
QUICK = ("top-20 of a neuron", "histogram", "20 nearest, 3 neurons")
KINDS: dict[str, Make] = {
    "npy": Npy,
    "blocks, pyarrow": Blocks,
    "blocks, DuckDB": BlocksInDuckDB,
    "blocks, zstd": partial(Blocks, compression="ZSTD"),
    "token-major binary": TokenRows,
    "long, DuckDB": Long,
    "a column a neuron, DuckDB": Columns,
}
GRID: dict[str, Make] = {
    "npy": Npy,
    "block 1,024": partial(Blocks, block=1024),
    "block 4,096": Blocks,
    "block 16,384": partial(Blocks, block=16384),
    "block = shard": partial(Blocks, block=0),
    "row group 1 MB": partial(Blocks, group_bytes=MB),
    "row group 8 MB": partial(Blocks, group_bytes=8 * MB),
    "lz4": partial(Blocks, compression="LZ4"),
    "zstd": partial(Blocks, compression="ZSTD"),
    "zstd, row group 1 MB": partial(Blocks, compression="ZSTD", group_bytes=MB),
    "byte planes, high zstd": partial(Planes, compression={"high": "ZSTD", "low": "NONE"}),
    "shards of 32,768 tokens": partial(Blocks, shard=32768),
    "shards of 4,096 tokens": partial(Blocks, shard=4096),
}


def questions(layout: Arrays) -> dict[str, Callable[[], object]]:
    """What is asked of each layout: neurons and tokens are fixed, so that answers compare."""
    tokens, neurons = layout.shape
    ours = [neurons // 7, neurons // 2, neurons - 9]
    first = tokens // 2 + 100
    return {
        "top-20 of a neuron": partial(layout.top, ours[0]),
        "histogram": partial(layout.histogram, ours[1]),
        "20 nearest, 3 neurons": partial(layout.nearest, ours, tokens // 3),
        "prompt of 512": partial(layout.prompt, first, first + 512),
        "matrix": layout.matrix,
        "top-20 of all": layout.top_all,
        "statistics of all": layout.statistics,
    }


def check(layouts: dict[str, Arrays]) -> None:
    """Stop unless every layout gives the reference's answers."""
    asked = {name: questions(layout) for name, layout in layouts.items()}
    for question, truth in asked["npy"].items():
        expected = np.array(truth(), np.float64)
        for name in asked:
            answer = np.asarray(asked[name][question](), np.float64)
            np.testing.assert_allclose(
                answer, expected, rtol=1e-6, atol=1e-6, err_msg=f"{name}: {question}"
            )


def write_all(layouts: dict[str, Arrays], values: Values, rounds: int) -> None:
    """Print write speed, with one thread, and size."""
    writes = {name: partial(layout.write, values) for name, layout in layouts.items()}
    taken = paired(writes, rounds, "npy", warm=False)
    print(
        "| layout | bytes a value | write MB per CPU s | write time over npy's |\n|---|---|---|---|"
    )
    for name, layout in layouts.items():
        size = layout.path.stat().st_size / values.size
        speed = values.nbytes / taken[name].cpu / 1e6
        print(f"| {name} | {size:.2f} | {speed:,.0f} | {taken[name].ratio:.1f} |", flush=True)


def ask_all(layouts: dict[str, Arrays], rounds: int) -> None:
    """Print milliseconds of the reference, and every layout's ratio to it (of CPU time)."""
    asked = {name: questions(layout) for name, layout in layouts.items()}
    columns = {
        question: paired(
            {name: asked[name][question] for name in asked},
            rounds * (5 if question in QUICK else 1),
            "npy",
        )
        for question in asked["npy"]
    }
    print("\n| layout | " + " | ".join(columns) + " |\n|---" + "|---" * len(columns) + "|")
    for name in layouts:
        cells = [
            f"{column[name].ratio:.2g} ({column[name].cpu_ratio:.2g})"
            for column in columns.values()
        ]
        if name == "npy":
            cells = [f"{column[name].seconds * 1e3:.1f} ms" for column in columns.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def compact_all(spool: Path, aside: Path, values: Values, rounds: int) -> None:
    """Print how fast a token-major spool on disk becomes neuron-major Parquet."""
    half = values.shape[1] // 2
    spooled = np.load(spool, mmap_mode="r")[: len(values)]
    files = [Blocks(aside / f"{part}.data", (len(values), half)) for part in (0, 1)]
    halves = [spooled[:, :half], spooled[:, half:]]
    whole = Blocks(aside / "whole.data", values.shape)

    def two_threads() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda file, part: file.write(part), files, halves))

    contenders: dict[str, Callable[[], object]] = {
        "np.save": partial(np.save, aside / "plain.npy", values),
        "turning alone": lambda: [neuron_major(spooled[:, at : at + 128]) for at in STRIPES],
        "turning and zone maps": lambda: [None for _ in iter_block_tables(spooled)],
        "spool to one Parquet file, one thread": lambda: whole.write(spooled),
        "spool to two Parquet files, two threads": two_threads,
        "spool to one Parquet file of int8 codes, one thread": partial(
            write_codes, aside / "codes.data", spooled
        ),
    }
    print("| step | MB per CPU s | time over np.save |\n|---|---|---|")
    for name, taken in paired(contenders, rounds).items():
        print(f"| {name} | {values.nbytes / taken.cpu / 1e6:,.0f} | {taken.ratio:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1 << 20, help="at most; all by default")
    parser.add_argument("--only", choices=["all", "blocks", "compact"], default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder to keep the activations in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as aside:
        spool = (options.work or Path(aside)) / "real.npy"
        values = np.array(real_activations(spool, options.tokens))
        spare = np.zeros(values.shape[::-1], np.float16)
        kinds = KINDS if options.only == "all" else GRID
        layouts = {
            name: make(Path(aside) / f"{at}.data", values.shape, spare)
            for at, (name, make) in enumerate(kinds.items())
        }
        print(machine("numpy", "pyarrow", "duckdb"))
        print(f"{values.shape[0]:,} tokens x {values.shape[1]:,} neurons\n")
        if options.only == "compact":
            compact_all(spool, Path(aside), values, options.rounds)
        else:
            write_all(layouts, values, options.rounds)
            check(layouts)
            ask_all(layouts, options.rounds)


if __name__ == "__main__":
    main()
