"""An empty warehouse for each test: a copy, because the engine takes longer to make one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import neuronmap_sql as nm


@pytest.fixture(scope="session")
def _empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nm.create(tmp_path_factory.mktemp("empty") / "wh").path


@pytest.fixture
def wh(_empty: Path, tmp_path: Path) -> nm.Warehouse:
    return nm.open(shutil.copytree(_empty, tmp_path / "wh"))
