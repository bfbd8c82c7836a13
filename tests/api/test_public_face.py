"""`import neuronmap_sql as nm`: what is public is named, there, and documented."""

from __future__ import annotations

import inspect

import pytest

import neuronmap_sql as nm
from neuronmap_sql import errors


def test_all_is_sorted_and_has_no_twins() -> None:
    assert nm.__all__ == sorted(set(nm.__all__))


@pytest.mark.parametrize("name", nm.__all__)
def test_each_name_is_there_and_documented(name: str) -> None:
    value = getattr(nm, name)
    if name == "__version__":
        assert value.split(".")[0].isdigit()
        return
    assert inspect.getdoc(value)
    assert value.__doc__  # its own, not one that it inherits


def test_all_is_complete() -> None:
    """Whatever the package defines or imports without an underscore is listed, submodules apart."""
    found = {
        name for name, value in vars(nm).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "version"
    }  # fmt: skip
    assert found == {name for name in nm.__all__ if name != "__version__"}


def test_all_errors_are_public() -> None:
    kinds = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert kinds <= set(nm.__all__)


def test_every_method_is_documented() -> None:
    for kind in (nm.Warehouse, nm.Result):
        for name, value in vars(kind).items():
            if not name.startswith("_"):
                assert inspect.getdoc(value), f"{kind.__name__}.{name}"
