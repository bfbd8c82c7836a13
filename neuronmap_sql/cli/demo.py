"""`neuronmap demo`: real trained models over real text, then some answers and a picture."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.api import Warehouse, create
from neuronmap_sql.cli.output import Format, emit
from neuronmap_sql.content import folder

__all__ = ["demo"]

_CHECKPOINT = "step400"
_QUESTIONS: tuple[tuple[str, dict[str, object]], ...] = (
    ("layer_profile", {"model": "demo-a"}),
    ("checkpoint_drift", {"name": "demo-a"}),
    ("neurons_of_pattern", {"model": "demo-a", "pattern": r"^\s*[0-9]+$", "k": 8}),
    ("label_differences", {"model": "demo-a", "label": "source", "a": "sqlite-docs",
                           "b": "king-james", "k": 8}),
    ("one_token_neurons", {"model": "demo-a", "k": 8}),
)  # fmt: skip


def demo(
    to: Annotated[Path, typer.Argument(help="Warehouse to make, or to complete.")] = Path(
        "demo.warehouse"
    ),
    limit: Annotated[int, typer.Option(min=0, help="Read so many documents; 0: all.")] = 0,
) -> None:
    """Ingest the demo models over the demo text, ask some questions, and draw a neuron."""
    began = time.monotonic()
    with create(to) as wh:
        recipe = folder("ingest") / "demo.toml"
        chosen: dict[str, object] = {"data.limit": limit}
        wh.ingest(recipe, overrides=_model("demo-a") | chosen)
        chosen["keep.tables"] = ["stats", "top", "samples", "weights"]
        wh.ingest(recipe, overrides=_model("demo-b") | chosen)
        early = _model(f"demo-a-{_CHECKPOINT}")
        early |= {"model.name": "demo-a", "model.revision": _CHECKPOINT}
        wh.ingest(recipe, overrides=early | chosen | {"keep.tables": ["stats"]})
        for name, values in _QUESTIONS:
            said = " ".join(f"--param {key}='{value}'" for key, value in values.items())
            typer.echo(f"\n$ neuronmap query {name} {said} -w {to}")
            emit(wh.query(name, **values), Format.table)
        _draw(wh)
        typer.echo(_next(to), err=True)
        typer.echo(f"{wh!r}: {time.monotonic() - began:.0f} s in all", err=True)


def _model(name: str) -> dict[str, object]:
    return {"model.source": str(folder("demo") / "models" / name), "model.name": name}


def _draw(wh: Warehouse) -> None:
    """Draw the neuron that is keenest on numbers."""
    from neuronmap_sql.plots.neuron import neuron_chart  # late: altair takes a second
    from neuronmap_sql.plots.save import save

    found = wh.query("neurons_of_pattern", model="demo-a", pattern=r"^\s*[0-9]+$", k=1).pl()
    layer, neuron = found.row(0, named=True)["layer"], found.row(0, named=True)["neuron"]
    chart = neuron_chart(wh.connection, "demo-a", layer, neuron)
    for ending in ("png", "html"):
        typer.echo(save(chart, wh.path / "plots" / f"demo-a-{layer}-{neuron}.{ending}"))


def _next(to: Path) -> str:
    return f"""
Go on with:
  neuronmap shell -w {to}                     the tables in a DuckDB shell
  neuronmap queries                           all named queries
  neuronmap sql "FROM top_tokens('demo-a', 2, 7)" -w {to}
  neuronmap plot model demo-a -o model.html -w {to}
  neuronmap ingest --model FOLDER --data TEXT.jsonl --to {to}    your own model and text"""
