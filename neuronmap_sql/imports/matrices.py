"""Read a correlation matrix that others computed: CSV, numpy's .npy, or a PyTorch tensor.

None of these readers runs what a file says: pickled objects are refused in every format.
"""

from __future__ import annotations

import math
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import DataError
from neuronmap_sql.imports.delimited import number, records, shown

__all__ = ["LIMIT", "read_matrix", "refuse_beyond"]

LIMIT = 1 + 1e-6
"""Largest magnitude of a correlation: what is beyond it by more than rounding is none."""

_LONGEST_LINE = 64 << 20
_RISK = (
    "loading such a pickle can run any code that its author put there: save the matrix by itself,"
    " with numpy.save as .npy or torch.save as .pt"
)
_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""What torch.load raises for a damaged or a foreign archive: it has no class of its own."""


def read_matrix(path: Path) -> NDArray[Any]:
    """Return correlations, [neurons of A, neurons of B] or [layers, neurons, layers, neurons].

    Raises:
        DataError: the file is no such matrix, or would have to be unpickled.
    """
    match path.suffix.lower():
        case ".csv":
            matrix = _read_csv(path)
        case ".npy":
            matrix = _read_npy(path)
        case ".pt" | ".pth":
            matrix = _read_tensor(path)
        case ".pkl" | ".pickle" | ".joblib" | ".bin":
            raise DataError(f"{path}: is a pickle: {_RISK}")
        case ending:
            raise DataError(f"{path}: {ending or 'no ending'} is none of .csv, .npy, .pt")
    if matrix.ndim not in (2, 4) or not matrix.size or matrix.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: {matrix.dtype} of shape {list(matrix.shape)} is no matrix of correlations:"
            " [neurons, neurons] or [layers, neurons, layers, neurons]"
        )
    return matrix


def refuse_beyond(path: Path, block: NDArray[np.float64], first: int) -> None:
    """Raise DataError if one of some rows' values can be no correlation; NaN can.

    Args:
        path: the file, for the message.
        block: [rows, columns].
        first: number of the first row.
    """
    wrong = np.argwhere(np.abs(block) > LIMIT)
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"{path.name}: row {row + first}, column {column} (from 0):"
            f" {block[row, column]:g} is no correlation, which is from -1 to 1"
        )


def _read_csv(path: Path) -> NDArray[np.float64]:
    """Read rows of numbers; a first line of names is skipped, and a first column of them."""
    rows: list[NDArray[np.float64]] = []
    skip, width = 0, None
    for line, cells in records(path, _LONGEST_LINE):
        place = f"{path.name}:{line}"
        if width is None and not any(map(_is_value, cells[1:] or cells)):
            skip, width = (0 if cells[0] else 1), len(cells)
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise DataError(f"{place}: {len(cells)} fields, but the first line has {width}")
        rows.append(_floats(cells[skip:], place))
    if not rows:
        raise DataError(f"{path.name}: no row of numbers")
    return np.stack(rows)


def _is_value(cell: str) -> bool:
    """Whether a cell of a first line is a number, or none, and not a name."""
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _floats(cells: list[str], place: str) -> NDArray[np.float64]:
    try:
        found = np.array(cells, dtype=np.float64)
        if not np.isinf(found).any():
            return found
    except ValueError:
        pass  # cell by cell, to say which
    values = (number(cell, f"{place}, field {i}") for i, cell in enumerate(cells, 1))
    return np.array([math.nan if value is None else value for value in values])


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "pickle" in str(error) or "Python objects" in str(error):
            raise DataError(f"{path}: is a pickle: {_RISK}") from None
        raise DataError(f"{path}: is no whole .npy file: {error}") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, np.ndarray):
        raise DataError(f"{path}: holds several arrays: save the matrix by itself, as .npy")
    return found


def _read_tensor(path: Path) -> NDArray[Any]:
    """Read a tensor, or the only one of a dictionary, by PyTorch's reader of weights alone."""
    import torch

    _refuse_packed(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # about files that are refused then
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(f"{path}: holds more than tensors: {_RISK}") from None
    except _DAMAGED as error:
        what = str(error).partition("\n")[0]
        raise DataError(f"{path}: is no file of torch.save: {what}") from error
    if isinstance(found, dict):
        if len(found) != 1:
            names = ", ".join(map(shown, map(str, [*found][:5])))
            raise DataError(f"{path}: holds {len(found)} things ({names}): save the matrix alone")
        (found,) = found.values()
    if not isinstance(found, torch.Tensor) or found.layout is not torch.strided:
        raise DataError(f"{path}: holds {type(found).__name__}, not a dense tensor")
    if found.numel() * found.element_size() > path.stat().st_size:
        raise DataError(f"{path}: declares {found.numel():,} values, and does not hold as many")
    if not found.is_floating_point():
        raise DataError(f"{path}: holds {found.dtype}, not correlations")
    exact = found if found.dtype in (torch.float32, torch.float64) else found.float()
    return exact.detach().resolve_neg().numpy()


def _refuse_packed(path: Path) -> None:
    """Raise DataError for an archive with packed members: a small one could fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            packed = any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no archive: PyTorch's older format, or something that it will refuse
    if packed:
        raise DataError(f"{path}: is no file of torch.save: its members are packed")
