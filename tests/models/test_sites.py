"""Resolving sites: order, widths, custom modules, and maps that are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch
from recording import everything, record
from torch import Tensor, nn

from neuronmap_sql.errors import ModelError, RecipeError, UnknownNameError
from neuronmap_sql.ingest.models.families import Family, detect
from neuronmap_sql.ingest.models.forward import watch
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import CustomSite, SiteSettings


def with_site(family: Family, site: str, **changes: str) -> Family:
    """Return the family with one site changed."""
    stack = family.stacks[0]
    sites = tuple(replace(s, **changes) if s.name == site else s for s in stack.sites)
    return replace(family, stacks=(replace(stack, sites=sites), *family.stacks[1:]))


def custom(module: str, capture: str = "output", layers: str = "all") -> SiteSettings:
    return SiteSettings((), layers, (CustomSite("mine", module, capture),))  # type: ignore[arg-type]


def test_hooks_come_in_forward_order_with_measured_widths() -> None:
    model, family, _, _ = everything("gpt2")
    hooks = resolve(model, family, SiteSettings(("resid_post", "mlp", "head_out"), "0,-1"))
    assert [(hook.site, hook.layer, hook.width, hook.heads) for hook in hooks] == [
        ("head_out", 0, 32, 4),
        ("mlp", 0, 72, None),
        ("resid_post", 0, 32, None),
        ("head_out", 2, 32, 4),
        ("mlp", 2, 72, None),
        ("resid_post", 2, 32, None),
    ]
    assert hooks[1].module == "h.0.mlp.c_proj"
    assert hooks[1].alias == "blocks.0.mlp.hook_post"
    assert {hook.kind for hook in hooks} == {"attention", "mlp", "residual"}


def test_a_name_with_a_layer_adds_to_the_layers_asked_for() -> None:
    model, family, _, _ = everything("gpt2")
    names = ("hook_resid_pre", "blocks.1.mlp.hook_post", "blocks.2.hook_resid_pre")
    hooks = resolve(model, family, SiteSettings(names, "0"))
    assert [(h.site, h.layer) for h in hooks] == [("resid_pre", 0), ("mlp", 1), ("resid_pre", 2)]


def test_shared_layers_can_be_asked_for_one_by_one() -> None:
    model, family, _, _ = everything("albert")
    names = ("mlp", "blocks.2.mlp.hook_post")
    hooks = resolve(model, family, SiteSettings(names, "0"))
    assert [(h.layer, h.call, h.alias) for h in hooks] == [
        (0, 0, "blocks.0.mlp.hook_post"),
        (2, 2, "blocks.2.mlp.hook_post"),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"module": "h.{layer}.mlp.c_prj"},
            r"no module 'h.0.mlp.c_prj'; did you mean 'h.0.mlp.c_p",
        ),
        ({"module": "h.{layer}.attn.c_proj"}, "these are not its neurons"),
        ({"module": "h.{layer}.attn.attn_dropout"}, "calls 'h.0.attn.attn_dropout' 0 times"),
        ({"module": "wpe"}, "calls 'wpe' 1 times instead of 3"),
    ],
)
def test_a_wrong_map_fails_at_once(change: dict[str, str], message: str) -> None:
    model, family, _, _ = everything("gpt2")
    wrong = with_site(family, "mlp", **change)
    with pytest.raises(ModelError, match=message):
        resolve(model, wrong, SiteSettings())


def test_a_residual_site_must_have_the_models_width() -> None:
    model, family, _, _ = everything("gpt2")
    wrong = with_site(family, "resid_post", module="h.{layer}.mlp.c_fc")
    with pytest.raises(
        ModelError, match="has 72 units, but the residual stream of this model has 32"
    ):
        resolve(model, wrong, SiteSettings(("resid_post",)))


def test_the_family_of_another_model_fails_with_the_nearest_modules() -> None:
    model, _, _, _ = everything("llama")
    with pytest.raises(ModelError, match=r"LlamaModel has no module 'h.0.mlp.c_proj'"):
        resolve(model, detect(tiny.config("gpt2")), SiteSettings())


def test_a_custom_site_is_any_module() -> None:
    model, _, _, values = everything("gpt2")
    hooks = resolve(model, None, custom("h.{layer}.mlp.c_proj", "input"))
    assert [(h.layer, h.kind, h.width) for h in hooks] == [(n, "custom", 72) for n in range(3)]
    seen = record(model, hooks)
    assert torch.equal(seen["mine", 2], values["mlp", 2])
    assert [h.layer for h in resolve(model, None, custom("wte"))] == [0]
    assert [h.layer for h in resolve(model, None, custom("h.{layer}", layers="-1"))] == [2]


def test_the_full_models_spelling_is_understood() -> None:
    model, _, _, _ = everything("gpt2")
    hooks = resolve(model, None, custom("transformer.h.{layer}.mlp", layers="1"))
    assert hooks[0].module == "h.1.mlp"


def test_a_module_called_again_and_again_has_a_layer_a_call() -> None:
    model, _, _, values = everything("albert")
    path = "encoder.albert_layer_groups.0.albert_layers.0.ffn_output"
    seen = record(model, resolve(model, None, custom(path, "input")))
    assert torch.equal(seen["mine", 2], values["mlp", 2])


def test_a_custom_module_that_is_not_there_names_the_nearest() -> None:
    model, _, _, _ = everything("gpt2")
    with pytest.raises(ModelError, match=r"did you mean 'h.\{layer\}.mlp.c_proj'"):
        resolve(model, None, custom("h.{layer}.mlp.cproj"))
    with pytest.raises(ModelError, match="did you mean 'wte'"):
        resolve(model, None, custom("wtes"))


def test_a_tensor_without_batch_and_position_is_no_site() -> None:
    with pytest.raises(
        ModelError, match=r"output of 'wpe' has shape \[1, 5, 32\] for 2 texts of 5"
    ):
        resolve(everything("gpt2")[0], None, custom("wpe"))


def test_a_custom_name_may_not_hide_a_site() -> None:
    model, family, _, _ = everything("gpt2")
    sites = SiteSettings(("mlp",), custom=(CustomSite("mlp", "h.{layer}"),))
    with pytest.raises(RecipeError, match=r"\[sites.mlp\]: the name is taken"):
        resolve(model, family, sites)


def test_sites_without_a_family_say_what_to_do() -> None:
    with pytest.raises(UnknownNameError, match='family = "find"'):
        resolve(everything("gpt2")[0], None, SiteSettings())


def test_no_sites_at_all_are_refused() -> None:
    with pytest.raises(RecipeError, match="no sites"):
        resolve(everything("gpt2")[0], None, SiteSettings(()))


class Plain(nn.Module):
    """A PyTorch model that transformers knows nothing of."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = x + layer(x).relu()
        return x


def test_any_pytorch_model_can_be_hooked() -> None:
    model = Plain()
    hooks = resolve(model, None, custom("layers.{layer}"))
    ids = torch.tensor([[1, 2, 3]])
    seen = record(model, hooks, ids, torch.ones_like(ids))
    assert torch.equal(seen["mine", 0], model.layers[0](model.embed(ids)))


def test_a_model_that_takes_no_tokens_is_refused() -> None:
    with pytest.raises(ModelError, match="does not run on token ids"):
        resolve(nn.Linear(3, 3), None, custom(""))


def test_hooks_are_gone_after_use_and_change_nothing() -> None:
    model, _, hooks, values = everything("gpt2")
    out = record(model, hooks)
    assert all(torch.equal(out[place], values[place]) for place in values)
    before = count_of_hooks(model)  # transformers has some of its own
    with watch(model, hooks, lambda *_: None):
        assert count_of_hooks(model) > before
    assert count_of_hooks(model) == before


def count_of_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_a_pass_that_stops_early_leaves_the_next_one_right() -> None:
    model, _, hooks, values = everything("albert")
    second = [hook for hook in hooks if (hook.site, hook.layer) == ("mlp", 1)]
    seen: list[Tensor] = []

    def receive(_: object, tensor: Tensor) -> None:
        seen.append(tensor.clone())
        raise StopIteration

    with watch(model, second, receive):
        for _ in range(2):
            with pytest.raises(StopIteration), torch.no_grad():
                model(torch.tensor([[5, 17, 9, 33, 60, 21, 8]]))
    assert len(seen) == 2
    torch.testing.assert_close(seen[1], values["mlp", 1][:1])
