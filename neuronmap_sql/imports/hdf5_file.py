"""Read HDF5 files that anybody may have made: only what lies in the file itself, within bounds.

The format can point elsewhere in many ways: external and soft links, external storage, virtual
datasets, references, filters that load a library. None of them is followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import DataError, UsageError
from neuronmap_sql.imports.delimited import shown

__all__ = [
    "attributes",
    "h5py_module",
    "members",
    "opened",
    "place_in",
    "text_of",
    "vector_of",
]

_MOST_BYTES = 1 << 27
"""Most bytes of a vector or a text, and of the chunk that holds it: a small file can claim any."""

_PATH = 120
"""Characters of a path in a file that messages show."""

_BUILT_IN = {1: "deflate", 2: "shuffle", 3: "fletcher32", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
"""Filters that come with h5py: any other is a library that HDF5 would look for and load."""


def h5py_module() -> Any:
    """Return h5py.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise UsageError(
            "HDF5 files need h5py: `pip install 'neuronmap-sql[hdf5]'` installs it"
        ) from None
    return h5py


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file to read.

    Raises:
        DataError: it is none, or is damaged, as may show only while it is read.
    """
    h5py = h5py_module()
    if not h5py.is_hdf5(path):
        raise DataError(f"{path}: is no HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        # h5py names no class of its own for a damaged file.
        raise DataError(f"{path}: cannot be read as HDF5: {str(error).strip()[:200]}") from error


def members(group: Any) -> dict[str, Any]:
    """Return the groups and datasets in a group, by name.

    Raises:
        DataError: a member is a link to elsewhere, or has a name that is no text.
    """
    h5py = h5py_module()
    found = {}
    for name in group:
        place = f"{place_in(group)}: member {shown(name)}"
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
            raise DataError(
                f"{place} is {kind} link, and links are not followed, since a file could so have"
                " others read: copy what it means into the file"
            )
        if not _is_text(name):
            raise DataError(f"{place} has a name that is not valid UTF-8")
        found[name] = group[name]
    return found


def vector_of(dataset: Any) -> NDArray[np.float32]:
    """Return a dataset's values, [width] float32; leading axes of length 1 are taken off.

    Raises:
        DataError: it is no vector of numbers, too large, or its values are not in the file.
    """
    h5py = h5py_module()
    place = place_in(dataset)
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"{place}: is a group, not a vector")
    _refuse_foreign(dataset, place)
    shape = dataset.shape
    if dataset.dtype.kind not in "fiu" or not shape or math.prod(shape[:-1]) != 1:
        raise DataError(
            f"{place}: {dataset.dtype} of shape {list(shape or ())} is no vector of numbers"
        )
    if dataset.id.get_storage_size() == 0:
        raise DataError(f"{place}: declares {dataset.size:,} values, and holds none")
    with np.errstate(over="ignore"):
        return np.asarray(dataset[()], dtype=np.float32).reshape(-1)


def text_of(dataset: Any) -> str | None:
    """Return a dataset's text; None if it is not one text.

    Raises:
        DataError: its value is too large, or not in the file.
    """
    h5py = h5py_module()
    if not isinstance(dataset, h5py.Dataset) or dataset.size != 1:
        return None
    _refuse_foreign(dataset, place_in(dataset))
    if h5py.check_string_dtype(dataset.dtype) is None and dataset.dtype.kind != "V":
        return None
    value = _plain(np.asarray(dataset[()]).reshape(-1)[0])
    return value if isinstance(value, str) else None


def attributes(thing: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes of a group or dataset as JSON has values, and the names of those left.

    Numbers that are not finite become text, bytes that are no UTF-8 are escaped; references, which
    mean nothing outside their file, are left out.
    """
    found, left = {}, []
    for name in sorted(thing.attrs):
        kind = thing.attrs.get_id(name).dtype
        if not _is_text(name) or (kind.hasobject and not _is_strings(kind)):
            left.append(f"{thing.name}@{name}")
        else:
            found[name] = _plain(thing.attrs[name])
    return found, left


def place_in(thing: Any) -> str:
    """Return where in its file a group or dataset is, for messages."""
    return shown(str(thing.name), _PATH)


def _refuse_foreign(dataset: Any, place: str) -> None:
    """Refuse a dataset with values from other files, out of a foreign library, or without end."""
    if dataset.is_virtual or dataset.external:
        kind = "a virtual dataset" if dataset.is_virtual else "stored in other files"
        raise DataError(f"{place}: is {kind}, and other files are not read: copy its values in")
    made = dataset.id.get_create_plist()
    for number in range(made.get_nfilters()):
        code = made.get_filter(number)[0]
        if code not in _BUILT_IN:
            raise DataError(
                f"{place}: is packed by filter {code}, and plugins are not loaded: repack the file"
                " with `h5repack -f GZIP=4`"
            )
    values = max(dataset.size or 0, math.prod(dataset.chunks or (0,)))
    if values * dataset.dtype.itemsize > _MOST_BYTES:
        raise DataError(
            f"{place}: declares {values * dataset.dtype.itemsize:,} bytes; a vector or a text has"
            f" at most {_MOST_BYTES:,}"
        )


def _is_strings(kind: np.dtype[Any]) -> bool:
    return h5py_module().check_string_dtype(kind) is not None


def _is_text(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _plain(value: Any) -> Any:
    """Return a value of h5py as JSON has it; None for one that is declared and not given."""
    if isinstance(value, h5py_module().Empty):
        return None
    if isinstance(value, np.void):
        value = value.tobytes()
    if isinstance(value, np.ndarray):
        return [_plain(one) for one in value.tolist()]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float) else str(value)
