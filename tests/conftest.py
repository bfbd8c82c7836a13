"""What all tests share: no hub, one thread, and a warehouse of a trained model."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest
import torch
from compared_models import compare_planted
from demo_recipes import demo_recipe

from neuronmap_sql.content import folder
from neuronmap_sql.ingest.pipeline import Ingested, ingest
from neuronmap_sql.ingest.recipe import TABLES
from neuronmap_sql.warehouse.store import Store


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """A trained GPT-2 of 4 layers that ships with the project."""
    models = folder("demo") / "models"
    return models / "demo-a" if (models / "demo-a").exists() else models / "demo-a-step400"


@pytest.fixture(scope="session")
def demo_ingested(
    demo_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Ingested]:
    """A warehouse with every table, and what its ingest did; read it, do not write it.

    Batches hold one window, so that a plain forward pass gives the very same values.
    """
    root = tmp_path_factory.mktemp("demo") / "warehouse"
    recipe = demo_recipe(
        demo_model,
        60,
        sites={"use": ["mlp", "resid_post"]},
        keep={"tables": list(TABLES), "pool": ["mean", "last", "first", "max"]},
        batch={"tokens": 1, "shard_tokens": 1000},
    )
    return root, ingest(recipe, Store.create(root))


@pytest.fixture(scope="session")
def demo_warehouse(demo_ingested: tuple[Path, Ingested]) -> Path:
    """The folder of the warehouse of `demo_ingested`."""
    return demo_ingested[0]


@pytest.fixture(scope="session")
def compared_warehouse(demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with three planted models beside each other; read it, do not write it."""
    return compare_planted(tmp_path_factory.mktemp("compared") / "warehouse", demo_model)
