"""Every error that NeuronMap SQL raises on purpose.

    NeuronMapError
    ├── UsageError              the caller asked for something that cannot be (exit code 2)
    │   ├── RecipeError         a recipe or family file: file, key and way out are named
    │   ├── UnknownNameError    an unknown model, table, query, site, layer, neuron
    │   └── QueryError          the engine refused a statement
    └── WorkError               the request was right, the work failed (exit code 1)
        ├── ModelError          a model cannot be found, loaded or hooked
        ├── DataError           a data file cannot be read as documents
        └── StoreError          the warehouse folder is missing, damaged or busy

Messages say what is wrong, where, and what to do; `nearest` helps with the spelling.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DataError",
    "ModelError",
    "NeuronMapError",
    "QueryError",
    "RecipeError",
    "StoreError",
    "UnknownNameError",
    "UsageError",
    "WorkError",
    "nearest",
]


class NeuronMapError(Exception):
    """The root: catch this to catch everything that NeuronMap SQL raises on purpose."""

    exit_code = 1


class UsageError(NeuronMapError):
    """The caller asked for something that cannot be; nothing was changed."""

    exit_code = 2


class RecipeError(UsageError):
    """A recipe or a family file does not say what it must; names the file and the key."""


class UnknownNameError(UsageError):
    """No model, table, query, site, layer or neuron of that name."""

    @classmethod
    def of(
        cls, kind: str, name: object, known: Iterable[object], hint: str = ""
    ) -> UnknownNameError:
        """Build the message `no KIND named NAME; did you mean ...?`, with a way out."""
        guess = nearest(name, known)
        joint = " " if guess.endswith("?") else "; "
        return cls(f"no {kind} named {str(name)!r}{guess}{hint and joint + hint}")


class QueryError(UsageError):
    """The engine refused a statement: a mistake in SQL, or in a parameter."""


class WorkError(NeuronMapError):
    """The request was right but the work failed; what was there before is intact."""


class ModelError(WorkError):
    """A model cannot be found, loaded or hooked."""


class DataError(WorkError):
    """A data file cannot be read as documents."""


class StoreError(WorkError):
    """The warehouse folder is missing, damaged, read-only or in use."""


def nearest(name: object, known: Iterable[object]) -> str:
    """Return `; did you mean 'x' or 'y'?`, or the known names if they are few, or nothing."""
    names = sorted({str(item) for item in known})
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(map(repr, close)) + "?"
    if 0 < len(names) <= 12:
        return "; known: " + ", ".join(names)
    return ""
