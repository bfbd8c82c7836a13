from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_labels import Planted, planted, warehouse

import neuronmap_sql as nm


@pytest.fixture(scope="session")
def known() -> Planted:
    return planted()


@pytest.fixture(scope="session")
def unanalysed(known: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The planted warehouse; copy it to change it."""
    root = tmp_path_factory.mktemp("planted") / "wh"
    with nm.create(root) as wh:
        warehouse(wh.store, known)
    return root


@pytest.fixture(scope="session")
def analysed(unanalysed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[nm.Warehouse]:
    """The planted warehouse with its labels analysed; nobody changes it."""
    root = shutil.copytree(unanalysed, tmp_path_factory.mktemp("analysed") / "wh")
    with nm.open(root) as wh:
        wh.analyze_labels("m", progress=False)
        yield wh
