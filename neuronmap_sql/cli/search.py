"""`neuronmap top` and `nearest`: exact searches over stored values, without the model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from neuronmap_sql.cli.common import WarehouseOption, opened
from neuronmap_sql.cli.output import FileFormatOption, OutputOption, emit
from neuronmap_sql.errors import UsageError

__all__ = ["nearest", "top"]

ModelArgument = Annotated[str, typer.Argument(help="Value of the column `model`.")]
LayerArgument = Annotated[int, typer.Argument(help="Layer index, from 0.")]
NeuronsArgument = Annotated[str, typer.Argument(help="A neuron, or several: 7 or 7,12,40.")]
CountOption = Annotated[int, typer.Option("--count", "-k", min=1, help="Tokens of each dataset.")]
SiteOption = Annotated[str, typer.Option(help="Hooked place.")]
DatasetOption = Annotated[str | None, typer.Option(help="Only this dataset.")]


class Side(StrEnum):
    """Which end of the values."""

    highest = "highest"
    lowest = "lowest"


class Combine(StrEnum):
    """How the values of several neurons make one."""

    sum = "sum"
    min = "min"


class Metric(StrEnum):
    """How far two tokens are apart."""

    l2 = "l2"
    cosine = "cosine"


def top(
    model: ModelArgument,
    layer: LayerArgument,
    neurons: NeuronsArgument,
    count: CountOption = 20,
    side: Annotated[Side, typer.Option(help="The highest values, or the lowest.")] = Side.highest,
    combine: Annotated[
        Combine, typer.Option(help="Several neurons: the sum, or the least.")
    ] = Combine.sum,
    site: SiteOption = "mlp",
    dataset: DatasetOption = None,
    warehouse: WarehouseOption = Path(),
    form: FileFormatOption = None,
    output: OutputOption = None,
) -> None:
    """Print the tokens with the highest (or lowest) stored values: exact, for any k.

    Where a run keeps int8 and neither activations nor matrices, the column `error` says how far off
    they may be.
    """
    with opened(warehouse) as wh:
        found = wh.top_values(
            model, layer, _numbers(neurons), count,
            site=site, side=side.value, combine=combine.value, dataset=dataset,
        )  # fmt: skip
        emit(found.to_arrow(), form, output)
        _say_how_exact(found)


def nearest(
    model: ModelArgument,
    layer: LayerArgument,
    neurons: NeuronsArgument,
    doc: Annotated[int, typer.Argument(help="Document of the token, value of `doc`.")],
    pos: Annotated[int, typer.Argument(help="Position of the token there, value of `pos`.")],
    count: CountOption = 20,
    metric: Annotated[Metric, typer.Option(help="Distance of the values.")] = Metric.l2,
    site: SiteOption = "mlp",
    dataset: DatasetOption = None,
    warehouse: WarehouseOption = Path(),
    form: FileFormatOption = None,
    output: OutputOption = None,
) -> None:
    """Print the tokens whose stored values in some neurons are nearest to a token's."""
    with opened(warehouse) as wh:
        found = wh.nearest(
            model, layer, _numbers(neurons), doc, pos, count,
            site=site, metric=metric.value, dataset=dataset,
        )  # fmt: skip
        emit(found.to_arrow(), form, output)
        _say_how_exact(found)


def _say_how_exact(found: pl.DataFrame) -> None:
    error = max(found["error"].to_list(), default=0.0)
    if error:
        typer.echo(
            f"approximate: decoded from int8, off by at most {error:.3g}; keep activations, or"
            " matrices beside int8, for exact answers",
            err=True,
        )


def _numbers(neurons: str) -> list[int]:
    try:
        return [int(part) for part in neurons.split(",")]
    except ValueError:
        raise UsageError(f"neurons are numbers: 7 or 7,12,40, not {neurons!r}") from None
