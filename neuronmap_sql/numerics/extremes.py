"""Streaming top-k of every neuron, exact, ties to the earlier token.

A value and its token become one 64-bit key whose order is (value, earlier token first), so that the
result does not depend on the order of the batches. After the first batch a threshold, the k-th
key so far, lets through only the few values that may enter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["MAX_TOKENS", "Extremes"]

MAX_TOKENS = 2**31 - 1
"""Tokens that a key can tell apart, and that a histogram's int32 can count."""

_LOW32 = 0xFFFFFFFF
_EMPTY = torch.iinfo(torch.int64).min
_MANY = 0.25
"""Share of values from which on a merge of all is cheaper than one of those that may enter."""


class Extremes:
    """The k highest (or lowest) values of each neuron, with their tokens."""

    def __init__(self, neurons: int, k: int, *, lowest: bool, device: torch.device | str) -> None:
        self.lowest = lowest
        self.keys = torch.full((neurons, k), _EMPTY, dtype=torch.int64, device=device)
        self._nothing = torch.inf if lowest else -torch.inf
        self._threshold = torch.full((neurons,), self._nothing, device=device)
        self._waiting: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._waiting_count = 0

    def update(self, values: torch.Tensor, tok: torch.Tensor) -> None:
        """Take in float32 `values` [tokens, neurons] of the tokens `tok` [tokens] (int64).

        NaN never enters; infinities must have been taken out.
        """
        near = self._near(values)
        some, bound = values.index_select(1, near), self._threshold[near]
        passing = some <= bound if self.lowest else some >= bound
        if _share(passing, values) > _MANY:
            # Ties with the threshold (a ReLU's zeros): only an earlier token may displace one.
            passing &= (some != bound) | (tok[:, None] < self._threshold_tok()[near])
            if _share(passing, values) > _MANY:
                self._merge_dense(-values if self.lowest else values, tok)
                return
        row, column = passing.nonzero(as_tuple=True)
        neuron, found = near[column], some[row, column]
        self._waiting.append((neuron, _keys(-found if self.lowest else found, tok[row])))
        self._waiting_count += len(neuron)
        if self._waiting_count > self.keys.numel() // 2:
            self.settle()

    def settle(self) -> torch.Tensor:
        """Merge what waits into `keys` and return them, sorted from first rank to last."""
        if not self._waiting:
            return self.keys
        neurons, k = self.keys.shape
        neuron = torch.cat([neuron for neuron, _ in self._waiting])
        order = neuron.argsort(stable=True)
        neuron, waiting = neuron[order], torch.cat([keys for _, keys in self._waiting])[order]
        self._waiting, self._waiting_count = [], 0
        counts = torch.bincount(neuron, minlength=neurons)
        place = torch.arange(len(neuron), device=neuron.device)
        place -= (counts.cumsum(0) - counts)[neuron]
        # As rows of equal length they go quickly; a neuron with many takes several rounds.
        for first in range(0, int(counts.max()), slots := max(2 * k, 32)):
            some = (place >= first) & (place < first + slots)
            rows = torch.nn.functional.pad(self.keys, (0, slots), value=_EMPTY)
            rows[neuron[some], k + place[some] - first] = waiting[some]
            self.keys = rows.topk(k, dim=1).values
        self._set(self.keys)
        return self.keys

    def result(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return values and tokens [neurons, k] from rank 1 on; token -1 where there is none."""
        keys = self.settle().cpu()
        value = _value(keys)
        # Adding zero: the lowest value of a ReLU is 0.0, not -0.0.
        value = 0.0 - value if self.lowest else value
        tok = torch.where(keys == _EMPTY, -1, _LOW32 - (keys & _LOW32))
        return value.numpy(), tok.numpy()

    def restore(self, keys: torch.Tensor) -> None:
        """Go on from the `keys` of an earlier object, which must have been settled."""
        self._set(keys.to(self.keys.device))

    def _near(self, values: torch.Tensor) -> torch.Tensor:
        """Neurons whose extreme reaches the threshold: few, once many tokens were seen."""
        bound = self._threshold
        far = values.amin(0) > bound if self.lowest else values.amax(0) < bound
        # The extreme of values with a NaN is NaN, which is not far.
        return (~far).nonzero().squeeze(1)

    def _merge_dense(self, signed: torch.Tensor, tok: torch.Tensor) -> None:
        self.settle()
        k = self.keys.shape[1]
        keys = _keys(signed.t().contiguous(), tok)
        keys.masked_fill_(signed.isnan().t(), _EMPTY)
        best = keys.topk(min(k, keys.shape[1]), dim=1).values
        self._set(torch.cat([self.keys, best], dim=1).topk(k, dim=1).values)

    def _set(self, keys: torch.Tensor) -> None:
        self.keys = keys
        last = keys[:, -1]
        value = -_value(last) if self.lowest else _value(last)
        self._threshold = torch.where(last == _EMPTY, self._nothing, value)

    def _threshold_tok(self) -> torch.Tensor:
        last = self.keys[:, -1]
        return torch.where(last == _EMPTY, MAX_TOKENS, _LOW32 - (last & _LOW32))


def _keys(values: torch.Tensor, tok: torch.Tensor) -> torch.Tensor:
    """Order-preserving integer of the value above, the token's complement below."""
    # Adding zero turns -0.0 into 0.0: equal values must have equal bits.
    bits = (values + 0.0).contiguous().view(torch.int32).long()
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered << 32) | (_LOW32 - tok)


def _value(keys: torch.Tensor) -> torch.Tensor:
    bits = (keys >> 32).int()
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(torch.float32)


def _share(passing: torch.Tensor, values: torch.Tensor) -> float:
    return int(passing.sum()) / max(values.numel(), 1)
