"""Read a model's configuration and tokenizer, and choose its family."""

from __future__ import annotations

import logging as plain_logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from neuronmap_sql.errors import ModelError, UnknownNameError
from neuronmap_sql.ingest.models.families import Family, detect, family_named
from neuronmap_sql.ingest.models.source import Source, find
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["choose_family", "loading", "read_config", "read_tokenizer"]

_TOKENIZER_FILES = {"tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json"}


def read_config(source: Source, settings: ModelSettings) -> Any:
    """Return the configuration of transformers.

    Raises:
        ModelError: it cannot be read, or needs code that comes with the model.
    """
    with loading(settings):
        return AutoConfig.from_pretrained(source.folder, **_where(source, settings))


def read_tokenizer(source: Source, settings: ModelSettings) -> Any:
    """Return the tokenizer that the recipe names, else the model's own, else None.

    Raises:
        ModelError: it cannot be read.
    """
    if settings.tokenizer:
        source = find(ModelSettings(settings.tokenizer), tokenizer=True)
    names = {name for name, _ in source.files}
    if source.gguf is None and not names & _TOKENIZER_FILES:
        if settings.tokenizer:
            known = ", ".join(sorted(names)[:8])
            raise ModelError(f"{settings.tokenizer!r} has no tokenizer.json; it has: {known}")
        return None
    with loading(settings):
        return AutoTokenizer.from_pretrained(source.folder, **_where(source, settings))


def choose_family(settings: ModelSettings, config: Any) -> Family | None:
    """Return the family of a model, or None if none is known.

    Without one, only custom sites can be recorded; `sites.resolve` says so when it matters.

    Raises:
        UnknownNameError: the recipe names a family that there is not.
    """
    if settings.family == "find":
        return None
    if settings.family != "auto":
        return family_named(settings.family).for_config(config)
    try:
        return detect(config)
    except UnknownNameError:
        return None


def _where(source: Source, settings: ModelSettings) -> dict[str, Any]:
    where: dict[str, Any] = {"trust_remote_code": settings.trust_remote_code}
    return where | ({"gguf_file": source.gguf} if source.gguf else {})


@contextmanager
def loading(settings: ModelSettings) -> Iterator[None]:
    """Silence transformers while it loads, and say what went wrong in one sentence."""
    verbosity = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    spreading = plain_logging.getLogger("accelerate")
    spreading_level = spreading.level
    spreading.setLevel(plain_logging.ERROR)
    try:
        yield
    except ImportError as error:
        raise ModelError(f"{settings.source!r} needs a package: {_package(error)}") from error
    except Exception as error:  # damaged files make transformers raise almost anything
        raise ModelError(f"{settings.source!r} cannot be loaded: {_reason(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        spreading.setLevel(spreading_level)
        if bars:
            logging.enable_progress_bar()


def _package(error: ImportError) -> str:
    text = str(error)
    for package, extra in (("gguf", "gguf"), ("accelerate", "device-map"), ("sentencepiece",) * 2):
        if package in text.lower():
            return f"install `neuronmap-sql[{extra}]`"
    return text.strip().splitlines()[0]


def _reason(error: Exception) -> str:
    text = str(error).strip()
    if "trust_remote_code" in text:
        return (
            "it runs Python code that comes with the model; read that code, then set "
            "trust_remote_code = true under [model] if you trust it"
        )
    if "requires `accelerate`" in text:
        return "to be spread over devices it needs a package: install `neuronmap-sql[device-map]`"
    if "attn_implementation" in text:
        text += ' (set attention = "eager" or "auto" under [model])'
    return " ".join(text.split(os.linesep)[:3]) or type(error).__name__
