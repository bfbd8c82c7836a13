"""Exact top-k and nearest neighbours over stored values, without the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.numerics.best_first import Score, best_first, combined, cosine, euclidean
from neuronmap_sql.warehouse.block_files import BlockFiles, tokenizer_of
from neuronmap_sql.warehouse.frames import not_kept, stored_files

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
    sign = -1 if side == "lowest" else 1
    score = combined("min" if combine == "min" else "sum", lowest=side == "lowest")
    layers = _stored(root, model, site, layer, neurons, dataset)
    return [_search(each, score, k, lambda scores: sign * scores) for each in layers]


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
    for each in _stored(root, model, site, layer, neurons, dataset):
        target = each.blocks.at(tok)
        if not np.isfinite(target).all() or (metric == "cosine" and not target.any()):
            raise UsageError(f"nothing is near to the values at token {tok}: {target.tolist()}")
        if metric == "l2":
            found.append(_search(each, euclidean(target), k, lambda scores: np.sqrt(-scores), tok))
        else:
            found.append(_search(each, cosine(target), k, lambda scores: 1 - scores, tok))
    return found


@dataclass(frozen=True)
class _Stored:
    """The values of some neurons over one dataset."""

    dataset: str
    tokenizer: str
    blocks: BlockFiles


def _stored(
    root: Path, model: str, site: str, layer: int, neurons: Sequence[int], dataset: str | None
) -> Iterator[_Stored]:
    if not neurons:
        raise UsageError("no neurons: name at least one")
    stored = stored_files(root, "activations", model, site, layer, dataset)
    if not stored:
        raise not_kept(model, site, layer, dataset)
    for name, files in stored.items():
        try:
            yield _Stored(name, tokenizer_of(files[0]), BlockFiles(files, neurons))
        except KeyError as error:
            raise UnknownNameError(
                f"no values of neuron {error.args[0]} are kept of model {model!r}, site {site!r},"
                f" layer {layer}: `SELECT width FROM sites` says how many there are"
            ) from None


def _search(
    stored: _Stored,
    score: Score,
    k: int,
    value: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    without: int | None = None,
) -> Found:
    """Search one dataset, `without` a token, and turn scores into values."""
    blocks = stored.blocks

    def scores(block: int) -> NDArray[np.float64]:
        found = score.of(blocks.read(block))
        if without is not None and block == blocks.block_of(without):
            found[without - blocks.starts[block]] = np.nan
        return found

    best = best_first(score.bound(blocks.low, blocks.high), blocks.starts, scores, k)
    return Found(
        stored.dataset,
        stored.tokenizer,
        best.tok,
        value(best.score),
        best.blocks_read,
        len(blocks.starts),
        blocks.bytes_read,
    )


def _refuse_other(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name} is {' or '.join(known)}, not {value!r}")
