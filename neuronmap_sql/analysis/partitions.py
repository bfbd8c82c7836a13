"""Which classes of tokens are summed, so that those of every label follow.

Most labels are coarser than another one: whether a token is a number follows from the token, a
document's source from the document. Only the finest are summed over the tokens; the others add up
their classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.analysis.labels import Label
from neuronmap_sql.numerics.class_sums import NO_CLASS, coarsens

__all__ = ["Partition", "partitions"]

Codes = NDArray[np.int32]

_CROSSED = 512
"""Classes that crossing labels may make."""


@dataclass(frozen=True)
class Partition:
    """Classes of tokens, and the labels that follow from them."""

    codes: Codes
    """[tokens] class, or NO_CLASS."""
    classes: int
    """Classes."""
    labels: list[tuple[Label, Codes]]
    """Labels with the class of each of these classes."""

    def takes(self, label: Label) -> bool:
        """Take a label in, if it follows."""
        into = coarsens(self.codes, self.classes, label.codes)
        if into is not None:
            self.labels.append((label, into))
        return into is not None

    def crossed(self, other: Partition) -> Partition:
        """Return the classes of both together."""
        codes = np.where(self.codes < 0, NO_CLASS, self.codes * other.classes + other.codes)
        mine, theirs = np.divmod(np.arange(self.classes * other.classes), other.classes)
        labels = [(label, into[mine]) for label, into in self.labels]
        labels += [(label, into[theirs]) for label, into in other.labels]
        return Partition(codes.astype(np.int32), self.classes * other.classes, labels)


def partitions(labels: Sequence[Label], docs: NDArray[np.int64]) -> list[Partition]:
    """Return the classes to sum over the tokens, from which those of all labels follow.

    Args:
        labels: the labels.
        docs: [tokens] document of each token.
    """
    return _joined(_finest(labels, docs))


def _finest(labels: Sequence[Label], docs: NDArray[np.int64]) -> list[Partition]:
    """Group labels under the finest: documents for theirs, or else the label of most classes."""
    found: list[Partition] = []
    for label in sorted(labels, key=lambda label: (not label.of_documents, -len(label.classes))):
        if any(partition.takes(label) for partition in found):
            continue
        partition = Partition(label.codes, len(label.classes), [])
        if label.of_documents:
            codes = np.where(label.codes < 0, NO_CLASS, docs).astype(np.int32)
            partition = Partition(codes, int(docs.max()) + 1, [])
        partition.takes(label)
        found.append(partition)
    return found


def _joined(fine: list[Partition]) -> list[Partition]:
    """Cross partitions of few classes, of the same tokens: one sum in the place of several."""
    found: list[Partition] = []
    for partition in sorted(fine, key=lambda each: each.classes):
        for number, other in enumerate(found):
            small = partition.classes * other.classes <= _CROSSED
            if small and np.array_equal(partition.codes < 0, other.codes < 0):
                found[number] = other.crossed(partition)
                break
        else:
            found.append(partition)
    return found
