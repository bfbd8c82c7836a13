"""Options of commands about a comparison of models."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "ComparedModelArgument",
    "ComparedSiteOption",
    "KindOption",
    "PartnerOption",
    "ThresholdOption",
]

ComparedModelArgument = Annotated[
    str | None,
    typer.Argument(help="Value of the column `model`; left out: the first that is no checkpoint."),
]
PartnerOption = Annotated[
    list[str] | None,
    typer.Option(help="A model to compare it with; left out: all. Repeatable."),
]
KindOption = Annotated[
    str | None,
    typer.Option(
        help="Baseline: gaussian, orthogonal or standardised; left out: the last, where stored."
    ),
]
ThresholdOption = Annotated[
    float, typer.Option(help="Excess correlation from which a neuron counts as universal.")
]
ComparedSiteOption = Annotated[
    str | None, typer.Option(help="Hooked place; left out: the only one compared, or mlp.")
]
