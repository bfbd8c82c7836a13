"""What this machine has for an ingest, and what will be slow or fail on it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from neuronmap_sql.warehouse.provenance import versions
from neuronmap_sql.warehouse.shell import find_duckdb

__all__ = ["Finding", "examine"]

_LITTLE_DISK = 10e9
_LITTLE_MEMORY = 4e9
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "lustre", "ceph"})


@dataclass(frozen=True)
class Finding:
    """One fact about the machine."""

    what: str
    """What was looked at."""
    found: str
    """What is there."""
    advice: str = ""
    """What is slow or will fail because of it, and the way out; empty if all is well."""


def examine(place: Path) -> list[Finding]:
    """Look at versions, processors, memory, GPUs, the disk below `place`, and the model cache."""
    return [*_versions(), *_processors(), *_memory(), *_gpus(), *_disk(place), *_cache()]


def _versions() -> Iterator[Finding]:
    for name, version in versions().items():
        yield Finding(name, version)
    shell = find_duckdb()
    missing = "" if shell else "`neuronmap shell` uses its own prompt: pip install duckdb-cli"
    yield Finding("duckdb shell", str(shell or "none"), missing)


def _processors() -> Iterator[Finding]:
    allowed, threads, load = _allowed(), torch.get_num_threads(), psutil.getloadavg()[0]
    advice = ""
    if threads > allowed:
        advice = (
            f"torch will start {threads} threads for {allowed:.1f} processors, which wait for each"
            f" other: set OMP_NUM_THREADS={max(1, int(allowed))}"
        )
    elif load > allowed:
        advice = "other processes use them: an ingest will take longer than --dry-run says"
    yield Finding("processors", f"{allowed:g}, {threads} threads, load {load:.1f}", advice)
    wide = torch.backends.cpu.get_cpu_capability()
    slow = ""
    if platform.machine() == "x86_64" and wide == "DEFAULT":
        slow = "no AVX2: forward passes are several times slower than on a newer machine"
    yield Finding("vector instructions", wide, slow)


def _allowed() -> float:
    """Return the processors that this process may use, by affinity and by its container."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    here = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(here, _quota() or here)


def _quota() -> float | None:
    """Return the processors that a container may use, if it says so (cgroup v2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _memory() -> Iterator[Finding]:
    found = psutil.virtual_memory()
    advice = ""
    if found.available < _LITTLE_MEMORY:
        advice = "little memory: smaller batches (batch.tokens) and models only"
    yield Finding("memory", f"{_giga(found.available)} of {_giga(found.total)} free", advice)


def _gpus() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        advice = ""
        if Path("/dev/nvidia0").exists() and torch.version.cuda is None:
            advice = "there is a GPU, but this torch is built for CPU: install a CUDA build"
        yield Finding("GPU", "none", advice)
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        kinds = "bfloat16" if torch.cuda.is_bf16_supported() else "no bfloat16: set model.dtype"
        name = torch.cuda.get_device_name(index)
        yield Finding(f"GPU {index}", f"{name}, {_giga(free)} of {_giga(total)} free, {kinds}")


def _disk(place: Path) -> Iterator[Finding]:
    there = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    advice = "little room: --dry-run says what an ingest takes" * (usage.free < _LITTLE_DISK)
    if not os.access(there, os.W_OK):
        advice = "it cannot be written: choose another folder, or ask for the right to"
    yield Finding("disk", f"{_giga(usage.free)} of {_giga(usage.total)} free at {there}", advice)
    kind = _file_system(there)
    remote = "flushes over the network are slow, and its locks may not hold: ingest on a local disk"
    yield Finding("file system", kind or "unknown", remote if kind in _REMOTE else "")


def _file_system(path: Path) -> str:
    mounts = [m for m in psutil.disk_partitions(all=True) if path.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""


def _cache() -> Iterator[Finding]:
    from huggingface_hub import constants

    offline = "HF_HUB_OFFLINE is set: only models in the cache can be had"
    advice = offline if constants.HF_HUB_OFFLINE else ""
    yield Finding("model cache", str(constants.HF_HUB_CACHE), advice)


def _giga(number: float) -> str:
    return f"{number / 1e9:,.1f} GB"
