"""Tables as polars frames and activations as numpy matrices, read from the files directly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.numerics.blocks import block_values, decode, read_matrix
from neuronmap_sql.numerics.int8 import decode_blocks
from neuronmap_sql.warehouse.names import decode as decode_name
from neuronmap_sql.warehouse.names import encode
from neuronmap_sql.warehouse.schema import arrow_schema
from neuronmap_sql.warehouse.staging import Partition
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.views import columns_differ

__all__ = ["Matrix", "files_of", "matrix", "not_kept", "stored_files", "table"]

_BATCH_ROWS = 1024


class Matrix(NamedTuple):
    """All values of one site and layer."""

    tok: NDArray[np.int64]
    """Token of each row, shape [tokens], ascending: joins to table tokens."""
    values: NDArray[np.float16]
    """Activations, shape [tokens, neurons]; NaN where the model gave no storable number."""


def table(root: str | Path, name: str) -> pl.LazyFrame:
    """Return a table as a LazyFrame over its Parquet files.

    `docs` has the label columns of all datasets, NULL where a dataset lacks one.

    Raises:
        StoreError: `root` is not a warehouse.
        UnknownNameError: no such table.
    """
    arrow_schema(name)
    runs = Store.open(root).root / "runs"
    files = sorted(path for run in _folders(runs) for path in (run / name).rglob("*.parquet"))
    groups = [[path] for path in files] if columns_differ(runs.parent, name) else [files]
    scans = [pl.scan_parquet(group, glob=False, hive_partitioning=False) for group in groups]
    frame = pl.concat(scans, how="diagonal_relaxed")
    if name == "sites":  # as the view does
        return frame.sort("run").unique(["model", "site", "layer"], keep="first")
    return frame


def matrix(
    root: str | Path,
    model: str,
    layer: int,
    site: str = "mlp",
    dataset: str | None = None,
    out: NDArray[np.float16] | None = None,
) -> Matrix:
    """Return all values of one site and layer, from token_matrices or activations.

    Where a dataset has neither, from activations_int8: a value is then off by at most 0.5625 of its
    neuron's `scale`, a 451st of the range of the neuron's values, and rounded to float16.

    Args:
        root: the warehouse folder.
        model: model, or model@revision.
        layer: layer.
        site: site.
        dataset: may be left out when there is but one.
        out: memory to fill, C-contiguous float16, [tokens, neurons] for token_matrices and
            [neurons, tokens] for the others (the result is then a view with axes swapped).

    Raises:
        UnknownNameError: no values of that model, site, layer and dataset were kept.
        UsageError: several datasets, and none is named; `out` has another shape.
        StoreError: `root` is not a warehouse, or blocks are missing.
    """
    for name in ("token_matrices", "activations", "activations_int8"):
        found = stored_files(root, name, model, site, layer, dataset)
        if len(found) > 1:
            names = ", ".join(found)
            raise UsageError(f"values of several datasets are kept, name one: {names}")
        for files in found.values():
            read = _from_tokens if name == "token_matrices" else _from_blocks
            return read(files, out)
    raise not_kept(model, site, layer, dataset)


def stored_files(
    root: str | Path, table: str, model: str, site: str, layer: int, dataset: str | None = None
) -> dict[str, list[Path]]:
    """Return the files of a site and layer in a partitioned table, by dataset.

    Raises:
        StoreError: `root` is not a warehouse.
    """
    return files_of(Store.open(root), table, model, site, layer, dataset)


def files_of(
    store: Store, table: str, model: str, site: str, layer: int, dataset: str | None = None
) -> dict[str, list[Path]]:
    """Return what `stored_files` does, of a warehouse that is open."""
    runs = store.root / "runs"
    found: dict[str, list[Path]] = {}
    for run in _folders(runs):
        for folder in _folders(run / table / f"model={encode(model, 'model')}"):
            data = decode_name(folder.name.removeprefix("dataset="))
            files = _files(run / table / Partition(model, data, site, layer).path)
            if files and dataset in (None, data):
                found.setdefault(data, []).extend(files)
    return dict(sorted(found.items()))


def not_kept(model: str, site: str, layer: int, dataset: str | None) -> UnknownNameError:
    """Say that no values of a site and layer are kept, and the way out."""
    return UnknownNameError(
        f"no values kept of model {model!r}, site {site!r}, layer {layer}"
        f"{f', dataset {dataset!r}' if dataset else ''}: `SELECT DISTINCT model, dataset, site, "
        "layer FROM activations` (or activations_int8) lists them; an ingest with"
        " `--keep activations`, or int8 for half the bytes, keeps them"
    )


def _from_tokens(files: list[Path], out: NDArray[np.float16] | None) -> Matrix:
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    toks: list[NDArray[np.int64]] = []
    filled, values = 0, out
    for batch in _batches(files, ["tok", "vals"]):
        block = decode(batch.column("vals")).reshape(len(batch), -1)
        values = np.empty((rows, block.shape[1]), np.float16) if values is None else values
        _check_shape(values, (rows, block.shape[1]))
        values[filled : filled + len(batch)] = block
        toks.append(batch.column("tok").to_numpy())
        filled += len(batch)
    if values is None:
        return Matrix(np.empty(0, np.int64), np.empty((0, 0), np.float16))
    return Matrix(np.concatenate(toks), values)


def _from_blocks(files: list[Path], out: NDArray[np.float16] | None) -> Matrix:
    shape = pa.Table.from_batches(_batches(files, ["neuron", "first_tok", "n"]))
    ends = shape["first_tok"].to_numpy() + shape["n"].to_numpy()
    tokens, neurons = int(ends.max()), int(shape["neuron"].to_numpy().max()) + 1
    if out is not None:
        _check_shape(out, (neurons, tokens))
    steps = {"scale", "center"} & set(pq.read_schema(files[0]).names)
    batches = _batches(files, ["first_tok", "vals", *steps])
    values = read_matrix(batches, neurons, tokens, out, _decoded if steps else block_values)
    return Matrix(np.arange(tokens), values)


def _decoded(batch: pa.RecordBatch) -> NDArray[np.float16]:
    steps = (batch.column(name).to_numpy() for name in ("scale", "center"))
    return decode_blocks(batch.column("vals"), *steps)[0].astype(np.float16)


def _batches(files: list[Path], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pq.ParquetFile(path) as source:
            yield from source.iter_batches(_BATCH_ROWS, columns=columns)


def _check_shape(out: NDArray[np.float16], shape: tuple[int, int]) -> None:
    if out.shape != shape or out.dtype != np.float16 or not out.flags.c_contiguous:
        raise UsageError(f"out must be C-contiguous float16 of shape {list(shape)}")


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))
