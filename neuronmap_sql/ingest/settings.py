"""What a recipe says, as frozen dataclasses; `recipe.py` reads and writes them as TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "BatchSettings",
    "CustomSite",
    "DataSettings",
    "KeepSettings",
    "ModelSettings",
    "Recipe",
    "SiteSettings",
    "WeightSettings",
]


@dataclass(frozen=True)
class ModelSettings:
    """Which model to load, and how."""

    source: str
    """A folder, a GGUF file, or a hub id such as `openai-community/gpt2`."""
    name: str = ""
    """Name in the warehouse, the column `model`; empty: the last part of `source`."""
    revision: str = ""
    """Branch, tag, commit or checkpoint; becomes part of the key: `name@revision`."""
    family: str = "auto"
    """A name of `neuronmap models`, a family file of one's own (`my-family.toml`, relative to the
    recipe), `find` for the generic finder, or `auto`: from the config."""
    tokenizer: str = ""
    """Folder or hub id of the tokenizer; empty: the model's own."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    device_map: Literal["none", "auto", "balanced", "balanced_low_0", "sequential"] = "none"
    """Spread the weights by accelerate over all GPUs, then memory, then the disk, as transformers
    does with a `device_map` of this name; `none`: all of them on `device`."""
    max_memory: Mapping[str, str] = field(default_factory=dict)
    """With `device_map`: the most that weights may take, by GPU number, `cpu` and `disk`:
    `{0 = "20GB", cpu = "60GB"}`."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the forward pass; `auto`: float32 on CPU, the weights' own on a GPU."""
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    """Attention kernel."""
    allow_pickle: bool = False
    """Load pickled weights when there are no safetensors: a pickle can run any code."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""

    @property
    def key(self) -> str:
        """The value of the column `model`: `name` or `name@revision`."""
        name = self.name or self.source.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
        return f"{name}@{self.revision}" if self.revision else name


@dataclass(frozen=True)
class DataSettings:
    """Which documents to read, and how they become model inputs."""

    path: str
    """A file, a glob, or a folder written by `datasets.save_to_disk`; relative to the recipe. One
    line, or a file that is one document, has at most 64 MiB."""
    name: str = ""
    """Name in the warehouse, the column `dataset`; empty: the file's name without endings."""
    format: Literal["auto", "jsonl", "csv", "parquet", "lines", "files", "dataset"] = "auto"
    """How to read `path`; `lines`: one document a line, `files`: one document a file."""
    text: str = "text"
    """Column that holds the text."""
    id: str = ""
    """Column that names the documents; empty: `id` if there is one, else file and line."""
    labels: tuple[str, ...] = ()
    """Columns to keep as labels, with their types; `*` keeps all the others. JSON has no dates, so
    those of JSON Lines stay text."""
    delimiter: str = ""
    """Character between the fields of a CSV file; empty: a tab in .tsv files, else a comma."""
    quote: str = '"'
    """Character around fields of a CSV file that hold delimiters or line ends, doubled inside them;
    empty: there is none, quotes are text."""
    limit: int = 0
    """Read at most this many documents; 0: all."""
    encoding_errors: Literal["error", "replace", "skip"] = "error"
    """Documents that are not valid UTF-8: stop, put U+FFFD for the bad bytes, or leave them out."""
    duplicates: Literal["error", "number", "skip"] = "error"
    """Documents whose id is taken: stop, add `#2`, `#3`, ... to the id, or leave them out."""
    context: int = 0
    """Longest model input in tokens, special tokens included; 0: the model's own."""
    long_documents: Literal["split", "truncate"] = "split"
    """Documents longer than the context: further windows, or the first window only."""
    overlap: int = 0
    """Tokens of the window before that a further window sees again as context, uncounted."""
    special: Literal["context", "keep", "none"] = "context"
    """Special tokens that the tokenizer adds (BOS, CLS, SEP): shown to the model but not counted,
    shown and counted, or not added."""


@dataclass(frozen=True)
class CustomSite:
    """A place named by its module path, in any PyTorch model."""

    name: str
    """The column `site`."""
    module: str
    """Module path; `{layer}` stands for the layer index; without it there is one layer, 0."""
    capture: Literal["input", "output"] = "output"
    """Record the module's first input or its (first) output, shape [batch, position, width]."""


@dataclass(frozen=True)
class SiteSettings:
    """Which places of the model are recorded."""

    use: tuple[str, ...] = ("mlp",)
    """Sites of the family, or TransformerLens names such as `blocks.5.mlp.hook_post`."""
    layers: str = "all"
    """`all`, or indices and ranges: `0-5,11`, `-1` for the last."""
    custom: tuple[CustomSite, ...] = ()
    """Further places, `[sites.NAME] module = "..."`."""


@dataclass(frozen=True)
class KeepSettings:
    """What is written."""

    tables: tuple[str, ...] = ("stats", "top", "samples", "weights")
    """Of stats, top, samples, weights, activations, int8, firings, matrices, vectors. `int8` keeps
    activations in half the bytes, each within a 450th of its neuron's range; beside `matrices`,
    searches over it are still exact."""
    top_k: int = 20
    """Highest and lowest values kept a neuron."""
    sampled_tokens: int = 1024
    """Tokens drawn at random for samples and, in small datasets, exact quantiles."""
    sample_bins: int = 10
    """Quantile bins of `activation_samples`."""
    samples_per_bin: int = 3
    """Samples kept a bin."""
    firings_fraction: float = 0.01
    """Keep this fraction of each neuron's values as `firings`; used when no threshold is given."""
    firings_threshold: float | None = None
    """Keep every value at or above this as `firings`."""
    pool: tuple[str, ...] = ("mean",)
    """Pools of `vectors`: mean, last, first, max."""


@dataclass(frozen=True)
class WeightSettings:
    """How `neuron_weights` are measured."""

    folding: Literal["norm", "none"] = "norm"
    """`norm`: as TransformerLens loads models, norm gains folded and writing weights centred;
    `none`: the raw weights."""
    tokens: int = 10
    """Promoted and suppressed tokens kept a neuron."""


@dataclass(frozen=True)
class BatchSettings:
    """How the work is cut."""

    tokens: int = 0
    """Tokens of one batch, padding included; 0: from free memory."""
    shard_tokens: int = 0
    """Tokens between two resumable states; 0: chosen from the width of what is kept."""


@dataclass(frozen=True)
class Recipe:
    """One ingest job: one model on one dataset."""

    model: ModelSettings
    data: DataSettings
    title: str = ""
    """Free text, kept in `runs`."""
    sites: SiteSettings = field(default_factory=SiteSettings)
    keep: KeepSettings = field(default_factory=KeepSettings)
    weights: WeightSettings = field(default_factory=WeightSettings)
    batch: BatchSettings = field(default_factory=BatchSettings)
    seed: int = 0
    """Seed of the sampled tokens."""
