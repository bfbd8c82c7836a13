"""Loading from folders: weights once, the right head, and clear refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from recording import IDS, MASK
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertForMaskedLM, PreTrainedTokenizerFast, T5EncoderModel

from neuronmap_sql.errors import ModelError, UnknownNameError, UsageError
from neuronmap_sql.ingest.models.availability import check
from neuronmap_sql.ingest.models.describe import describe
from neuronmap_sql.ingest.models.loading import from_module, given, load
from neuronmap_sql.ingest.models.sites import resolve
from neuronmap_sql.ingest.settings import ModelSettings, SiteSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 with head and tokenizer, as `save_pretrained` writes it."""
    place = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    tiny.language_model("gpt2").save_pretrained(place)
    words = Tokenizer(WordLevel({f"w{n}": n for n in range(97)}, unk_token="w0"))
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(place)
    return place


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_folder_gives_backbone_head_and_tokenizer(folder: Path) -> None:
    model = load(ModelSettings(str(folder), device="cpu"))
    assert type(model.backbone).__name__ == "GPT2Model"
    assert model.head is not None
    assert model.head.weight is model.backbone.wte.weight
    assert len(model.tokenizer) == 97
    assert (model.dtype, model.device.type, model.attention) == (torch.float32, "cpu", "sdpa")
    full = tiny.language_model("gpt2")
    with torch.no_grad():
        expected = full(IDS, attention_mask=MASK).logits
    logits = model.head(model.forward(IDS, MASK).last_hidden_state)
    assert torch.equal(logits, expected)


def test_the_description_is_that_of_the_loaded_model(folder: Path) -> None:
    settings = ModelSettings(str(folder), name="tiny", revision="step1000")
    info = describe(settings)
    loaded = load(settings).info
    assert replace(loaded, weights_hash="") == info
    assert loaded.weights_hash == sha256(folder / "model.safetensors")
    assert (info.model, info.name, info.revision, info.step) == (
        "tiny@step1000", "tiny", "step1000", 1000,
    )  # fmt: skip
    assert (info.layers, info.d_model, info.d_mlp, info.heads) == (3, 32, 72, 4)
    assert (info.vocabulary, info.context, info.activation) == (97, 64, "gelu_new")
    assert (info.gated, info.causal, info.family) == (False, True, "gpt2")
    assert (info.dtype, info.weights_format) == ("float32", "safetensors")
    assert info.parameters == sum(p.numel() for p in tiny.language_model("gpt2").parameters())
    assert dict(info.files)["model.safetensors"] == (folder / "model.safetensors").stat().st_size
    assert str(folder) not in info.config


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_description_reads_no_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert describe(ModelSettings(str(copy))).layers == 3
    assert check(ModelSettings(str(copy))).ok


def test_revisions_and_names() -> None:
    settings = ModelSettings("folder/gpt2", revision="main")
    assert settings.key == "gpt2@main"


@pytest.mark.parametrize(
    ("case", "facts"),
    [
        ("llama", {"kv_heads": 2, "gated": True, "d_mlp": 72, "activation": "silu"}),
        ("roberta", {"context": 62, "causal": False, "kv_heads": 4}),
        ("t5-gated", {"context": None, "layers": 5, "gated": True, "causal": None, "heads": 4}),
        ("bart", {"layers": 5, "d_mlp": 80, "d_model": 32, "context": 64}),
        ("bloom", {"context": None, "d_mlp": 128, "activation": None}),
        ("falcon", {"kv_heads": None}),
        ("falcon-new", {"kv_heads": 2}),
        ("albert", {"layers": 3, "d_mlp": 72}),
        ("modernbert", {"gated": True, "d_mlp": 72, "activation": "gelu"}),
        ("phi3", {"gated": True, "d_mlp": 72}),
        ("mixtral", {"d_mlp": None, "gated": None}),
        ("opt", {"context": 64, "activation": "relu"}),
        ("gemma2", {"activation": "gelu_pytorch_tanh"}),
    ],
)
def test_facts_of_families(case: str, facts: dict[str, object]) -> None:
    from neuronmap_sql.ingest.models.families import detect

    model = tiny.backbone(case)
    info = from_module(model, case, family=detect(model.config)).info
    assert {key: getattr(info, key) for key in facts} == facts


@pytest.mark.parametrize("case", ["llama", "t5", "bart", "opt", "phi3", "gemma2", "mixtral"])
def test_language_models_of_other_families_load_with_their_head(case: str, tmp_path: Path) -> None:
    full = tiny.language_model(case)
    full.save_pretrained(tmp_path)
    model = load(ModelSettings(str(tmp_path)))
    assert model.head is not None
    assert model.tokenizer is None
    expected = from_module(full, case, family=model.family)
    with torch.no_grad():
        one, other = (m.forward(IDS, MASK).last_hidden_state for m in (model, expected))
    assert torch.equal(one, other)
    assert "ConditionalGeneration" not in type(model.backbone).__name__


def test_a_masked_language_model_is_loaded_without_head_and_pooler(tmp_path: Path) -> None:
    tiny.randomise(BertForMaskedLM(tiny.config("bert"))).save_pretrained(tmp_path)
    model = load(ModelSettings(str(tmp_path)))
    assert model.head is None
    assert model.backbone.pooler is None
    assert model.info == replace(describe(ModelSettings(str(tmp_path))),
                                 weights_hash=model.info.weights_hash)  # fmt: skip


def test_an_encoder_alone_is_refused_where_weights_would_be_random(tmp_path: Path) -> None:
    T5EncoderModel(tiny.config("t5")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"lacks \d+ weights of a T5Model, such as 'decoder"):
        load(ModelSettings(str(tmp_path)))


def test_a_checkpoint_that_does_not_fit_is_refused(copy: Path) -> None:
    change_config(copy, n_layer=4)
    with pytest.raises(ModelError, match=r"lacks 12 weights of a GPT2LMHeadModel, such as"):
        load(ModelSettings(str(copy)))
    change_config(copy, n_layer=3, n_inner=80)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSettings(str(copy)))


def test_pickles_are_refused_until_asked_for(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "config.json", tmp_path)
    torch.save(tiny.language_model("gpt2").state_dict(), tmp_path / "pytorch_model.bin")
    settings = ModelSettings(str(tmp_path))
    with pytest.raises(ModelError, match=r"pickled weights only.*any code.*allow_pickle = true"):
        load(settings)
    assert "any code" in check(settings).problems[0]
    model = load(replace(settings, allow_pickle=True))
    assert model.info.weights_format == "pickle"
    assert model.info.weights_hash == sha256(tmp_path / "pytorch_model.bin")


def test_shards_are_hashed_in_the_order_of_their_names(tmp_path: Path) -> None:
    tiny.language_model("gpt2").save_pretrained(tmp_path, max_shard_size="20KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    model = load(ModelSettings(str(tmp_path)))
    whole = b"".join(shard.read_bytes() for shard in shards)
    assert model.info.weights_hash == hashlib.sha256(whole).hexdigest()
    shards[0].unlink()
    with pytest.raises(ModelError, match=f"lacks the weight file '{shards[0].name}'"):
        load(ModelSettings(str(tmp_path)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "no/such/folder"}, "no folder 'no/such/folder'"),
        ({"source": "nowhere.gguf"}, "no GGUF file 'nowhere.gguf'"),
        ({"device": "cuda:7"}, "no device 'cuda:7' here"),
        ({"attention": "flash_attention_2"}, "flash_attn|FlashAttention|Flash Attention"),
    ],
)
def test_what_is_not_to_be_had_here(folder: Path, changes: dict[str, str], message: str) -> None:
    settings = replace(ModelSettings(str(folder)), **changes)
    with pytest.raises(ModelError, match=message):
        load(settings)
    assert not check(settings).ok


def test_a_device_that_is_none(folder: Path) -> None:
    with pytest.raises(UsageError, match="no device 'gpu': say auto, cpu, cuda or cuda:N"):
        load(ModelSettings(str(folder), device="gpu"))


def test_an_attention_kernel_that_the_model_lacks(tmp_path: Path) -> None:
    tiny.backbone("gptj").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match='set attention = "eager" or "auto"'):
        load(ModelSettings(str(tmp_path), attention="sdpa"))
    assert load(ModelSettings(str(tmp_path))).attention == "eager"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_and_kernel_asked_for(folder: Path, dtype: str) -> None:
    model = load(ModelSettings(str(folder), dtype=dtype, attention="eager"))  # type: ignore[arg-type]
    assert model.dtype == getattr(torch, dtype)
    assert {p.dtype for p in model.backbone.parameters()} == {model.dtype}
    assert model.attention == "eager"


def test_an_empty_folder_lists_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config.json"):
        load(ModelSettings(str(tmp_path)))
    (tmp_path / "small.gguf").touch()
    with pytest.raises(ModelError, match=r"name the GGUF file itself: source = '.*/small.gguf'"):
        load(ModelSettings(str(tmp_path)))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"has no weights \(model.safetensors\); it has: config"):
        load(ModelSettings(str(tmp_path)))


def test_code_that_comes_with_a_model_is_not_run(copy: Path) -> None:
    code = "raise SystemExit('ran')"
    (copy / "mine.py").write_text(code)
    names = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    change_config(copy, model_type="mine", auto_map=names)
    settings = ModelSettings(str(copy))
    with pytest.raises(ModelError, match="trust_remote_code = true"):
        load(settings)
    assert "trust_remote_code" in check(settings).problems[0]


def test_damaged_weights_are_named(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="copy' cannot be loaded"):
        load(ModelSettings(str(copy)))


def test_a_damaged_configuration_is_named(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(ModelSettings(str(copy)))


def test_the_finder_and_unknown_families(folder: Path) -> None:
    found = load(ModelSettings(str(folder), family="find"))
    assert found.info.family == "find"
    hooks = resolve(found.backbone, found.family, SiteSettings())
    assert [hook.module for hook in hooks] == [f"h.{n}.mlp.c_proj" for n in range(3)]
    with pytest.raises(UnknownNameError, match="did you mean 'gpt2'"):
        load(ModelSettings(str(folder), family="gpt22"))


def test_a_wrong_family_fails_when_sites_are_resolved(folder: Path) -> None:
    wrong = ModelSettings(str(folder), family="llama")
    with pytest.raises(ModelError, match="GPT2Model has no module"):
        load(wrong)


def test_a_tokenizer_of_another_folder(folder: Path, tmp_path: Path) -> None:
    tiny.language_model("gpt2").save_pretrained(tmp_path / "bare")
    bare = ModelSettings(str(tmp_path / "bare"))
    assert describe(bare).tokenizer_hash is None
    borrowed = describe(replace(bare, tokenizer=str(folder)))
    assert borrowed.tokenizer_hash == describe(ModelSettings(str(folder))).tokenizer_hash


def test_check_says_what_it_found(folder: Path) -> None:
    found = check(ModelSettings(str(folder)))
    assert found.ok
    assert found.weight_bytes == (folder / "model.safetensors").stat().st_size
    assert found.memory_bytes == 4 * describe(ModelSettings(str(folder))).parameters
    assert "family gpt2 (GPT-2)" in found.notes


def test_the_finder_maps_a_module_handed_over() -> None:
    settings = ModelSettings("mine", family="find")
    for model in (tiny.language_model("gpt2"), tiny.language_model("t5")):
        found = given(model, settings)
        assert found.family is not None
        assert (found.info.model, found.info.family) == ("mine", "find")
        stack = "decoder." if "T5" in type(model).__name__ else ""
        assert resolve(found.backbone, found.family, SiteSettings((f"{stack}mlp",)))
    with pytest.raises(ModelError, match="0 stacks of blocks"):
        given(torch.nn.Embedding(8, 4), settings)


def test_a_module_handed_over_has_a_hash_of_its_weights() -> None:
    model = tiny.backbone("gpt2")
    first = from_module(model, "mine").info
    assert (first.model, first.weights_format, first.family) == ("mine", "module", "none")
    with torch.no_grad():
        model.wpe.weight[0, 0] += 1
    assert from_module(model, "mine").info.weights_hash != first.weights_hash
