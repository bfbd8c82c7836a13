"""Exact top-k and nearest neighbours over stored values, without the model.

They read the blocks of `activations`. Where only `activations_int8` is kept, the codes leave some
candidates, whose float16 values are read from `token_matrices`; where the run did not keep those,
the answer is that of the decoded values, and says how far off they may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import UsageError
from neuronmap_sql.numerics.best_first import Score, best_first, combined, cosine, euclidean
from neuronmap_sql.warehouse.stored_values import StoredValues, stored_values

__all__ = ["Found", "nearest_tokens", "top_tokens"]


@dataclass(frozen=True)
class Found:
    """The best tokens of one dataset, best first; ties go to the earlier token."""

    dataset: str
    """Dataset."""
    tokenizer: str
    """Tokenizer of the tokens."""
    tok: NDArray[np.int64]
    """Tokens, shape [found]."""
    value: NDArray[np.float64]
    """What they were chosen by, shape [found]."""
    error: NDArray[np.float64]
    """Most that the values are off, shape [found]: 0, unless they were decoded from int8 and could
    not be checked: a token that was left out may then be better than one found by twice that."""
    blocks_read: int
    """Blocks that were read to prove it; those of a group at the same tokens count as one."""
    blocks: int
    """Blocks that there are."""
    bytes_read: int
    """Bytes of zone maps and values that were read; footers are left out."""


def top_tokens(
    root: Path,
    model: str,
    site: str,
    layer: int,
    neurons: Sequence[int],
    k: int,
    side: str = "highest",
    combine: str = "sum",
    dataset: str | None = None,
) -> list[Found]:
    """Return the k tokens of each dataset at which a neuron's values are highest or lowest.

    Args:
        root: the warehouse folder.
        model: model, or model@revision.
        site: site.
        layer: layer.
        neurons: one neuron, or a group of the layer's.
        k: how many tokens.
        side: `highest` or `lowest` values.
        combine: of a group, the `sum` of its values; or `min`: the least far out, so that all fire.
        dataset: only this one.

    Raises:
        UnknownNameError: no values of these neurons are kept.
        UsageError: no such side, or no such way to combine.
    """
    _refuse_other("side", side, ("highest", "lowest"))
    _refuse_other("combine", combine, ("sum", "min"))
    score = combined("min" if combine == "min" else "sum", lowest=side == "lowest")
    layers = stored_values(root, model, site, layer, neurons, dataset)
    return [_search(each, score, k) for each in layers]


def nearest_tokens(
    root: Path,
    model: str,
    site: str,
    layer: int,
    neurons: Sequence[int],
    tok: int,
    k: int,
    metric: str = "l2",
    dataset: str | None = None,
) -> list[Found]:
    """Return the k tokens of each dataset whose values in some neurons are nearest to a token's.

    Args:
        root: the warehouse folder.
        model: model, or model@revision.
        site: site.
        layer: layer.
        neurons: a group of the layer's neurons.
        tok: the token, which itself is left out.
        k: how many tokens.
        metric: `l2`, the Euclidean distance, or `cosine`, 1 less the cosine.
        dataset: the dataset of the token.

    Raises:
        UnknownNameError: no values of these neurons, or of this token, are kept.
        UsageError: no such metric; the token's values are not finite, or for cosine all zero.
    """
    _refuse_other("metric", metric, ("l2", "cosine"))
    found = []
    for each in stored_values(root, model, site, layer, neurons, dataset):
        target = each.at(tok)
        if not np.isfinite(target).all() or (metric == "cosine" and not target.any()):
            raise UsageError(f"nothing is near to the values at token {tok}: {target.tolist()}")
        score = euclidean(target) if metric == "l2" else cosine(target)
        found.append(_search(each, score, k, tok))
    return found


def _search(stored: StoredValues, score: Score, k: int, without: int | None = None) -> Found:
    """Search one dataset, `without` a token, and turn scores into values."""
    blocks = stored.blocks

    def scores(block: int, worst: float) -> NDArray[np.float64]:
        # one more, in the place of the token itself
        found = stored.scores(score, block, k + (without is not None), worst)
        if without is not None and block == blocks.block_of(without):
            found[without - blocks.starts[block]] = np.nan
        return found

    best = best_first(stored.bounds(score), blocks.starts, scores, k)
    return Found(
        stored.dataset,
        stored.tokenizer,
        best.tok,
        score.shown(best.score),
        _error(stored, score, best.tok),
        best.blocks_read,
        len(blocks.starts),
        stored.bytes_read,
    )


def _error(stored: StoredValues, score: Score, tok: NDArray[np.int64]) -> NDArray[np.float64]:
    if not stored.error.any() or not len(tok):
        return np.zeros(len(tok))

    def values() -> NDArray[np.float64]:
        return np.stack([stored.blocks.at(int(each)) for each in tok], axis=1)

    return np.zeros(len(tok)) + score.error(stored.error[:, 0], values)


def _refuse_other(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {' or '.join(known)}, not {value!r}")
