"""Which modules count as activation functions: shown by what they do, not by their names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from neuronmap_sql.ingest.models.elementwise import bends_each_value

SHAPES = ((2, 5, 72), (10, 72), (2, 5, 4096))
LINEAR = {"linear"}


class Mine(nn.Module):
    """In no list of activation functions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(-1, 2) ** 2


class TokenShift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, -2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", sorted(set(ACT2FN) - LINEAR))
def test_every_activation_function_of_transformers(name: str, shape: tuple[int, ...]) -> None:
    assert bends_each_value(ACT2FN[name], torch.empty(shape))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("module", [nn.GELU(), nn.ReLU(inplace=True), nn.Tanh(), Mine()])
def test_in_the_dtypes_of_stored_weights(module: nn.Module, dtype: torch.dtype) -> None:
    assert bends_each_value(module, torch.empty(2, 5, 72, dtype=dtype))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "module",
    [
        nn.ZeroPad2d((0, 0, 1, -1)), TokenShift(), nn.Softmax(-1), nn.Softmax(-2), nn.Identity(),
        nn.Dropout(0.1).eval(), nn.Dropout(0.1).train(), ACT2FN["linear"], nn.Bilinear(2, 2, 2),
        nn.Embedding(3, 3),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_what_mixes_values_or_is_linear_is_none(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert not bends_each_value(module, torch.empty(shape))


@pytest.mark.parametrize("width", [8, 72, 4096])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_are_none(width: int, dtype: torch.dtype) -> None:
    like = torch.empty(2, 5, width, dtype=dtype)
    assert not bends_each_value(nn.LayerNorm(width, elementwise_affine=False), like)
    assert not bends_each_value(nn.RMSNorm(width).to(dtype), like)


def test_the_input_and_the_random_numbers_stay_as_they_were() -> None:
    like = torch.ones(2, 5, 8)
    before = torch.random.get_rng_state()
    bends_each_value(nn.ReLU(inplace=True), like)
    assert torch.equal(like, torch.ones(2, 5, 8))
    assert torch.equal(torch.random.get_rng_state(), before)
