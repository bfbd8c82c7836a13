"""Recipes on the demo's models and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuronmap_sql.content import folder
from neuronmap_sql.ingest.recipe import parse_recipe
from neuronmap_sql.ingest.settings import Recipe


def demo_recipe(model: Path, docs: int, /, **sections: dict[str, Any]) -> Recipe:
    """Return a recipe of a demo model on the first documents of the demo's text.

    Args:
        model: the model's folder.
        docs: documents.
        sections: further keys of the recipe's tables, by name.
    """
    data = {"path": "text.jsonl.gz", "labels": ["source", "split"], "limit": docs}
    raw: dict[str, Any] = {"model": {"source": str(model)}, "data": data}
    for name, keys in sections.items():
        raw[name] = raw.get(name, {}) | keys
    return parse_recipe(raw, "test", folder("demo"))
