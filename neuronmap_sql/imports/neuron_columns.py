"""The columns of published neuron tables: what they are called there and here, and their range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neuronmap_sql.errors import DataError, UnknownNameError, UsageError, nearest
from neuronmap_sql.imports.delimited import shown

__all__ = ["COLUMNS", "PLACES", "THRESHOLD", "Column", "columns_of"]

THRESHOLD = -25 / 255
"""Their `sparsity` counts the values above this. They count bins between 256 edges from -10 to 15,
and take the bin that ends at zero for one that begins there."""

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Column:
    """A column of `published_neurons`."""

    name: str
    """Its name here."""
    theirs: str
    """Its name in the public schema."""
    low: float = -math.inf
    """Smallest value that makes sense."""
    high: float = math.inf
    """Largest value that makes sense."""

    def fits(self, value: float) -> bool:
        """Whether a value makes sense, but for rounding."""
        return self.low - _ROUNDING <= value <= self.high + _ROUNDING


PLACES = ("layer", "neuron")
"""The columns that say which neuron a row is of."""

COLUMNS = (
    Column("max_max_r", "max_corr", -1, 1),
    Column("mean_max_r", "mean_corr", -1, 1),
    Column("min_max_r", "min_corr", -1, 1),
    Column("max_baseline", "max_baseline", -1, 1),
    Column("mean_baseline", "mean_baseline", -1, 1),
    Column("min_baseline", "min_baseline", -1, 1),
    Column("excess_correlation", "excess_corr", -2, 2),
    Column("w_in_norm", "w_in_norm", 0),
    Column("bias", "input_bias"),
    Column("w_out_norm", "w_out_norm", 0),
    Column("in_out_cosine", "in_out_sim", -1, 1),
    Column("l2_penalty", "l2_penalty", 0),
    Column("mean", "mean"),
    Column("variance", "var", 0),
    Column("skewness", "skew"),
    Column("kurtosis", "kurt", 1),
    Column("fraction_above", "sparsity", 0, 1),
    Column("vocab_mean", "vocab_mean", -1, 1),
    Column("vocab_variance", "vocab_var", 0, 1),
    Column("vocab_skewness", "vocab_skew"),
    Column("vocab_kurtosis", "vocab_kurt", 1),
)
"""What a table may tell of a neuron."""


def columns_of(
    header: Sequence[str], mapping: Mapping[str, str], place: str, *, partial: bool
) -> dict[str, int]:
    """Return where in a record each column is, by its name here.

    Args:
        header: names in the file.
        mapping: their names to ours, before the public schema is asked; '' leaves a column out.
        place: file and line, for messages.
        partial: whether columns of the public schema may be missing.

    Raises:
        DataError: the file has a column that we do not know, or lacks one.
        UnknownNameError: the mapping names a column that we do not have.
        UsageError: two columns of the file would become one.
    """
    ours = (*PLACES, *(column.name for column in COLUMNS))
    known = {name: name for name in ours} | {column.theirs: column.name for column in COLUMNS}
    for theirs, name in mapping.items():
        if name and name not in ours:
            raise UnknownNameError.of("column of published_neurons", name, ours)
        if theirs not in header:
            raise DataError(f"{place}: no column {shown(theirs)} to map{nearest(theirs, header)}")
    found: dict[str, int] = {}
    for index, theirs in enumerate(header):
        called = mapping[theirs] if theirs in mapping else known.get(theirs)
        if called is None:
            close = nearest(theirs, known)
            raise DataError(
                f"{place}: unknown column {shown(theirs)}{_joined(close)}"
                "--column theirs=ours says what it is, --column theirs= leaves it out"
            )
        if called in found:
            raise UsageError(
                f"{place}: {shown(header[found[called]])} and {shown(theirs)} would both be"
                f" {called}: leave one out with --column theirs="
            )
        if called:
            found[called] = index
    _refuse_missing(found, header, place, partial)
    return found


def _refuse_missing(
    found: Mapping[str, int], header: Sequence[str], place: str, partial: bool
) -> None:
    wanted = dict.fromkeys(PLACES, "") | {column.name: column.theirs for column in COLUMNS}
    for name, theirs in wanted.items():
        if name not in found and not (partial and theirs):
            close = nearest(theirs or name, header)
            also = ", --partial leaves it NULL" if theirs else ""
            raise DataError(
                f"{place}: no column {theirs or name!r}{_joined(close)}"
                f"--column theirs={name} names it{also}"
            )


def _joined(close: str) -> str:
    """Return what `nearest` said, such that a sentence can follow."""
    return f"{close} " if close.endswith("?") else f"{close}; "
