"""Changes of predictions against scipy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr
from scipy.stats import entropy

from neuronmap_sql.numerics import predictions
from neuronmap_sql.numerics.predictions import MEASURES, Predictions

TOKENS, VOCABULARY = 37, 211


def logits(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(
        TOKENS, VOCABULARY, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


TARGET = torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("rows", [1, 10, 1000])
@pytest.mark.parametrize("size", [1e-6, 1.0])
def test_against_scipy(rows: int, size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is looked at together; small changes too are right in all their digits."""
    monkeypatch.setattr(predictions, "_CHUNK", rows * VOCABULARY)
    one = logits(0, 4)
    other = one + logits(1, size)
    found = Predictions(one, TARGET).changes(other).numpy()
    p, q = (log_softmax(x.numpy(), 1) for x in (one, other))
    at = np.arange(TOKENS), TARGET.numpy()
    ranks = [1 + (x > x[at][:, None]).sum(1) for x in (p, q)]
    wanted = {
        "loss": p[at] - q[at],
        "entropy": entropy(np.exp(q), axis=1) - entropy(np.exp(p), axis=1),
        "rank": ranks[1] - ranks[0],
        "log_rank": np.log(ranks[1]) - np.log(ranks[0]),
        "kl": rel_entr(np.exp(p), np.exp(q)).sum(1),
    }
    assert list(wanted) == list(MEASURES)
    for column, name in enumerate(MEASURES):
        np.testing.assert_allclose(found[:, column], wanted[name], rtol=1e-9, atol=1e-13)


def test_what_is_without_any_change() -> None:
    one = Predictions(logits(0), TARGET)
    p = log_softmax(logits(0).numpy(), 1)
    np.testing.assert_allclose(one.loss, -p[np.arange(TOKENS), TARGET], rtol=1e-12)
    np.testing.assert_allclose(one.entropy, entropy(np.exp(p), axis=1), rtol=1e-12)


def test_equal_logits_change_nothing_at_all() -> None:
    one = logits(0).float()
    assert (Predictions(one, TARGET).changes(one.clone()) == 0).all()


def test_ties_are_no_worse() -> None:
    flat = torch.zeros(1, 5)
    assert Predictions(flat, torch.tensor([3])).rank.item() == 1


def test_what_is_not_finite_shows() -> None:
    one = logits(0)
    other = one.clone()
    other[3, 7] = torch.inf
    finite = torch.isfinite(Predictions(one, TARGET).changes(other)).all(1)
    assert finite.sum() == TOKENS - 1
    assert not finite[3]
