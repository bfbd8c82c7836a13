"""The public face: a warehouse in Python, over the same library calls as the command line."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import polars as pl

from neuronmap_sql.errors import UnknownNameError
from neuronmap_sql.imports.correlations import CorrelationMatrix, import_correlations
from neuronmap_sql.imports.entering import Imported
from neuronmap_sql.imports.hdf5_reading import VectorFile, import_hdf5
from neuronmap_sql.imports.hdf5_writing import VectorChoice, export_hdf5
from neuronmap_sql.imports.neurons import NeuronTable, import_neurons
from neuronmap_sql.queries.run import run as run_query
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.frames import matrix, table
from neuronmap_sql.warehouse.result import Result, execute
from neuronmap_sql.warehouse.schema import table_names
from neuronmap_sql.warehouse.search import top_tokens
from neuronmap_sql.warehouse.store import Store
from neuronmap_sql.warehouse.verify import Problem, verify
from neuronmap_sql.warehouse.verify import repair as move_aside

if TYPE_CHECKING:
    from neuronmap_sql.analysis.label_run import Analysed
    from neuronmap_sql.ingest.ablation.ablate import Ablated
    from neuronmap_sql.ingest.ablation.settings import Ablation
    from neuronmap_sql.ingest.comparison.settings import Comparison
    from neuronmap_sql.ingest.pipeline import Ingested
    from neuronmap_sql.ingest.settings import Recipe

__all__ = ["Warehouse", "create", "open"]


def open(path: str | Path) -> Warehouse:
    """Open a warehouse that exists.

    Raises:
        StoreError: the folder is not a warehouse.
    """
    return Warehouse(Store.open(path))


def create(path: str | Path) -> Warehouse:
    """Make a warehouse, or open the one that is there.

    Raises:
        UsageError: the folder holds other things.
        StoreError: it cannot be written.
    """
    return Warehouse(Store.create(path))


class Warehouse:
    """A warehouse: ask it with SQL, named queries, frames and matrices; add to it with recipes.

    Several threads may ask at once: each has a connection of its own to the same tables.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._lock = threading.Lock()
        self._con: duckdb.DuckDBPyConnection | None = None
        self._cursors = threading.local()

    @property
    def path(self) -> Path:
        """Folder of the warehouse."""
        return self.store.root

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """This thread's DuckDB connection, with tables, macros and UDFs."""
        if not hasattr(self._cursors, "con"):
            with self._lock:
                if self._con is None:
                    self._con = connect(self.path)
                self._cursors.con = self._con.cursor()
        con: duckdb.DuckDBPyConnection = self._cursors.con
        return con

    def close(self) -> None:
        """Let the connections go; the next question opens new ones."""
        with self._lock:
            if self._con is not None:
                self._con.close()
            self._con, self._cursors = None, threading.local()

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Warehouse({str(self.path)!r}, {len(self.store.run_ids())} runs)"

    def ingest(
        self,
        recipe: str | Path | Recipe,
        *,
        overrides: Mapping[str, Any] | None = None,
        module: Any = None,
        tokenizer: Any = None,
        replace: bool = False,
        with_children: bool = False,
        progress: bool = True,
    ) -> Ingested:
        """Run a recipe and commit what the warehouse lacks; needs torch.

        Args:
            recipe: a TOML file, or settings made in Python.
            overrides: values in place of the file's, by dotted key: `{"model.name": "a"}`.
            module: any PyTorch module that takes token ids [batch, position], recorded in the place
                of what `model.source` names; it stays where it is and as it is.
            tokenizer: the fast tokenizer of transformers that goes with `module`.
            replace: take the place of runs that hold the same names, all at once at the end.
            with_children: let other runs go too that were computed from those.
            progress: show progress on standard error.

        Raises:
            RecipeError, DataError, ModelError, UsageError: see `neuronmap_sql.errors`.
        """
        from neuronmap_sql.ingest.models.loading import given
        from neuronmap_sql.ingest.pipeline import ingest
        from neuronmap_sql.ingest.progress import Reporter
        from neuronmap_sql.ingest.recipe import read_recipe

        if isinstance(recipe, str | Path):
            recipe = read_recipe(Path(recipe), overrides)
        loaded = None if module is None else given(module, recipe.model, tokenizer)
        reporter = Reporter(show=progress)
        done = ingest(
            recipe,
            self.store,
            loaded=loaded,
            replace=replace,
            with_children=with_children,
            reporter=reporter,
        )
        self.close()  # `docs` may have new label columns
        return done

    def import_neurons(
        self,
        path: str | Path,
        *,
        model: str,
        dataset: str,
        site: str = "mlp",
        neurons: int | None = None,
        layers: int | None = None,
        width: int | None = None,
        columns: Mapping[str, str] | None = None,
        partial: bool = False,
        source: str = "",
        replace: bool = False,
    ) -> Imported:
        """Read a published neuron table into `published_neurons`.

        Args:
            path: a CSV file in the schema of the universal-neurons code: layer, neuron, max_corr,
                ..., excess_corr. Empty cells and NaN become NULL.
            model: name for the model that the table is of.
            dataset: name for what the values were measured on.
            site: place of the neurons.
            neurons: how many the model has in all; or say `layers` and `width`, the neurons of one.
            layers: see `neurons`.
            width: see `neurons`.
            columns: names in the file to those of `published_neurons`, where the file has others;
                '' leaves a column out.
            partial: columns of the schema may be missing, and are NULL then.
            source: where the file is from: kept as the run's title.
            replace: take the place of a run that holds the same names.

        Returns:
            The run, and whether it was there before: the same file and names make the same run.

        Raises:
            DataError: file and line of a bad number, or of a column that is unknown or missing.
            UsageError: another run holds the names.
        """
        about = NeuronTable(
            model, dataset, site, neurons, layers, width, dict(columns or {}), partial
        )
        return import_neurons(self.store, Path(path), about, source=source, replace=replace)

    def import_correlations(
        self,
        path: str | Path,
        *,
        model: str,
        partner: str,
        dataset: str,
        site: str = "mlp",
        layers: int | Sequence[int] | None = None,
        partner_layers: int | Sequence[int] | None = None,
        k: int = 10,
        n: int | None = None,
        source: str = "",
        replace: bool = False,
    ) -> Imported:
        """Read a matrix of correlations into `neuron_pairs` and `neuron_matches`, both ways.

        A neuron without any number is `undefined` there. `model_pairs` gets no row, since a matrix
        does not tell what that is about.

        Args:
            path: .csv, .npy, or .pt with one tensor: [neurons of A, neurons of B], layer by layer,
                or [layers, neurons, layers, neurons]. Pickled objects are never loaded.
            model: name of A.
            partner: name of B.
            dataset: name of what both read.
            site: place of the neurons.
            layers: layers of equal width that the rows are cut into, or the width of each; left
                out: one layer, or what the shape says.
            partner_layers: the same of the columns; left out: as the rows.
            k: partners kept of each neuron, by value and by magnitude.
            n: tokens that the correlations are over, if known.
            source: where the file is from: kept as the run's title.
            replace: take the place of a run that holds the same names.

        Raises:
            DataError: the file is no such matrix, would have to be unpickled, or has values
                beyond 1.
            UsageError: the layers do not fit, or another run holds the names.
        """
        about = CorrelationMatrix(
            model, partner, dataset, site, _layers(layers), _layers(partner_layers), k, n
        )
        return import_correlations(self.store, Path(path), about, source=source, replace=replace)

    def import_hdf5(
        self,
        path: str | Path,
        *,
        model: str | None = None,
        dataset: str | None = None,
        site: str | None = None,
        pool: str | None = None,
        source: str = "",
        replace: bool = False,
        with_children: bool = False,
    ) -> Imported:
        """Read pooled vectors in the classic HDF5 layout: `docs`, `vectors` and `vector_stats`.

        A question is a document, `activations/<question>/<layer>/vector` its vector. Statistics
        (mean, std, min, max, sparsity) become columns; other attributes become labels of the
        document, or JSON. Values become 32-bit floats. Documents that the dataset has already are
        joined by their ids. Links, virtual datasets and foreign filters are refused. Needs the
        extra `hdf5`.

        Args:
            path: the file.
            model: name for the model; left out: the file's attribute model_name.
            dataset: name for the documents; left out: the attribute dataset, or the file's name.
            site: one site for all layers; left out: a layer's attribute site, or what is left of
                its name without its number.
            pool: how tokens were pooled: mean, last, first or max; left out: the attribute pool,
                or mean.
            source: where the file is from: kept as the runs' title.
            replace: take the place of runs that hold the same names.
            with_children: let other runs go too that were computed from those.

        Raises:
            DataError: the file is damaged, of another layout, or points to what is not in it.
            UsageError: h5py is not installed, or other runs hold the names.
        """
        about = VectorFile(model, dataset, site, pool)
        done = import_hdf5(
            self.store, Path(path), about,
            source=source, replace=replace, with_children=with_children,
        )  # fmt: skip
        self.close()  # `docs` may have new label columns
        return done

    def export_hdf5(
        self,
        path: str | Path,
        *,
        model: str,
        dataset: str | None = None,
        site: str | None = None,
        pool: str | None = None,
    ) -> int:
        """Write pooled vectors with documents and statistics in the classic HDF5 layout.

        `import_hdf5` reads the same rows from it. Needs the extra `hdf5`.

        Args:
            path: file to write, whole or not at all.
            model: value of the column `model`.
            dataset: needed if the model has vectors on several.
            site: only this one; left out: all.
            pool: needed if there are several.

        Returns:
            Vectors written.

        Raises:
            UnknownNameError: there are no such vectors: keep `vectors`.
            UsageError: several datasets or pools fit; or h5py is not installed.
        """
        return export_hdf5(self.store, Path(path), VectorChoice(model, dataset, site, pool))

    def compare(
        self,
        recipe: str | Path | Comparison,
        *,
        overrides: Mapping[str, Any] | None = None,
        replace: bool = False,
        with_children: bool = False,
        progress: bool = True,
    ) -> Ingested:
        """Compare the neurons of several models and commit what the warehouse lacks; needs torch.

        Args:
            recipe: a TOML file, or settings made in Python.
            overrides: values in place of the file's, by dotted key: `{"keep.top_k": 10}`.
            replace: take the place of runs that hold the same names, all at once at the end.
            with_children: let other runs go too that were computed from those.
            progress: show progress on standard error.

        Raises:
            RecipeError, DataError, ModelError, UsageError: see `neuronmap_sql.errors`.
        """
        from neuronmap_sql.ingest.comparison.compare import compare
        from neuronmap_sql.ingest.comparison.recipe import read_comparison
        from neuronmap_sql.ingest.progress import Reporter

        if isinstance(recipe, str | Path):
            recipe = read_comparison(Path(recipe), overrides)
        done = compare(
            recipe,
            self.store,
            replace=replace,
            with_children=with_children,
            reporter=Reporter(show=progress),
        )
        self.close()  # `docs` may have new label columns
        return done

    def ablate(
        self,
        neurons: str | Path | Ablation,
        data: str | Path | None = None,
        *,
        models: Mapping[str, str] | None = None,
        mode: Literal["zero", "mean", "value"] = "zero",
        value: float | None = None,
        site: str = "mlp",
        together: bool = False,
        controls: int = 3,
        keep_tokens: int = 10,
        limit: int = 0,
        name: str = "",
        seed: int = 0,
        overrides: Mapping[str, Any] | None = None,
        replace: bool = False,
        with_children: bool = False,
        progress: bool = True,
    ) -> Ablated:
        """Replace the activations of neurons, and store what that changes in the predictions.

        The rows of `effects` and `token_effects`: changes of the loss, the entropy and the rank of
        the token that came, and the divergence, each beside those of random neurons. Needs torch.

        Args:
            neurons: SQL that returns model, layer, neuron, and perhaps grp (neurons of one model
                and grp are replaced at once); or the path of a recipe (TOML), beside which only
                `overrides` count, or settings made in Python.
            data: a file of documents, or the name of a dataset in the warehouse.
            models: where to load models from, by name; left out: where table `models` says.
            mode: what activations are replaced with: zero, the neuron's mean over the dataset, or
                `value`.
            value: for the mode `value`.
            site: place of the neurons.
            together: replace all neurons of a model at once.
            controls: random neurons of the same layer for each chosen one.
            keep_tokens: tokens kept a neuron whose loss rises most, and as many where it falls.
            limit: read only the first so many documents; 0: all.
            name: name of the experiment; left out: the mode.
            seed: seed of the random neurons.
            overrides: further keys of the recipe, by dotted key: `{"batch_tokens": 512}`.
            replace: take the place of runs that hold the same names.
            with_children: let other runs go too that were computed from those.
            progress: show progress on standard error.

        Returns:
            The runs, one a model, and which of them were not there before.

        Raises:
            QueryError: the engine refused the SQL.
            UsageError: the SQL does not return neurons; or rows of the same names are there.
            ModelError: a model cannot be loaded, or predicts no next token.
            RecipeError, DataError, UnknownNameError: see `neuronmap_sql.errors`.
        """
        from neuronmap_sql.ingest.ablation.ablate import ablate
        from neuronmap_sql.ingest.ablation.recipe import data_keys, parse_ablation, read_ablation
        from neuronmap_sql.ingest.ablation.sources import source_keys
        from neuronmap_sql.ingest.progress import Reporter

        if isinstance(neurons, Path):
            neurons = read_ablation(neurons, overrides)
        elif isinstance(neurons, str):
            keys = {
                "neurons": neurons, "mode": mode, "value": value, "site": site, "name": name,
                "together": together, "controls": controls, "keep_tokens": keep_tokens,
                "limit": limit, "seed": seed,
                **({} if data is None else data_keys(self.connection, str(data))),
                **source_keys(models or {}), **(overrides or {}),
            }  # fmt: skip
            neurons = parse_ablation({}, "ablate", Path(), keys)
        done = ablate(
            neurons,
            self.store,
            replace=replace,
            with_children=with_children,
            reporter=Reporter(show=progress),
        )
        self.close()  # `docs` may have new label columns
        return done

    def analyze_labels(
        self,
        model: str,
        *,
        dataset: str | None = None,
        site: str = "mlp",
        layers: Sequence[int] | None = None,
        labels: Sequence[str] | None = None,
        lags: Sequence[int] = (0, 1),
        least: int = 10,
        means: int = 10,
        replace: bool = False,
        progress: bool = True,
    ) -> Analysed:
        """Score every neuron against every label of the tokens: `label_scores`, `class_means`.

        The stored values are read once, without the model, in little memory. Scores are those of
        Gurnee et al. 2024, arXiv 2401.12181, section 4.

        Args:
            model: value of the column `model`.
            dataset: needed if the model has values on several datasets.
            site: site.
            layers: layers; all with values, if left out.
            labels: names as `FROM token_labels()` has them, and `word_class`, which needs the
                tagger; by default all but that, and those of documents with over 100 classes.
            lags: 0 for the label of the token itself, 1 for that of the one before, and so on;
                labels of positions and of documents have 0 only.
            least: tokens that a class needs to be named as best or top, or kept with its mean.
            means: classes of a label and neuron kept in `class_means`, at most.
            replace: take the place of the run that holds such rows.
            progress: show progress on standard error.

        Returns:
            The run, and whether it was there before: the same values and labels make the same run.

        Raises:
            UnknownNameError: no such values are stored, or there is no such label.
            UsageError: several datasets fit; or rows of the same names are there.
        """
        from neuronmap_sql.analysis.label_run import analyze_labels
        from neuronmap_sql.analysis.settings import LabelSettings
        from neuronmap_sql.ingest.progress import Reporter

        settings = LabelSettings(
            model, dataset, site, None if layers is None else tuple(layers),
            None if labels is None else tuple(labels), tuple(lags), least, means,
        )  # fmt: skip
        with Reporter(show=progress).counted(f"labels {model}", "neurons") as told:
            return analyze_labels(self.store, settings, replace=replace, progress=told)

    def sql(self, query: str, params: Mapping[str, Any] | Sequence[Any] | None = None) -> Result:
        """Run SQL: `.pl()` polars, `.df()` pandas, `.arrow()` Arrow, `.reader()` in batches.

        Args:
            query: a statement over the tables, macros and UDFs of the warehouse.
            params: values of `$name` or `?` in it.

        Raises:
            QueryError: the engine refused it.
        """
        return execute(self.connection, query, params)

    def query(self, name: str, /, **params: object) -> Result:
        """Run a named query.

        Raises:
            UnknownNameError: no query has that name; or, when the rows are asked for and there
                are none, a model, dataset, site, layer or label is not stored.
            UsageError: a parameter is unknown, missing or of the wrong type.
        """
        return run_query(self.connection, name, **params)

    def table(self, name: str) -> pl.LazyFrame:
        """Return a table as a polars LazyFrame over the Parquet files.

        Raises:
            UnknownNameError: no table has that name.
        """
        return table(self.path, name)

    def tables(self) -> tuple[str, ...]:
        """Return the names of all tables."""
        return table_names()

    def matrix(
        self,
        model: str,
        layer: int,
        *,
        site: str = "mlp",
        dataset: str | None = None,
        kind: Literal["numpy", "torch"] = "numpy",
    ) -> Any:
        """Return all stored values of one site and layer, [tokens, neurons], float16.

        Row i is the token with `tok = i` in table `tokens`; values that were not finite are NaN.
        Where a run keeps `int8` only, a value is off by at most a 451st of the range of its
        neuron's values, and rounded to float16.

        Args:
            model: value of the column `model`.
            layer: layer index.
            site: site.
            dataset: needed if the model has values on several datasets.
            kind: a numpy array, or a torch tensor over the same memory.

        Raises:
            UnknownNameError: nothing is stored there: keep `activations`, `matrices` or `int8`.
            UsageError: several datasets fit.
        """
        values = matrix(self.path, model, layer, site, dataset).values
        if kind == "torch":
            import torch

            return torch.from_numpy(values)
        return values

    def top(
        self,
        model: str,
        layer: int,
        neuron: int,
        k: int = 20,
        *,
        site: str = "mlp",
        side: Literal["highest", "lowest"] = "highest",
        dataset: str | None = None,
    ) -> pl.DataFrame:
        """Return a neuron's highest or lowest values with their tokens in context.

        Args:
            model: value of the column `model`.
            layer: layer index.
            neuron: neuron.
            k: at most as many values of each dataset; the recipe kept `top_k`.
            site: site.
            side: the largest values, or the smallest.
            dataset: only this one; all, if left out.

        Returns:
            Columns dataset, rank, value, token, context, doc_id, doc, pos, tok; the token in the
            context stands in [[ ]].

        Raises:
            UnknownNameError: no such model or neuron is stored.
            QueryError: there is no such side.
        """
        found = self.sql(
            "FROM top_tokens($model, $layer, $neuron, k := $k, site := $site, side := $side,"
            " dataset := $dataset)",
            {"model": model, "layer": layer, "neuron": neuron, "k": k, "site": site,
             "side": side, "dataset": dataset},
        ).pl()  # fmt: skip
        if found.is_empty() and k > 0:
            self._refuse_unknown(model, f"{site} {layer}/{neuron}")
        return found

    def top_values(
        self,
        model: str,
        layer: int,
        neurons: int | Sequence[int],
        k: int = 20,
        *,
        site: str = "mlp",
        side: Literal["highest", "lowest"] = "highest",
        combine: Literal["sum", "min"] = "sum",
        dataset: str | None = None,
    ) -> pl.DataFrame:
        """Return the exact top k of the stored values, for any k, with tokens in context.

        Blocks are read in the order of their largest (smallest) values, and only until the rest
        cannot matter: at most k of one neuron. Where `activations` are not kept, codes (`int8`)
        leave candidates, which are checked against `matrices` of the same run; without those the
        answer is approximate, and says so.

        Args:
            model: value of the column `model`.
            layer: layer index.
            neurons: one neuron, or several of the layer, which are taken together.
            k: at most as many tokens of each dataset.
            site: site.
            side: the largest values, or the smallest.
            combine: the sum of several neurons' values, or `min`: the least, so that all fire.
            dataset: only this one; all, if left out.

        Returns:
            Columns dataset, rank, value, error, token, context, doc_id, doc, pos, tok, blocks_read
            and blocks, of which there are; ties go to the earlier token. An `error` above 0 is the
            most that the values are off, and that ranks are mistaken by twice.

        Raises:
            UnknownNameError: no such values are stored: keep `activations` or `int8`.
            UsageError: there is no such side, or no such way to combine.
        """
        top_tokens(self.path, model, site, layer, _listed(neurons), 0, side, combine, dataset)
        return self.sql(
            "FROM py.top_values($model, $layer, $neurons, k := $k, side := $side,"
            " combine := $combine, site := $site, dataset := $dataset)",
            {"model": model, "layer": layer, "neurons": _listed(neurons), "k": k, "side": side,
             "combine": combine, "site": site, "dataset": dataset},
        ).pl()  # fmt: skip

    def nearest(
        self,
        model: str,
        layer: int,
        neurons: int | Sequence[int],
        doc: int,
        pos: int,
        k: int = 20,
        *,
        site: str = "mlp",
        metric: Literal["l2", "cosine"] = "l2",
        dataset: str | None = None,
    ) -> pl.DataFrame:
        """Return the tokens at which some neurons' stored values are nearest to a token's.

        Args:
            model: value of the column `model`.
            layer: layer index.
            neurons: the neurons of the layer that are compared.
            doc: document of the token, value of the column `doc`.
            pos: its position there, value of the column `pos`.
            k: at most as many tokens.
            site: site.
            metric: Euclidean distance, or 1 less the cosine.
            dataset: needed if the model has values on several datasets with such a document.

        Returns:
            Columns dataset, rank, distance, error, token, context, doc_id, doc, pos, tok,
            blocks_read and blocks; the token itself is left out, and ties go to the earlier token.
            `error` is that of `top_values`.

        Raises:
            UnknownNameError: no such values, or no such token, are stored.
            UsageError: there is no such metric.
        """
        top_tokens(self.path, model, site, layer, _listed(neurons), 0, dataset=dataset)
        found = self.sql(
            "FROM py.nearest($model, $layer, $neurons, $doc, $pos, k := $k, metric := $metric,"
            " site := $site, dataset := $dataset)",
            {"model": model, "layer": layer, "neurons": _listed(neurons), "doc": doc, "pos": pos,
             "k": k, "metric": metric, "site": site, "dataset": dataset},
        ).pl()  # fmt: skip
        if found.is_empty() and k > 0:
            raise UnknownNameError(
                f"no stored values at doc {doc}, pos {pos}: `FROM prompt({doc})` lists the tokens"
            )
        return found

    def verify(self, *, repair: bool = False) -> list[Problem]:
        """Check that the warehouse is what was written into it: every file, checksum and key.

        Args:
            repair: move what is damaged into `damaged/`; nothing is deleted.

        Returns:
            What is wrong now (after the repair, if so wanted); empty if all is well.
        """
        found = verify(self.store)
        if repair and found:
            move_aside(self.store, found)
            found = verify(self.store)
        return found

    def _refuse_unknown(self, model: str, neuron: str) -> None:
        """Say whether the model or the neuron of it has no stored values."""
        rows = self.sql("SELECT DISTINCT model FROM top_activations").fetchall()
        known = [row[0] for row in rows]
        if model not in known:
            raise UnknownNameError.of("stored model", model, known)
        raise UnknownNameError(
            f"no top activations of {model} {neuron} are stored: `SELECT DISTINCT dataset, site,"
            " layer FROM top_activations` says what is; `--keep top` keeps them"
        )


def _listed(neurons: int | Sequence[int]) -> list[int]:
    return [neurons] if isinstance(neurons, int) else list(neurons)


def _layers(layers: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
    return layers if layers is None or isinstance(layers, int) else tuple(layers)
