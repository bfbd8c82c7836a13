"""Values that a warehouse keeps of some neurons, in whatever tables: what searches ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.numerics.best_first import Score, rechecked
from neuronmap_sql.warehouse.block_files import BlockFiles, tokenizer_of
from neuronmap_sql.warehouse.frames import files_of, not_kept
from neuronmap_sql.warehouse.row_files import RowFiles
from neuronmap_sql.warehouse.schema import PARTITION_KEYS
from neuronmap_sql.warehouse.store import Store

__all__ = ["StoredValues", "stored_values"]


@dataclass(frozen=True)
class StoredValues:
    """The values of some neurons over one dataset."""

    dataset: str
    """Dataset."""
    tokenizer: str
    """Tokenizer of its tokens."""
    blocks: BlockFiles
    """Their values, float16 or decoded."""
    rows: RowFiles | None
    """The float16 values of decoded ones, if they are kept."""

    @property
    def error(self) -> NDArray[np.float64]:
        """Most that scores take the neurons' values to be off, shape [neurons, 1]."""
        return np.asarray(self.blocks.error[:, None] * (self.rows is None))

    @property
    def bytes_read(self) -> int:
        """Bytes of zone maps and values read so far, footers left out."""
        return self.blocks.bytes_read + (self.rows.bytes_read if self.rows else 0)

    def at(self, tok: int) -> NDArray[np.float64]:
        """Return the values of one token, shape [neurons].

        Raises:
            UnknownNameError: no such token.
        """
        found = self.blocks.at(tok)  # which knows the tokens
        return found if self.rows is None else self.rows.at(np.array([tok]))[:, 0]

    def bounds(self, score: Score) -> NDArray[np.float64]:
        """Return upper bounds of the scores in each block, shape [blocks]."""
        return score.bound(self.blocks.low - self.error, self.blocks.high + self.error)

    def scores(self, score: Score, block: int, k: int, worst: float) -> NDArray[np.float64]:
        """Return the scores of a block's tokens, NaN for those that cannot matter.

        Args:
            score: how they are scored.
            block: which block.
            k: scores beyond the k best do not matter.
            worst: nor do those below this.
        """
        values = self.blocks.read(block)
        if self.rows is None:
            return score.of(values)
        off, first, rows = self.blocks.error[:, None], self.blocks.starts[block], self.rows
        low = np.maximum(values - off, self.blocks.low[:, block, None])
        high = np.minimum(values + off, self.blocks.high[:, block, None])
        return rechecked(
            score.bound(low, high), lambda near: score.of(rows.at(first + near)), k, worst
        )


def stored_values(
    root: Path, model: str, site: str, layer: int, neurons: Sequence[int], dataset: str | None
) -> Iterator[StoredValues]:
    """Yield what is kept of some neurons, dataset by dataset: `activations`, or else codes.

    Codes are checked against `token_matrices` of the same run, since another pass may give values
    that differ in their last digits.

    Raises:
        UnknownNameError: no values of these neurons are kept.
        UsageError: no neurons are named.
    """
    if not neurons:
        raise UsageError("no neurons: name at least one")
    store, place = Store.open(root), (model, site, layer, dataset)
    halves, codes = (files_of(store, f"activations{kind}", *place) for kind in ("", "_int8"))
    if not halves and not codes:
        raise not_kept(*place)
    rows = files_of(store, "token_matrices", *place) if codes.keys() - halves.keys() else {}
    for name, files in sorted((codes | halves).items()):
        try:
            blocks = BlockFiles(files, neurons)
        except KeyError as error:
            raise UnknownNameError(
                f"no values of neuron {error.args[0]} are kept of model {model!r}, site {site!r},"
                f" layer {layer}: `SELECT width FROM sites` says how many there are"
            ) from None
        checked = _of_one_run(files, rows.get(name, [])) and name not in halves
        exact = RowFiles(rows[name], neurons) if checked else None
        yield StoredValues(name, tokenizer_of(files[0]), blocks, exact)


def _of_one_run(files: list[Path], others: list[Path]) -> bool:
    """Whether files of two tables are of the same pass, whose values are the same."""
    runs = {path.parents[len(PARTITION_KEYS) + 1] for path in (*files, *others)}
    return len(runs) == 1 and bool(others)
