"""Files made to harm: nothing is run, nothing else is read, nothing is written elsewhere."""

from __future__ import annotations

import os
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from classic_files import LAYERS, bare, classic
from published_tables import PUBLISHED, changed, place

import neuronmap_sql as nm
from neuronmap_sql.errors import DataError, UsageError

ABOUT: dict[str, Any] = {"model": "m", "dataset": "d"}
PAIR: dict[str, Any] = {"model": "a", "partner": "b", "dataset": "d"}


class Bomb:
    """An object whose pickle runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# tables


def test_a_formula_is_text_and_no_number(wh: nm.Warehouse, tmp_path: Path) -> None:
    formula = "=cmd|' /C calc'!A0"
    path = changed(tmp_path / "f.csv", lambda c: c[3].__setitem__(place("kurt"), formula))
    with pytest.raises(DataError, match=r"f.csv:4, column kurt: .*calc.* is no finite number"):
        wh.import_neurons(path, **ABOUT)
    path = changed(tmp_path / "g.csv", lambda c: c[0].__setitem__(place("kurt"), formula))
    with pytest.raises(DataError, match=r"g.csv:1: unknown column \"=cmd"):
        wh.import_neurons(path, **ABOUT)


@pytest.mark.parametrize(
    "text",
    [
        "layer,neuron," + "x," * 1_000_000 + "\n",
        "x" * 50_000_000,
        PUBLISHED.read_text() + '"' + "1" * 10_000_000,
        "layer,neuron," + "9" * 10_000_000,
    ],
    ids=["columns", "line", "cell", "header"],
)
def test_endless_lines_end(wh: nm.Warehouse, tmp_path: Path, text: str) -> None:
    path = tmp_path / "long.csv"
    path.write_text(text)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"long.csv:\d+: the line has more than 65,536 bytes"):
            wh.import_neurons(path, **ABOUT)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"layer,neuron\xff\n", "bad.csv:1: not valid UTF-8"),
        (b"layer,neuron\n0,\x00\n", "bad.csv:1: no column|bad.csv:2: has a NUL"),
        (b'layer,"neuron\n', "bad.csv:1: not valid CSV"),
        (b"\xff\xfel\0a\0", "not valid UTF-8"),
        (b"", "no column 'layer'"),
    ],
)
def test_what_is_no_text_is_refused(
    wh: nm.Warehouse, tmp_path: Path, raw: bytes, message: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(raw)
    with pytest.raises(DataError, match=message):
        wh.import_neurons(tmp_path / "bad.csv", **ABOUT)


def test_messages_show_little_and_obey_nothing(wh: nm.Warehouse, tmp_path: Path) -> None:
    """A cell may hold what terminals take for commands, or be long."""
    (tmp_path / "c.csv").write_text("layer,neuron,\x1b[2J" + "y" * 5000 + "\n")
    with pytest.raises(DataError) as caught:
        wh.import_neurons(tmp_path / "c.csv", **ABOUT)
    assert "\\x1b[2J" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_what_is_no_file_is_refused(wh: nm.Warehouse, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path):
        with pytest.raises(DataError, match="is no regular file"):
            wh.import_neurons(path, **ABOUT)
    for call in (wh.import_neurons, wh.import_hdf5):
        with pytest.raises(DataError, match="no such file"):
            call(tmp_path / "none.csv", **ABOUT)


def test_names_stay_in_the_warehouse(wh: nm.Warehouse, tmp_path: Path) -> None:
    outside = tree(tmp_path) - tree(wh.path)
    names = {"model": "../../up", "dataset": "/etc/x", "site": ".."}
    wh.import_neurons(PUBLISHED, **names)
    h5 = bare(tmp_path / "n.h5", layer_0=[1.0])
    wh.import_hdf5(h5, **names)
    np.save(tmp_path / "r.npy", np.eye(2))
    wh.import_correlations(tmp_path / "r.npy", **names, partner="%2e%2e")
    for table in ("published_neurons", "vectors", "neuron_pairs"):
        rows = wh.sql(f"SELECT DISTINCT dataset, site FROM {table}").fetchall()
        assert rows == [("/etc/x", "..")]
    assert tree(tmp_path) - tree(wh.path) == outside | {h5, tmp_path / "r.npy"}
    assert wh.verify() == []


@pytest.mark.parametrize("name", ["", " a", "null", "a\0b", "a\nb", "x" * 300])
def test_names_that_cannot_be_keys_are_refused(wh: nm.Warehouse, tmp_path: Path, name: str) -> None:
    for about in ({"model": name}, {"dataset": name}, {"site": name}):
        with pytest.raises(UsageError):
            wh.import_neurons(PUBLISHED, **{**ABOUT, **about})
    with pytest.raises(UsageError):
        wh.import_correlations(PUBLISHED, **PAIR | {"partner": name})


# matrices


def test_pickles_are_never_loaded(wh: nm.Warehouse, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    raw = pickle.dumps(Bomb(mark))
    pickle.loads(raw)
    mark.rmdir()  # the control: it does run
    for ending in (".npy", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".csv", ".bin"):
        path = tmp_path / f"r{ending}"
        path.write_bytes(raw)
        with pytest.raises(DataError):
            wh.import_correlations(path, **PAIR)
    torch.save({"r": torch.eye(2), "x": Bomb(mark)}, tmp_path / "t.pt")
    np.save(tmp_path / "o.npy", np.array([Bomb(mark)]), allow_pickle=True)
    for path in (tmp_path / "t.pt", tmp_path / "o.npy", tmp_path / "r.pkl"):
        with pytest.raises(DataError, match="can run any code that its author put there"):
            wh.import_correlations(path, **PAIR)
    assert not mark.exists()


def expanded(path: Path) -> None:
    torch.save(torch.zeros(1).expand(10**6, 10**6), path)


def truncated(path: Path) -> None:
    torch.save(torch.eye(100), path)
    path.write_bytes(path.read_bytes()[:-500])


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("../../evil", "x")


def packed(path: Path) -> None:
    """What torch.save writes, deflated: a matrix of zeros takes a thousandth of its bytes."""
    torch.save(torch.zeros(1000, 1000), path)
    with zipfile.ZipFile(path) as plain:
        members = {each.filename: plain.read(each) for each in plain.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, raw in members.items():
            made.writestr(name, raw)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (expanded, "declares 1,000,000,000,000 values, and does not hold as many"),
        (truncated, "is no file of torch.save"),
        (zipped, "is no file of torch.save"),
        (packed, "its members are packed"),
        (lambda path: torch.save([torch.eye(2)], path), "holds list, not a dense tensor"),
        (lambda path: torch.save({"a": torch.eye(2), "b": 1}, path), r"holds 2 things"),
        (lambda path: torch.save({"a": "text"}, path), "holds str, not a dense tensor"),
        (lambda path: torch.save(torch.eye(2).to_sparse(), path), "holds Tensor, not a dense"),
        (lambda path: torch.save(torch.eye(2).int(), path), "torch.int32, not correlations"),
        (lambda path: torch.save(torch.eye(2).to(torch.complex64), path), "not correlations"),
    ],
)  # fmt: skip
def test_strange_tensors_are_refused(
    wh: nm.Warehouse, tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    before = tree(tmp_path)
    make(tmp_path / "r.pt")
    with pytest.raises(DataError, match=message):
        wh.import_correlations(tmp_path / "r.pt", **PAIR)
    assert tree(tmp_path) == before | {tmp_path / "r.pt"}


def test_an_array_that_claims_more_than_it_holds_is_refused(
    wh: nm.Warehouse, tmp_path: Path
) -> None:
    path = tmp_path / "r.npy"
    np.save(path, np.eye(2))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"(2, 2), }            ", b"(2000000, 2000000), }"))
    assert path.read_bytes() != raw
    with pytest.raises(DataError, match=r"is no whole \.npy file"):
        wh.import_correlations(path, **PAIR)


# HDF5


VECTOR = f"activations/question_0/{LAYERS[0]}/vector"


def replaced(path: Path, name: str, thing: Any) -> Path:
    """A classic file in which something else is in a place."""
    with h5py.File(classic(path), "a") as file:
        if name in file:
            del file[name]
        file[name] = thing
    return path


EXTERNAL = h5py.ExternalLink("secret.h5", "/activations")


@pytest.mark.parametrize(
    ("place", "link", "kind"),
    [
        ("activations", EXTERNAL, "an external link"),
        ("activations/question_0", EXTERNAL, "an external link"),
        (f"activations/question_0/{LAYERS[0]}", EXTERNAL, "an external link"),
        (VECTOR, EXTERNAL, "an external link"),
        ("questions/question_0", EXTERNAL, "an external link"),
        ("other", EXTERNAL, "an external link"),
        ("questions", h5py.SoftLink("/activations/question_1"), "a soft link"),
        (VECTOR, h5py.SoftLink("/nowhere"), "a soft link"),
    ],
)
def test_links_are_refused(
    wh: nm.Warehouse, tmp_path: Path, place: str, link: Any, kind: str
) -> None:
    classic(tmp_path / "secret.h5")
    path = replaced(tmp_path / "h.h5", place, link)
    with pytest.raises(DataError, match=f"is {kind}, and links are not followed"):
        wh.import_hdf5(path)
    assert wh.store.run_ids() == wh.store.unfinished() == ()


def virtual(file: Any, name: str) -> None:
    layout = h5py.VirtualLayout(shape=(5,), dtype="f8")
    layout[:] = h5py.VirtualSource("secret.h5", VECTOR, shape=(5,))
    file.create_virtual_dataset(name, layout)


def external(file: Any, name: str) -> None:
    file.create_dataset(name, shape=(5,), dtype="f8", external=[("/etc/hostname", 0, 40)])


def plugin(file: Any, name: str) -> None:
    """Packed by a filter that HDF5 would look for among libraries to load."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((5,))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((5,))
    group = file.require_group(name.rpartition("/")[0])
    h5py.h5d.create(group.id, b"vector", h5py.h5t.NATIVE_DOUBLE, space, made)


def references(file: Any, name: str) -> None:
    file.create_dataset(name, data=[file.ref], dtype=h5py.ref_dtype)


def empty(file: Any, name: str) -> None:
    """A few bytes that claim 128 GB."""
    file.create_dataset(name, shape=(2**34,), dtype="f8", chunks=(1024,))


def unwritten(file: Any, name: str) -> None:
    file.create_dataset(name, shape=(2**20,), dtype="f8", chunks=(1024,))


def large_chunk(file: Any, name: str) -> None:
    made = file.create_dataset(name, (4,), "f8", maxshape=(None,), chunks=(2**26,))
    made.attrs["x"] = 1


def null(file: Any, name: str) -> None:
    file[name] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (virtual, "is a virtual dataset, and other files are not read"),
        (external, "is stored in other files, and other files are not read"),
        (plugin, "is packed by filter 32015, and plugins are not loaded"),
        (references, "object of shape .* is no vector of numbers"),
        (empty, "declares 137,438,953,472 bytes; a vector or a text has at most"),
        (unwritten, "declares 1,048,576 values, and holds none"),
        (large_chunk, "declares 536,870,912 bytes"),
        (null, "is no vector of numbers"),
        (lambda f, n: f.create_dataset(n, data=np.zeros((2, 3))), "shape .2, 3. is no vector"),
        (lambda f, n: f.create_dataset(n, data="text"), "is no vector of numbers"),
        (lambda f, n: f.create_dataset(n, data=np.zeros(0)), "declares 0 values, and holds none"),
        (lambda f, n: f.create_dataset(n, data=1.0), "shape .. is no vector"),
        (lambda f, n: f.create_dataset(n, data=np.zeros(4)), "has 5 values, and 4 elsewhere"),
        (lambda f, n: f.create_group(n), "is a group, not a vector"),
        (lambda f, n: None, "has no vector"),
    ],
)  # fmt: skip
def test_values_that_are_not_in_the_file_are_refused(
    wh: nm.Warehouse, tmp_path: Path, make: Callable[[Any, str], None], message: str
) -> None:
    classic(tmp_path / "secret.h5")
    with h5py.File(classic(tmp_path / "h.h5"), "a") as file:
        del file[VECTOR]
        make(file, VECTOR)
    with pytest.raises(DataError, match=message):
        wh.import_hdf5(tmp_path / "h.h5")
    assert wh.store.run_ids() == wh.store.unfinished() == ()


def test_a_text_from_another_file_is_refused(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(classic(tmp_path / "h.h5"), "a") as file:
        del file["questions/question_0"]
        file.create_dataset("questions/question_0", (1,), "S6", external=[("/etc/hostname", 0, 6)])
    with pytest.raises(DataError, match="other files are not read"):
        wh.import_hdf5(tmp_path / "h.h5")


def test_references_in_attributes_are_left_out_and_named(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(classic(tmp_path / "h.h5"), "a") as file:
        file.attrs["root"] = file["activations"].ref
        file[VECTOR].attrs["region"] = file[VECTOR].regionref[:2]
        file["activations/question_0"].attrs.create("many", [file.ref], dtype=h5py.ref_dtype)
    done = wh.import_hdf5(tmp_path / "h.h5")
    left = next(note for note in done.notes if note.startswith("left out"))
    assert all(name in left for name in ("/@root", "question_0@many", "vector@region"))


def test_groups_in_circles_end(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(classic(tmp_path / "h.h5"), "a") as file:
        group = file["activations/question_0"]
        group[LAYERS[0]]["again"] = group
        file["activations"]["self"] = file["activations"]
    with pytest.raises(DataError, match="has no vector"):
        wh.import_hdf5(tmp_path / "h.h5")


def test_names_in_the_file_are_only_names(wh: nm.Warehouse, tmp_path: Path) -> None:
    names = ["..", "%2e%2e", "' OR 1=1 --", "q\n"]
    with h5py.File(tmp_path / "h.h5", "w") as file:
        activations = file.create_group("activations")
        for name in names:
            group = activations.create_group(name)
            group.attrs["../../label"] = 1
            layer = group.create_group("layer_0")
            layer["vector"] = [1.0]
            layer.attrs["site"] = "../../../site"
    before = tree(tmp_path) - tree(wh.path)
    wh.import_hdf5(tmp_path / "h.h5", model="m")
    assert tree(tmp_path) - tree(wh.path) == before
    assert set(wh.sql("SELECT doc_id, text FROM docs").fetchall()) == {(n, n) for n in names}
    assert wh.sql("SELECT DISTINCT site FROM vectors").fetchall() == [("../../../site",)]
    assert wh.verify() == []


def test_a_site_that_cannot_be_a_key_is_refused(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(bare(tmp_path / "h.h5", layer_0=[1.0]), "a") as file:
        file["activations/question_0/layer_0"].attrs["site"] = "a\nb"
    with pytest.raises(UsageError, match="control characters"):
        wh.import_hdf5(tmp_path / "h.h5")


@pytest.mark.parametrize("layer", ["-1", "99999999999", "x"])
def test_a_layer_that_is_none_is_refused(wh: nm.Warehouse, tmp_path: Path, layer: str) -> None:
    with h5py.File(bare(tmp_path / "h.h5", layer_0=[1.0]), "a") as file:
        value = int(layer) if layer.lstrip("-").isdigit() else layer
        file["activations/question_0/layer_0"].attrs["layer"] = value
    with pytest.raises(DataError, match="is no index of a layer"):
        wh.import_hdf5(tmp_path / "h.h5")


def test_two_questions_of_one_id_are_refused(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(classic(tmp_path / "h.h5"), "a") as file:
        file["activations/question_0"].attrs["doc_id"] = "question_1"
    with pytest.raises(DataError, match="are both document 'question_1'"):
        wh.import_hdf5(tmp_path / "h.h5")


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
def test_half_a_file_is_refused(wh: nm.Warehouse, tmp_path: Path, keep: float) -> None:
    path = classic(tmp_path / "h.h5")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(DataError):
        wh.import_hdf5(path)
    assert wh.store.run_ids() == wh.store.unfinished() == ()


def test_other_layouts_are_refused(wh: nm.Warehouse, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "h.h5", "w") as file:
        file["weights"] = [1.0]
    with pytest.raises(DataError, match="no group activations, but 'weights'"):
        wh.import_hdf5(tmp_path / "h.h5", model="m")
    (tmp_path / "t.h5").write_text("no HDF5")
    with pytest.raises(DataError, match="is no HDF5 file"):
        wh.import_hdf5(tmp_path / "t.h5", model="m")
