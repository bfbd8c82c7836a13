"""Change the values inside Arrow lists, structs and maps, however deep they lie."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Change", "on_leaves"]

Change = Callable[[pa.Array], pa.Array]
"""Takes values that are neither list, struct nor map; gives as many back, of one type."""


def on_leaves(array: pa.Array, change: Change) -> pa.Array:
    """Return an array with its leaves changed.

    The new type depends on the old one alone, so that batches of a column stay alike: lists of any
    kind become plain ones, extension types and dictionaries what they are stored as, and every
    field may be NULL.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return on_leaves(array.storage, change)
    if pa.types.is_dictionary(kind):
        return on_leaves(array.dictionary_decode(), change)
    if pa.types.is_struct(kind):
        return _struct(array, change)
    if pa.types.is_map(kind):
        return _map(array, change)
    if pa.types.is_nested(kind) and not pa.types.is_union(kind):
        return _list(array, change)
    return change(array)


def _struct(array: pa.Array, change: Change) -> pa.Array:
    parts = [on_leaves(part, change) for part in array.flatten()]
    fields = [_field(field, part) for field, part in zip(array.type, parts, strict=True)]
    return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())


def _list(array: pa.Array, change: Change) -> pa.Array:
    values = on_leaves(array.flatten(), change)
    kind = pa.list_(_field(array.type.value_field, values))
    return pa.ListArray.from_arrays(_offsets(array), values, type=kind, mask=array.is_null())


def _map(array: pa.Array, change: Change) -> pa.Array:
    kind = array.type
    entries = array.cast(pa.list_(pa.struct([kind.key_field, kind.item_field])))
    keys, items = entries.flatten().flatten()
    items = on_leaves(items, change)
    new = pa.map_(kind.key_type, _field(kind.item_field, items), kind.keys_sorted)
    return pa.MapArray.from_arrays(_offsets(entries), keys, items, type=new, mask=array.is_null())


def _field(old: pa.Field, values: pa.Array) -> pa.Field:
    return old.with_type(values.type).with_nullable(True)


def _offsets(lists: pa.Array) -> pa.Array:
    """Return where each list begins in the flat values; a slice's own offsets start elsewhere."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int32())
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths)])
