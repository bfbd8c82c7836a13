"""`neuronmap import` and `neuronmap export`: files of others, and for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from neuronmap_sql.api import create
from neuronmap_sql.cli.common import (
    ReplaceOption,
    ToOption,
    WarehouseOption,
    WithChildrenOption,
    opened,
)
from neuronmap_sql.errors import UsageError
from neuronmap_sql.imports.entering import Imported

__all__ = ["exports", "imports"]

imports = typer.Typer(
    help="Read what others computed: neuron tables, correlations, pooled vectors.",
    no_args_is_help=True,
)
exports = typer.Typer(help="Write files that other tools read.", no_args_is_help=True)

_Source = Annotated[str, typer.Option(help="Where the file is from: title of the run.")]
_Model = Annotated[str, typer.Option(help="Name for the model.")]
_Dataset = Annotated[str, typer.Option(help="Name for what it read.")]
_Site = Annotated[str, typer.Option(help="Place of the neurons.")]


@imports.command()
def neurons(
    file: Annotated[Path, typer.Argument(help="CSV file, a neuron a line.")],
    model: _Model,
    dataset: _Dataset,
    to: ToOption = None,
    site: _Site = "mlp",
    neurons: Annotated[
        int | None, typer.Option(help="Neurons of the model in all, for shares.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Layers of the model, with --width in place of --neurons.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Neurons of a layer.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="theirs=ours: a column's name in the file and in published_neurons;"
                     " theirs= leaves it out. Repeatable."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Columns that the file lacks are NULL.")
    ] = False,
    source: _Source = "",
    replace: ReplaceOption = False,
) -> None:  # fmt: skip
    """Import a published neuron table, in the schema of the universal-neurons code."""
    columns = dict(_pair(text) for text in column or [])
    with create(_warehouse(to)) as wh:
        _say(
            wh.import_neurons(
                file, model=model, dataset=dataset, site=site, neurons=neurons, layers=layers,
                width=width, columns=columns, partial=partial, source=source, replace=replace,
            )
        )  # fmt: skip


@imports.command()
def correlations(
    file: Annotated[Path, typer.Argument(help="Matrix: .csv, .npy, or .pt with one tensor.")],
    model: Annotated[str, typer.Option(help="Name for the model of the rows.")],
    partner: Annotated[str, typer.Option(help="Name for the model of the columns.")],
    dataset: _Dataset,
    to: ToOption = None,
    site: _Site = "mlp",
    layers: Annotated[
        int | None, typer.Option(help="Layers of equal width that the rows are cut into.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(help="Neurons of each layer, by commas, in place of --layers.")
    ] = None,
    partner_layers: Annotated[
        int | None, typer.Option(help="Layers of the columns; left out: as the rows.")
    ] = None,
    partner_widths: Annotated[
        str | None, typer.Option(help="Neurons of each layer of the columns, by commas.")
    ] = None,
    k: Annotated[
        int, typer.Option("-k", help="Partners of each neuron, by value and by magnitude.")
    ] = 10,
    n: Annotated[
        int | None, typer.Option("-n", help="Tokens that the correlations are over.")
    ] = None,
    source: _Source = "",
    replace: ReplaceOption = False,
) -> None:
    """Import correlations between the neurons of two models, as best partners both ways."""
    with create(_warehouse(to)) as wh:
        _say(
            wh.import_correlations(
                file, model=model, partner=partner, dataset=dataset, site=site, k=k, n=n,
                layers=_cut("layers", layers, widths),
                partner_layers=_cut("partner-layers", partner_layers, partner_widths),
                source=source, replace=replace,
            )
        )  # fmt: skip


@imports.command("hdf5")
def import_hdf5(
    file: Annotated[Path, typer.Argument(help="HDF5 file in the classic layout.")],
    to: ToOption = None,
    model: Annotated[
        str | None, typer.Option(help="Name for the model; left out: attribute model_name.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Name for the documents; left out: attribute dataset, or the file's."),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(help="One site for all; left out: the layers' attribute, or their names."),
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="mean, last, first or max; left out: attribute pool, or mean."),
    ] = None,
    source: _Source = "",
    replace: ReplaceOption = False,
    with_children: WithChildrenOption = False,
) -> None:
    """Import pooled vectors: activations/QUESTION/LAYER/vector, with attributes and texts."""
    with create(_warehouse(to)) as wh:
        _say(
            wh.import_hdf5(
                file, model=model, dataset=dataset, site=site, pool=pool, source=source,
                replace=replace, with_children=with_children,
            )
        )  # fmt: skip


@exports.command("hdf5")
def export_hdf5(
    file: Annotated[Path, typer.Argument(help="File to write.")],
    model: Annotated[str, typer.Option(help="Model.")],
    warehouse: WarehouseOption = Path(),
    dataset: Annotated[
        str | None, typer.Option(help="Dataset; needed if there are several.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Site; left out: all.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool; needed if there are several.")] = None,
) -> None:
    """Export pooled vectors with texts, labels and statistics, in the classic layout."""
    with opened(warehouse) as wh:
        count = wh.export_hdf5(file, model=model, dataset=dataset, site=site, pool=pool)
        typer.echo(f"{file}\t{count} vectors")


def _warehouse(to: Path | None) -> Path:
    if to is None:
        raise UsageError("say which warehouse: --to FOLDER, or set NEURONMAP_WAREHOUSE")
    return to


def _pair(text: str) -> tuple[str, str]:
    theirs, sign, ours = text.partition("=")
    if not sign:
        raise UsageError(f"--column {text}: write theirs=ours")
    return theirs, ours


def _cut(name: str, layers: int | None, widths: str | None) -> int | tuple[int, ...] | None:
    if widths is None:
        return layers
    option = f"--{name.replace('layers', 'widths')}"
    if layers is not None:
        raise UsageError(f"--{name} and {option} say the same in two ways: leave one out")
    try:
        return tuple(int(width) for width in widths.split(","))
    except ValueError:
        raise UsageError(f"{option} {widths}: write whole numbers, parted by commas") from None


def _say(done: Imported) -> None:
    for note in done.notes:
        typer.echo(note, err=True)
    for run in done.runs:
        typer.echo(f"{run}\t{'made' if run in done.made else 'was there'}")
