"""`neuronmap models` and `neuronmap layers`: what can be hooked, before anything is run."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import polars as pl
import typer

__all__ = ["app", "layers"]

app = typer.Typer(help="List model families; show what a model is.", invoke_without_command=True)

NameArgument = Annotated[str, typer.Argument(help="Folder, GGUF file or hub id.")]
RevisionOption = Annotated[str, typer.Option(help="Branch, tag or commit.")]
PickleOption = Annotated[bool, typer.Option("--allow-pickle", help="Accept pickled weights.")]
RemoteOption = Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's code.")]


@app.callback()
def list_(context: typer.Context) -> None:
    """List the model families that are mapped; `models show NAME` describes one model."""
    if context.invoked_subcommand is None:
        from neuronmap_sql.ingest.models.families import families

        rows = [
            {"family": f.name, "title": f.title, "model types": ", ".join(f.model_types),
             "sites": ", ".join(s.name for stack in f.stacks for s in stack.sites)}
            for f in families().values()
        ]  # fmt: skip
        _table(rows)


@app.command()
def show(
    name: NameArgument,
    revision: RevisionOption = "",
    check: Annotated[
        bool, typer.Option("--check", help="Say whether it can be had and loaded here.")
    ] = False,
    allow_pickle: PickleOption = False,
    trust_remote_code: RemoteOption = False,
) -> None:
    """Describe a model from its configuration: family, layers, widths, parameters, files."""
    from neuronmap_sql.ingest.models.availability import check as look
    from neuronmap_sql.ingest.models.describe import describe
    from neuronmap_sql.ingest.settings import ModelSettings

    settings = ModelSettings(
        source=name, revision=revision, allow_pickle=allow_pickle,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    if check:
        found = look(settings)
        for line in found.notes:
            typer.echo(line)
        for line in found.problems:
            typer.echo(f"problem: {line}", err=True)
        raise typer.Exit(0 if found.ok else 1)
    info = dataclasses.asdict(describe(settings))
    files, _ = info.pop("files"), info.pop("config")
    for key, value in info.items():
        if value not in (None, ""):
            typer.echo(f"{key:16} {_number(value)}")
    for file, size in files:
        typer.echo(f"{'file':16} {file} ({_number(size)} bytes)")


def layers(
    name: NameArgument,
    revision: RevisionOption = "",
    site: Annotated[str, typer.Option(help="Sites, by commas; default: all of the family.")] = "",
    propose: Annotated[
        bool, typer.Option("--propose", help="Find the map of an unknown model; print it as TOML.")
    ] = False,
    family: Annotated[
        str,
        typer.Option(help="A family's name, your own FILE.toml, or `find`; default: by config."),
    ] = "auto",
    trust_remote_code: RemoteOption = False,
) -> None:
    """List each site's module path and width, layer by layer; no weights are read."""
    from neuronmap_sql.ingest.outline import hooks_of, proposal
    from neuronmap_sql.ingest.settings import ModelSettings

    settings = ModelSettings(
        source=name, revision=revision, family=family, trust_remote_code=trust_remote_code
    )
    if propose:
        typer.echo(proposal(settings))
        return
    wanted = tuple(part.strip() for part in site.split(",") if part.strip())
    columns = ("site", "layer", "module", "capture", "width", "heads", "alias")
    hooks = hooks_of(settings, wanted)
    _table([{c: getattr(hook, c) for c in columns} for hook in hooks])


def _table(rows: list[dict[str, Any]]) -> None:
    with pl.Config(
        tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=120,
        tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True,
        tbl_formatting="UTF8_FULL_CONDENSED",
    ):  # fmt: skip
        typer.echo(str(pl.DataFrame(rows, infer_schema_length=None)))


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
