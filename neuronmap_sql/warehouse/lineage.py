"""Which runs were computed from which, and which must leave when others enter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from neuronmap_sql.errors import StoreError, UsageError
from neuronmap_sql.warehouse.manifest import Key, Manifest, overlap

__all__ = ["descendants", "leaving", "refuse_orphan"]


def descendants(manifests: Mapping[str, Manifest], runs: set[str]) -> tuple[str, ...]:
    """Return the runs computed from some runs, from those, and so on, sorted."""
    found: set[str] = set()
    fresh = set(runs)
    while fresh:
        fresh = {
            name
            for name, manifest in manifests.items()
            if fresh & set(manifest.parents) and name not in found | runs
        }
        found |= fresh
    return tuple(sorted(found))


def leaving(
    manifests: Mapping[str, Manifest],
    entering: Mapping[str, Iterable[Key]],
    *,
    replace: bool,
    with_children: bool,
) -> tuple[str, ...]:
    """Return the runs that make way for new ones, sorted.

    Args:
        manifests: the committed runs.
        entering: the names that each new run takes.
        replace: runs that hold some of these names may leave.
        with_children: so may other runs that were computed from those.

    Raises:
        UsageError: a run would have to leave that may not.
    """
    others = {name: found for name, found in manifests.items() if name not in entering}
    keys = tuple(key for mine in entering.values() for key in mine)
    hits = {name: key for name, found in others.items() if (key := overlap(keys, found.keys))}
    for name, key in hits.items():
        if not replace:
            raise UsageError(
                f"run {name} already holds {key} from another recipe (`neuronmap runs show"
                f" {name}`): use --replace to put this one in its place, or set"
                f" {'name' if key.experiment else 'model.name or data.name'} to keep both"
            )
    children = descendants(others, set(hits))
    if children and not with_children:
        raise UsageError(
            f"runs were computed from {', '.join(sorted(hits))} that the new ones do not"
            f" replace: {', '.join(children)}; let them go too with --with-children, or set"
            " model.name or data.name to keep both"
        )
    return tuple(sorted({*hits, *children}))


def refuse_orphan(manifest: Manifest, runs: set[str]) -> None:
    """Raise StoreError if a run was computed from one that is not among `runs`."""
    for parent in manifest.parents:
        if parent not in runs:
            raise StoreError(f"run {parent}, which {manifest.run} needs, is gone: ingest again")
