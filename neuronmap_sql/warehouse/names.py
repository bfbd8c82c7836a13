"""Names that become parts of paths: percent-encoded, so that nothing escapes the root.

Letters, digits, `.`, `_` and `-` stay as they are; everything else becomes `%XX` of its UTF-8
bytes, which DuckDB decodes when it reads `key=value` folders. A value always follows `key=`, so
neither `..` nor a name that Windows reserves can stand alone as a folder.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote

from neuronmap_sql.errors import UsageError

__all__ = ["LONGEST", "check", "decode", "encode", "glob_escape"]

LONGEST = 200
"""Bytes of an encoded name: file systems allow 255 for `key=name`."""

# DuckDB 1.5 reads these values of a folder name as NULL, however they are encoded.
_NULLS = {"null", "__hive_default_partition__"}


def check(name: str, what: str = "name") -> str:
    """Return `name` unchanged if it can be a key of the warehouse.

    Raises:
        UsageError: it is empty, too long, read as NULL by engines, or has control characters.
    """
    reason = _objection(name)
    if reason:
        raise UsageError(f"{what} {name!r} {reason}; choose another name")
    return name


def encode(name: str, what: str = "name") -> str:
    """Return `name` as part of a path; `decode` gives it back."""
    encoded = quote(check(name, what), safe="._-").replace("~", "%7E")
    # Windows drops trailing dots, shells hide leading ones.
    if encoded.startswith("."):
        encoded = "%2E" + encoded[1:]
    if encoded.endswith("."):
        encoded = encoded[:-1] + "%2E"
    return encoded


def decode(part: str) -> str:
    """Return the name that `encode` wrote as `part`."""
    return unquote(part, errors="strict")


def glob_escape(path: str) -> str:
    """Return `path` such that DuckDB's globs take every character of it literally."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _objection(name: str) -> str:
    if not name or name != name.strip():
        return "is empty or has space around it"
    if name.lower() in _NULLS:
        return "is read as NULL by database engines"
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in name):
        return "has control characters"
    if len(quote(name, safe="._-")) > LONGEST - 4:
        return f"is too long: more than {LONGEST} bytes, percent-encoded"
    return ""
