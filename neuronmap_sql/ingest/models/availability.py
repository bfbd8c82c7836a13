"""Say whether a model can be had and loaded here, without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from neuronmap_sql.errors import NeuronMapError
from neuronmap_sql.ingest.models.configuration import choose_family, read_config
from neuronmap_sql.ingest.models.devices import choose_device, choose_dtype, free_memory
from neuronmap_sql.ingest.models.skeleton import skeleton
from neuronmap_sql.ingest.models.source import Source, find
from neuronmap_sql.ingest.settings import ModelSettings

__all__ = ["Availability", "check"]


@dataclass(frozen=True)
class Availability:
    """Whether a model can be loaded here, and what stands in the way."""

    problems: tuple[str, ...]
    """What stands in the way, with the way out; empty: it can be loaded."""
    notes: tuple[str, ...]
    """What was found: files, family, device, memory."""
    weight_bytes: int = 0
    """Bytes of the weight files; 0 if they were not found."""
    memory_bytes: int = 0
    """Memory that the loaded weights take in the dtype of the forward pass."""

    @property
    def ok(self) -> bool:
        """Whether it can be loaded here."""
        return not self.problems


def check(settings: ModelSettings) -> Availability:
    """Look at everything that loading needs: files, packages, family, device, dtype, memory.

    Nothing is raised: what fails becomes a problem of the result.
    """
    try:
        source = find(settings, weights=False)
    except NeuronMapError as error:
        return Availability((str(error),), ())
    sizes = dict(source.files)
    size = sum(sizes[name] for name in source.weights)
    found = f"{len(source.weights)} {source.weights_format} files, {size:,} bytes"
    if missing := _packages(settings, source):
        return Availability(missing, (found,), size)
    try:
        return _loadable(settings, source, size, found)
    except NeuronMapError as error:
        return Availability((str(error),), (found,), size)


def _packages(settings: ModelSettings, source: Source) -> tuple[str, ...]:
    spread = settings.device_map != "none"
    needed = ("gguf", "accelerate") if source.gguf else ("accelerate",) if spread else ()
    missing = [name for name in needed if find_spec(name) is None]
    extra = "gguf" if source.gguf else "device-map"
    text = f"the package {' and '.join(missing)} is missing: install `neuronmap-sql[{extra}]`"
    return (text,) if missing else ()


def _loadable(settings: ModelSettings, source: Source, size: int, found: str) -> Availability:
    config = read_config(source, settings)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings, config, device)
    family = choose_family(settings, config)
    model = skeleton(settings, config, family, source.gguf is not None)
    needed = sum(p.numel() for p in model.parameters()) * dtype.itemsize
    free = free_memory(device)
    notes = [
        found,
        f"family {family.name} ({family.title})" if family else _no_family(settings, config),
        f"{needed:,} bytes of weights as {str(dtype).removeprefix('torch.')} on {device}, "
        f"{free:,} bytes free",
    ]
    problem = f"{device} has {free:,} bytes free, the weights take {needed:,}: take a smaller dtype"
    fits = needed <= free or settings.device_map != "none"  # the disk takes what is too much
    return Availability(() if fits else (problem,), tuple(notes), size, needed)


def _no_family(settings: ModelSettings, config: object) -> str:
    if settings.family == "find":
        return "the finder will propose a map"
    kind = getattr(config, "model_type", "?")
    return f'no family for the model type {kind!r}: only custom sites, or family = "find"'
