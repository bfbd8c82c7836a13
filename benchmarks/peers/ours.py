"""NeuronMap SQL: an ingest that keeps what the further arguments name, of a model in memory."""

from __future__ import annotations

import sys

import numpy as np
from harness import Task, Values, measure

import neuronmap_sql as nm
from neuronmap_sql.ingest.models.loaded import LoadedModel
from neuronmap_sql.ingest.models.loading import load as load_model
from neuronmap_sql.ingest.pipeline import ingest
from neuronmap_sql.ingest.settings import (
    BatchSettings,
    DataSettings,
    KeepSettings,
    ModelSettings,
    Recipe,
)
from neuronmap_sql.warehouse.store import Store


def recipe(task: Task) -> Recipe:
    return Recipe(
        ModelSettings(str(task.model), name="gpt2", device="cpu"),
        DataSettings(str(task.folder / "text.jsonl"), name="text"),
        keep=KeepSettings(tables=tuple(sys.argv[3:])),
        batch=BatchSettings(tokens=task.batch_tokens),
    )


def load(task: Task) -> LoadedModel:
    return load_model(recipe(task).model)


def record(model: LoadedModel, task: Task) -> None:
    ingest(recipe(task), Store.create(task.out), loaded=model)


def read(task: Task) -> Values:
    wh = nm.open(task.out)
    ids = wh.sql("SELECT token_id FROM tokens ORDER BY tok").arrow()["token_id"].to_numpy()
    assert np.array_equal(ids, task.tokens.flatten()), "the ingest saw other tokens"
    return np.stack([wh.matrix("gpt2", n)[task.sample] for n in range(task.layers)])


if __name__ == "__main__":
    measure(load, record, read)
