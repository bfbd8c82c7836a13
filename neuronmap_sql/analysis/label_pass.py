"""One pass over the stored values of a layer: every neuron against every label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.analysis.labels import Label, positional
from neuronmap_sql.analysis.partitions import partitions
from neuronmap_sql.numerics.class_sums import (
    BLOCK,
    Marks,
    PowerSums,
    Tally,
    merged,
    power_sums,
)
from neuronmap_sql.numerics.halves import widen
from neuronmap_sql.numerics.information import (
    BINS,
    JointCounts,
    bin_edges,
    bin_numbers,
    mutual_information,
)
from neuronmap_sql.numerics.variance_reduction import Reduction, variance_reduction
from neuronmap_sql.warehouse.layer_values import LayerValues, Stripe

__all__ = ["LabelPlan", "Scored"]

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]

_NEURONS = 64
"""Neurons summed at once: their values of a block stay in the cache."""
_SAMPLE = 4096
"""Tokens, evenly spread, from which a neuron's rough mean and its bins come."""
_ARRAYS = 8
"""Arrays [classes, neurons] that scoring a label holds at a time."""


@dataclass(frozen=True)
class Scored:
    """What one label explains of some neurons of a layer."""

    label: Label
    """The label."""
    first: int
    """First of the neurons."""
    reduction: Reduction
    """Its score, less the values' shift in `mean`."""
    shift: Floats
    """[neurons] what was taken off the values."""
    counts: NDArray[np.int64]
    """[classes, neurons or 1] tokens."""
    p: Floats
    """[neurons] share of permutations that explain as much: of tokens, or of documents."""
    information: Floats | None
    """[neurons] bits shared with the label, if that was asked."""


@dataclass(frozen=True)
class _Base:
    """Classes that are summed over the tokens, and the labels that follow from them."""

    marks: Marks
    """The classes."""
    labels: tuple[tuple[Label, Codes], ...]
    """Labels with the class of each of these classes."""

    @property
    def places(self) -> bool:
        """Whether one of the labels says where a token stands."""
        return any(positional(label.name) for label, _ in self.labels)


class LabelPlan:
    """Which labels are summed, and which follow from others.

    Args:
        labels: the labels.
        docs: [tokens] document of each token.
    """

    def __init__(self, labels: Sequence[Label], docs: NDArray[np.int64]) -> None:
        self._bases = tuple(
            _Base(Marks(base.codes, base.classes), tuple(base.labels))
            for base in partitions(labels, docs)
        )
        sizes = [base.marks.classes + 1 for base in self._bases]
        cells = [BINS * base.marks.classes for base in self._bases if base.places]
        self._bytes = 8 * (sum(sizes) + sum(cells) + _ARRAYS * max(sizes))

    def score(
        self, values: LayerValues, memory: int, advance: Callable[[int], None]
    ) -> Iterator[Scored]:
        """Read a layer once and score its neurons, some at a time.

        Args:
            values: the layer's values.
            memory: bytes at a time, about.
            advance: told the neurons done.
        """
        whole = 2 * values.tokens + self._bytes + 4 * BLOCK * min(_NEURONS, values.neurons)
        for stripe in values.stripes(int(memory * 2 * values.tokens / max(1, whole))):
            yield from self._stripe(stripe)
            advance(len(stripe.values))

    def _stripe(self, stripe: Stripe) -> Iterator[Scored]:
        sums = _Sums.begin(stripe, self._bases)
        for first in range(0, stripe.values.shape[1], BLOCK):
            for neuron in range(0, len(stripe.values), _NEURONS):
                sums.add(stripe, first, slice(neuron, neuron + _NEURONS))
        for base, tally, joint in zip(self._bases, sums.tallies, sums.joint, strict=True):
            powers = sums.powers.less(tally.without)
            for label, into in base.labels:
                classes = len(label.classes)
                counts = np.rint(merged(tally.counts, into, classes)).astype(np.int64)
                reduction = variance_reduction(merged(tally.sums, into, classes), counts, powers)
                p = _by_documents(tally, into, classes) if label.of_documents else reduction.p
                told = None
                if joint is not None and positional(label.name):
                    told = mutual_information(merged(joint.counts, into, classes))
                yield Scored(label, stripe.first, reduction, sums.shift, counts, p, told)


@dataclass(frozen=True)
class _Sums:
    """Everything that is summed over the tokens for some neurons."""

    shift: Floats
    """[neurons] about the mean of each."""
    edges: NDArray[np.float32]
    """[neurons, bins - 1] of the values less the shift."""
    powers: PowerSums
    """Over all tokens."""
    tallies: tuple[Tally, ...]
    """One a base."""
    joint: tuple[JointCounts | None, ...]
    """One a base with labels of positions."""

    @classmethod
    def begin(cls, stripe: Stripe, bases: tuple[_Base, ...]) -> _Sums:
        """Begin with nothing but a rough mean, and the edges of bins."""
        neurons, tokens = stripe.values.shape
        sample = stripe.values[:, :: max(1, tokens // _SAMPLE)].astype(np.float32)
        sample[~np.isfinite(sample)] = np.nan
        some = ~np.isnan(sample).all(axis=1)
        shift = np.zeros(neurons, np.float16)  # what float16 values less it are is exact in float32
        shift[some] = np.nanmean(sample[some], axis=1, dtype=np.float64)
        return cls(
            shift.astype(np.float64),
            bin_edges(sample - shift[:, None].astype(np.float32)),
            PowerSums(np.zeros(neurons, np.int64), np.zeros((4, neurons))),
            tuple(Tally(base.marks, neurons) for base in bases),
            tuple(JointCounts(base.marks, neurons) if base.places else None for base in bases),
        )

    def add(self, stripe: Stripe, first: int, part: slice) -> None:
        """Add a block of tokens of some of the neurons."""
        values = widen(stripe.values[part, first : first + BLOCK])
        values -= self.shift[part, None].astype(np.float32)
        finite = np.isfinite(values)
        lost = None if finite.all() else ~finite
        if lost is not None:
            values[lost] = 0
        wide = values.astype(np.float64)
        found = power_sums(wide, lost)
        self.powers.count[part] += found.count
        self.powers.powers[:, part] += found.powers
        turned = np.ascontiguousarray(wide.T)
        gone = None if lost is None else np.ascontiguousarray(lost.T)
        for tally in self.tallies:
            tally.add(first, part, turned, gone)
        neurons = range(*part.indices(len(stripe.values)))
        for joint in filter(None, self.joint):
            joint.add(first, neurons, bin_numbers(values, self.edges[part]), lost)


def _by_documents(tally: Tally, into: Codes, classes: int) -> Floats:
    """Return p-values of labels of documents: of their means, as their tokens are no chances."""
    some = (tally.counts > 0) & np.ones_like(tally.sums, np.bool_)
    means = np.divide(tally.sums, tally.counts, out=np.zeros_like(tally.sums), where=some)
    number = some.sum(axis=0)
    means -= means.sum(axis=0) / np.maximum(number, 1)
    means[~some] = 0
    squares = means * means
    powers = np.array([means.sum(axis=0), squares.sum(axis=0), (squares * means).sum(axis=0),
                       np.square(squares).sum(axis=0)])  # fmt: skip
    counts = np.rint(merged(some.astype(np.float64), into, classes)).astype(np.int64)
    return variance_reduction(merged(means, into, classes), counts, PowerSums(number, powers)).p
