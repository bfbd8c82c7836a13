"""What a fast tokenizer's definition says: its tokens as text, its special tokens, its hash."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from neuronmap_sql.errors import ModelError

__all__ = [
    "Vocabulary",
    "added_tokens",
    "definition",
    "definition_hash",
    "dropped_starts",
    "encoder",
    "vocabulary",
]

Definition = dict[str, Any]

_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
_CONTROLS = "".join(
    chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in b"\t\n\r"
)
_SPACE = "▁"
"""SentencePiece's mark for a space, U+2581."""


@dataclass(frozen=True)
class Vocabulary:
    """Facts about every token id, [size] each."""

    text: pa.Array
    """The token decoded by itself: ` the`, `##ing`; U+FFFD for bytes that are no character."""
    special: npt.NDArray[np.bool_]
    """Whether it is a special token. The unknown token is not: it stands for a piece of text."""
    byte: npt.NDArray[np.int16]
    """The byte that a byte-fallback token such as `<0xE2>` stands for; -1 for other tokens."""
    opens: npt.NDArray[np.bool_]
    """Whether the text begins with a space."""
    blank: npt.NDArray[np.bool_]
    """Whether the text is one space."""


def definition(tokenizer: Any) -> Definition:
    """Return the definition of a fast tokenizer, less the truncation and padding set on it.

    Raises:
        ModelError: the tokenizer runs in Python only, or has parts that do.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if not isinstance(backend, Tokenizer):
        raise ModelError(
            f"the tokenizer of {name!r} runs in Python only and gives no character spans: set "
            "model.tokenizer to a folder or hub id that has a tokenizer.json"
        )
    try:
        whole: Definition = json.loads(backend.to_str())
    except Exception as error:  # the Rust side raises plain Exception
        raise ModelError(
            f"the tokenizer of {name!r} has parts written in Python: {error}"
        ) from error
    whole["split_special_tokens"] = bool(getattr(tokenizer, "split_special_tokens", False))
    return {key: part for key, part in whole.items() if key not in ("truncation", "padding")}


def definition_hash(parts: Definition) -> str:
    """Return the sha256 of a definition: equal for equal tokenizers, wherever they lie."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def encoder(parts: Definition) -> Tokenizer:
    """Return a tokenizer of our own, whose spans keep the spaces that tokens begin with."""
    whole = {**parts, "truncation": None, "padding": None}
    split = whole.pop("split_special_tokens")
    whole["post_processor"] = _untrimmed(whole["post_processor"])
    backend = Tokenizer.from_str(json.dumps(whole, ensure_ascii=False))
    backend.encode_special_tokens = split
    return backend


def added_tokens(backend: Tokenizer) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return the special tokens that a tokenizer puts before and after a text."""
    probes = ("a", "1", *(token for token, _ in zip(backend.get_vocab(), range(64), strict=False)))
    for probe in probes:
        encoded = backend.encode(probe, add_special_tokens=True)
        own = np.flatnonzero(np.array(encoded.special_tokens_mask) == 0)
        if len(own):
            ids = np.array(encoded.ids, np.int32)
            return ids[: own[0]], ids[own[-1] + 1 :]
    return np.zeros(0, np.int32), np.zeros(0, np.int32)


def dropped_starts(backend: Tokenizer, texts: list[str]) -> list[int]:
    """Return how many control characters at the start of each text the normaliser takes away.

    SentencePiece's normaliser (`Precompiled`) shifts all spans of a text that begins so: in
    tokenizers 0.23 its alignment starts with what the first character became, which is nothing.
    """
    if "Precompiled" not in str(backend.normalizer):
        return [0] * len(texts)
    return [_dropped(backend, text[: len(text) - len(text.lstrip(_CONTROLS))]) for text in texts]


def _dropped(backend: Tokenizer, controls: str) -> int:
    gone = (backend.normalizer.normalize_str(char) == "" for char in controls)
    return sum(1 for _ in takewhile(bool, gone))


def vocabulary(parts: Definition, backend: Tokenizer) -> Vocabulary:
    """Return the facts about every token id of a tokenizer."""
    added = {item["id"]: item for item in parts["added_tokens"]}
    ids = {index: token for token, index in backend.get_vocab(with_added_tokens=True).items()}
    size = max(ids, default=-1) + 1
    read = _reader(parts)
    texts = [added[i]["content"] if i in added else read(ids.get(i, "")) for i in range(size)]
    falls_back = bool(parts["model"].get("byte_fallback"))
    unknown = _unknown(parts["model"])
    return Vocabulary(
        pa.array(texts, pa.string()),
        np.array([i in added and added[i]["special"] and ids[i] != unknown for i in range(size)]),
        np.array([_byte(ids.get(i, "")) if falls_back else -1 for i in range(size)], np.int16),
        np.array([text.startswith(" ") for text in texts]),
        np.array([text == " " for text in texts]),
    )


def _untrimmed(part: Any) -> Any:
    if isinstance(part, list):
        return [_untrimmed(item) for item in part]
    if isinstance(part, dict):
        return {key: key != "trim_offsets" and _untrimmed(item) for key, item in part.items()}
    return part


def _steps(part: Any) -> Iterator[Definition]:
    """Yield every step of a definition, those inside sequences too."""
    for item in part.values() if isinstance(part, dict) else part:
        if isinstance(item, dict | list):
            yield from _steps(item)
    if isinstance(part, dict):
        yield part


def _reader(parts: Definition) -> Any:
    """Return the function from a token of the vocabulary to its text."""
    steps = {key: parts[key] for key in _STEPS if parts[key]}
    suffix = parts["model"].get("end_of_word_suffix") or ""
    if any(step.get("type") == "ByteLevel" for step in _steps(steps)):
        table = _byte_table()
        return lambda token: bytes_text(token.removesuffix(suffix), table)
    marked = _SPACE in json.dumps(steps, ensure_ascii=False)
    falls_back = parts["model"].get("byte_fallback")

    def text(token: str) -> str:
        if falls_back and (byte := _byte(token)) >= 0:
            return chr(byte) if byte < 0x80 else "\ufffd"
        token = token.removesuffix(suffix)
        return token.replace(_SPACE, " ") if marked else token

    return text


def bytes_text(token: str, table: dict[str, int]) -> str:
    """Return the text of a byte-level token; one with other characters stands for itself."""
    if not all(char in table for char in token):
        return token
    return bytes(table[char] for char in token).decode("utf-8", "replace")


def _byte_table() -> dict[str, int]:
    """Return GPT-2's printable character for each byte, the other way round.

    Source: `bytes_to_unicode` of https://github.com/openai/gpt-2, src/encoder.py.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


def _byte(token: str) -> int:
    found = re.fullmatch(r"<0x([0-9A-F]{2})>", token)
    return int(found[1], 16) if found else -1


def _unknown(model: Definition) -> str | None:
    """Return the token that the model puts for what it does not know."""
    if model.get("unk_id") is not None:
        return str(model["vocab"][model["unk_id"]][0])
    unknown = model.get("unk_token")
    return None if unknown is None else str(unknown)
