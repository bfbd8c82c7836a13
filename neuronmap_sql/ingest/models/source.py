"""Find a model's files: in a folder, a GGUF file, the Hugging Face cache, or the hub.

What the cache holds completely is used without asking the hub, so that a run can be repeated
offline. Everything else then works on a local folder and never touches the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from neuronmap_sql.errors import ModelError, nearest
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["Source", "find", "weights_hash"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
"""What starts with `.`, `/` or `~` is a path."""
_INDEX = "model.safetensors.index.json"
_DESCRIPTION = ("*.json", "*.txt", "*.model", "*.jinja", "*.py")
_MARKERS = ("config.json", "tokenizer.json", "tokenizer_config.json")
"""Files of which each model or tokenizer has one: they show where its snapshot is."""
_SECONDS = 10.0
"""Longest wait for the hub's answer about a model."""
_PICKLE = (
    "{0!r} has pickled weights only, and loading a pickle can run any code that its author put "
    "there: convert it to safetensors, or set allow_pickle = true under [model] if you trust it"
)


@dataclass(frozen=True)
class Source:
    """Where a model's files are."""

    name: str
    """As the recipe names it."""
    folder: Path
    """Folder with config.json, or with the GGUF file."""
    gguf: str | None
    """File name of the GGUF file."""
    weights: tuple[str, ...]
    """Names of the weight files, sorted."""
    weights_format: str
    """safetensors, gguf or pickle."""
    files: tuple[tuple[str, int], ...]
    """Names and bytes of all of the model's files, also of those not downloaded yet."""


def find(settings: ModelSettings, *, weights: bool = True, tokenizer: bool = False) -> Source:
    """Find the files, and download what is missing.

    Args:
        settings: names the source and whether pickles are allowed.
        weights: False: the weight files stay where they are; only small files are downloaded.
        tokenizer: True: the source is a tokenizer's, and needs neither config.json nor weights.

    Raises:
        ModelError: there are no such files, or they may not be loaded; says what to do.
    """
    # Path.expanduser raises where there is no such user; this leaves the name as it is.
    path = Path(os.path.expanduser(settings.source))  # noqa: PTH111
    choose = _no_weights if tokenizer else _choose
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where the name is too long
        return _in_folder(settings, path, choose)
    if path.suffix == ".gguf":
        return _gguf(settings, path)
    if not _HUB_ID.fullmatch(settings.source):
        raise ModelError(_absent("folder", settings.source, path))
    return _in_cache(settings, choose) or _in_hub(settings, choose, weights)


def weights_hash(source: Source) -> str:
    """Return the SHA-256 of the weight files' contents, in the order of their names."""
    digest = hashlib.sha256()
    for name in source.weights:
        with (source.folder / name).open("rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


_Choice = tuple[tuple[str, ...], str]
"""Names of the weight files, and their format."""
_Choose = Callable[[ModelSettings, dict[str, int], Callable[[], str]], _Choice]
"""Chooses the weight files among all files (with bytes); the last argument reads the index."""


def _choose(
    settings: ModelSettings, files: dict[str, int], read_index: Callable[[], str]
) -> _Choice:
    if "config.json" not in files:
        hint = "".join(
            f"; name the GGUF file itself: source = {settings.source + '/' + name!r}"
            for name in [name for name in files if name.endswith(".gguf")][:1]
        )
        raise ModelError(f"{settings.source!r} has no config.json{hint}")
    if _INDEX in files:
        return _indexed(settings, read_index()), "safetensors"
    if "model.safetensors" in files:
        return ("model.safetensors",), "safetensors"
    pickles = sorted(name for name in files if re.fullmatch(r"pytorch_model.*\.bin", name))
    if not pickles:
        known = ", ".join(sorted(files)[:8])
        raise ModelError(f"{settings.source!r} has no weights (model.safetensors); it has: {known}")
    if not settings.allow_pickle:
        raise ModelError(_PICKLE.format(settings.source))
    return tuple(pickles), "pickle"


def _indexed(settings: ModelSettings, index: str) -> tuple[str, ...]:
    try:
        return tuple(sorted({str(name) for name in json.loads(index)["weight_map"].values()}))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{settings.source!r}: {_INDEX} is damaged: {error}") from error


def _no_weights(*_: object) -> _Choice:
    return (), "none"


def _gguf(settings: ModelSettings, path: Path) -> Source:
    if not os.path.isfile(path):  # noqa: PTH113
        raise ModelError(_absent("GGUF file", settings.source, path))
    files = ((path.name, path.stat().st_size),)
    return Source(settings.source, path.parent, path.name, (path.name,), "gguf", files)


def _absent(kind: str, source: str, path: Path) -> str:
    """Say that a path is not there, with what is beside the part of it that is missing."""
    whole = Path.cwd() / path
    parts = (*reversed(whole.parents), whole)
    missing = next((p for p in parts if not os.path.exists(p)), whole)  # noqa: PTH110
    beside = missing.parent.iterdir() if missing.parent.is_dir() else ()
    names = [p.name for p in beside if p.is_dir() or p.suffix == ".gguf"]
    hint = nearest(missing.name, (name for name in names if not name.startswith(".")))
    what = f"no {kind} {source!r} (from {Path.cwd()})"
    if missing != whole:
        what += f": {str(missing.parent)!r} has no {missing.name!r}"
    elif not source.startswith((".", "/", "~")) and kind == "folder":
        what += ", and it is no hub id"
    return what + hint


def _in_folder(settings: ModelSettings, folder: Path, choose: _Choose) -> Source:
    files = {p.name: p.stat().st_size for p in sorted(folder.iterdir()) if p.is_file()}
    names, kind = choose(settings, files, lambda: (folder / _INDEX).read_text("utf-8"))
    missing = [name for name in names if name not in files]
    if missing:
        raise ModelError(f"the folder {str(folder)!r} lacks the weight file {missing[0]!r}")
    return Source(settings.source, folder, None, names, kind, tuple(files.items()))


def _in_cache(settings: ModelSettings, choose: _Choose) -> Source | None:
    from huggingface_hub import try_to_load_from_cache

    for name in _MARKERS:
        look = partial(try_to_load_from_cache, revision=settings.revision or None)
        file = _ask(settings, partial(look, settings.source, name))
        if isinstance(file, str):
            try:
                return _in_folder(settings, Path(file).parent, choose)
            except ModelError:
                return None  # there in part: its weights are not, or only the pickled ones
    return None


def _in_hub(settings: ModelSettings, choose: _Choose, weights: bool) -> Source:
    from huggingface_hub import HfApi, hf_hub_download

    name, revision = settings.source, settings.revision or None

    def listing() -> Any:
        return HfApi().model_info(name, revision=revision, timeout=_SECONDS, files_metadata=True)

    def download(file: str) -> Path:
        return Path(_ask(settings, lambda: hf_hub_download(name, file, revision=revision)))

    listed = _ask(settings, listing).siblings or []
    files = {f.rfilename: f.size or 0 for f in listed if "/" not in f.rfilename}
    chosen, kind = choose(settings, files, lambda: download(_INDEX).read_text("utf-8"))
    if missing := [file for file in chosen if file not in files]:
        raise ModelError(f"the model {name!r} lacks the weight file {missing[0]!r}")
    small = [file for file in files if any(fnmatch(file, pattern) for pattern in _DESCRIPTION)]
    folder = [download(file).parent for file in [*(chosen if weights else ()), *small]][-1]
    return Source(name, folder, None, chosen, kind, tuple(sorted(files.items())))


def _ask(settings: ModelSettings, question: Callable[[], Any]) -> Any:
    """Put a question to the hub; one clear error for each way in which it can fail."""
    from huggingface_hub import constants, errors

    what = f"{settings.source!r}" + (f" at {settings.revision!r}" if settings.revision else "")
    try:
        return question()
    except errors.GatedRepoError as error:
        raise ModelError(
            f"the model {what} is gated: accept its terms on the hub, then `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"the model {what} is not on the hub in that revision") from error
    except errors.RepositoryNotFoundError as error:
        raise ModelError(
            f"no folder {settings.source!r} here and no model of that name on "
            f"{constants.ENDPOINT}; if it is private, log in with `hf auth login`"
        ) from error
    except errors.HFValidationError as error:
        path = Path(settings.source)
        raise ModelError(_absent("folder", settings.source, path)) from error
    except Exception as error:  # the client's exceptions differ by its version: requests, httpx
        raise ModelError(
            f"the model {what} is not in the Hugging Face cache and the hub {constants.ENDPOINT} "
            f"cannot be reached ({type(error).__name__}): give a local folder or GGUF file as "
            "source, set HF_HOME to a cache that has it, or HF_ENDPOINT to a mirror"
        ) from error
