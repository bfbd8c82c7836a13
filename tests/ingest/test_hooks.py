"""Hooked passes end after the last hook, change nothing, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from neuronmap_sql.errors import ModelError
from neuronmap_sql.ingest.extraction.hooks import extractor
from neuronmap_sql.ingest.models.forward import Hook

IDS = torch.arange(2 * 9).reshape(2, 9) + 40
MASK = torch.ones_like(IDS)


def mlp(layer: int, width: int = 512, module: str = "h.{}.mlp.c_proj") -> Hook:
    return Hook("mlp", layer, module.format(layer), "input", width, None, "mlp", None)


def keep(_: Hook, __: Tensor) -> None:
    pass


@pytest.fixture(scope="module")
def model(demo_model: Path) -> nn.Module:
    whole = AutoModelForCausalLM.from_pretrained(demo_model, dtype=torch.float32)
    body: nn.Module = whole.transformer.eval()
    return body


@pytest.fixture
def called(model: nn.Module) -> Iterator[list[str]]:
    """Names of the modules that were called, in the order in which they were begun."""
    names: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda _, __, name=name: names.append(name))
        for name, module in model.named_modules()
    ]
    yield names
    for handle in handles:
        handle.remove()


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_the_pass_ends_after_the_last_hook(model: nn.Module, called: list[str]) -> None:
    with extractor(model, [mlp(0), mlp(1)], keep) as passes:
        passes.run(IDS, MASK)
    assert "h.1.mlp.c_fc" in called
    assert "h.1.mlp.dropout" not in called
    assert not [name for name in called if name.startswith(("h.2", "h.3", "ln_f"))]


def test_without_hooks_the_later_modules_are_called(model: nn.Module, called: list[str]) -> None:
    model(IDS)
    assert {"h.2", "h.3.mlp.c_proj", "ln_f", "h.1.mlp.dropout"} <= set(called)


def test_every_hook_is_handed_over_once_and_in_order(model: nn.Module) -> None:
    seen: list[tuple[str, int]] = []
    post = [Hook("post", n, f"h.{n}", "output", 128, None, "residual", None) for n in range(4)]
    hooks = [hook for n in range(4) for hook in (mlp(n), post[n])]
    with extractor(model, hooks, lambda hook, _: seen.append((hook.site, hook.layer))) as passes:
        passes.run(IDS, MASK)
        passes.run(IDS, MASK, hooks[3:5])
    expected = [(hook.site, hook.layer) for hook in hooks]
    assert seen == expected + expected[3:5]


def test_the_models_output_is_the_same_while_it_is_hooked(model: nn.Module) -> None:
    plain = model(IDS).last_hidden_state
    never = Hook("late", 0, "ln_f", "output", 128, None, "custom", None)
    with extractor(model, [mlp(0), mlp(3), never], keep):
        # Not through `run`: the whole pass, with the hooks in place but none of them wanted.
        assert torch.equal(model(IDS).last_hidden_state, plain)


def test_all_hooks_are_gone_afterwards_and_after_an_error(model: nn.Module) -> None:
    before = hooks_of(model)

    def fail(_: Hook, __: Tensor) -> None:
        raise ZeroDivisionError

    passes = extractor(model, [mlp(0), mlp(2)], fail)
    with pytest.raises(ZeroDivisionError), passes as running:  # noqa: PT012
        assert hooks_of(model) > before
        running.run(IDS, MASK)
    assert hooks_of(model) == before


def test_a_module_that_is_not_called_is_named(model: nn.Module) -> None:
    model.add_module("spare", nn.Linear(3, 3))
    unused = Hook("spare", 0, "spare", "input", 3, None, "custom", None)
    try:
        said = pytest.raises(ModelError, match=r"did not call 'spare' of spare layer 0")
        with extractor(model, [mlp(0), unused], keep) as passes, said:
            passes.run(IDS, MASK)
    finally:
        del model.spare


def test_another_shape_than_promised_is_an_error(model: nn.Module) -> None:
    said = pytest.raises(ModelError, match=r"input has shape \(2, 9, 512\), not \(2, 9, 500\)")
    with extractor(model, [mlp(0, width=500)], keep) as passes, said:
        passes.run(IDS, MASK)
