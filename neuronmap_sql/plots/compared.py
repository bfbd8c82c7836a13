"""Which comparison a picture or a report is about: models, dataset, site and baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError, UsageError
from neuronmap_sql.queries.run import run

__all__ = ["Compared", "compared"]

_WAY_OUT = "`neuronmap compare` makes one"
_PREFERRED = "standardised"
"""Baseline taken where none is named: the others miss matches among neurons of large variance."""


@dataclass(frozen=True)
class Compared:
    """Models beside each other on one dataset; numbers of each are means over the others."""

    model: str
    """The model that pictures of one model show."""
    models: tuple[str, ...]
    """All of them, it among them; checkpoints in the order of training."""
    dataset: str
    """Dataset that all read."""
    site: str
    """Hooked place of the model."""
    sites: str | None
    """The same where all models have it; None where a family calls it otherwise."""
    kind: str
    """Random basis of the baseline: gaussian, orthogonal or standardised."""
    n: int | None
    """Tokens or spans compared; None where imported results do not say."""
    runs: tuple[str, ...]
    """Runs that wrote the rows."""

    @property
    def partners(self) -> list[str]:
        """The models without `model`."""
        return [model for model in self.models if model != self.model]

    @property
    def given(self) -> dict[str, Any]:
        """Parameters of queries over all models."""
        return {
            "models": list(self.models),
            "kind": self.kind,
            "site": self.sites,
            "dataset": self.dataset,
        }

    @property
    def said(self) -> str:
        """What was compared, in words."""
        units = "" if self.n is None else f"{self.n:,} tokens of "
        return f"{len(self.models)} models, {self.site}, {units}{self.dataset}"


def compared(
    con: duckdb.DuckDBPyConnection,
    model: str | None = None,
    partners: Sequence[str] = (),
    *,
    kind: str | None = None,
    site: str | None = None,
    dataset: str | None = None,
) -> Compared:
    """Find the comparison that is meant.

    Args:
        con: a connection with the warehouse's tables.
        model: value of the column `model`; None: the first that is no checkpoint.
        partners: models to compare it with; none: all that it was compared with.
        kind: random basis of the baseline; None: standardised where stored, else what is.
        site: hooked place of the model; None: the only one, or mlp.
        dataset: needed if models were compared on several.

    Raises:
        UnknownNameError: the model or a partner was not compared, or beside no such baseline.
        UsageError: no comparison or no baseline is stored, or several datasets and none is named.
    """
    rows = run(con, "compared_models").pl()
    if rows.is_empty():
        raise UsageError(f"no comparison of models is stored: {_WAY_OUT}")
    rows = rows.filter(pl.col("dataset") == _dataset(rows, dataset))
    mine = _at(_model(rows, model), site)
    rows = _beside(rows, mine, {mine["model"], *_partners(mine, partners)})
    sites = rows["site"].unique().to_list()
    return Compared(
        model=mine["model"],
        models=tuple(rows["model"]),
        dataset=mine["dataset"],
        site=mine["site"],
        sites=sites[0] if len(sites) == 1 else None,
        kind=_kind(mine, kind),
        n=mine["n"],
        runs=tuple(sorted({name for names in rows["runs"] for name in names})),
    )


def _dataset(rows: pl.DataFrame, dataset: str | None) -> str:
    found = rows["dataset"].unique().sort().to_list()
    if dataset is None and len(found) > 1:
        raise UsageError(f"models were compared on {', '.join(found)}: name the dataset")
    if dataset is not None and dataset not in found:
        raise UnknownNameError.of("dataset", dataset, found, "models were compared on")
    return dataset or str(found[0])


def _model(rows: pl.DataFrame, model: str | None) -> pl.DataFrame:
    """Return the rows of the model, one a site."""
    if model is None:
        final = rows.filter(pl.col("step").is_null())
        model = str((rows if final.is_empty() else final)["model"][0])
    if model not in rows["model"]:
        raise UnknownNameError.of("model", model, rows["model"], "among those compared")
    return rows.filter(pl.col("model") == model)


def _at(mine: pl.DataFrame, site: str | None) -> dict[str, Any]:
    """Return the row of the site that is meant: the only one, or mlp."""
    found = mine["site"].to_list()
    if site is None:
        site = found[0] if len(found) == 1 else "mlp"
    if site not in found:
        raise UnknownNameError.of("site", site, found, f"{mine['model'][0]} was compared at")
    return mine.row(by_predicate=pl.col("site") == site, named=True)


def _beside(rows: pl.DataFrame, mine: dict[str, Any], wanted: set[str]) -> pl.DataFrame:
    """Return a row for each model: of the same site, or of its own where that has another name."""
    same = pl.col("site") == mine["site"]
    ordered = rows.filter(pl.col("model").is_in(wanted)).with_row_index("order").sort(~same)
    return ordered.unique("model", keep="first", maintain_order=True).sort("order")


def _partners(mine: dict[str, Any], partners: Sequence[str]) -> Sequence[str]:
    for partner in partners:
        if partner not in mine["partners"]:
            hint = f"among those that {mine['model']} was compared with"
            raise UnknownNameError.of("model", partner, mine["partners"], hint)
    return partners or mine["partners"]


def _kind(mine: dict[str, Any], kind: str | None) -> str:
    kinds = mine["kinds"]
    if not kinds:
        raise UsageError(
            f"no baselines of {mine['model']} are stored, only correlations: {_WAY_OUT} with them"
        )
    if kind is None:
        return _PREFERRED if _PREFERRED in kinds else str(kinds[0])
    if kind not in kinds:
        raise UnknownNameError.of("baseline", kind, kinds, "`keep.baselines` of a comparison")
    return kind
