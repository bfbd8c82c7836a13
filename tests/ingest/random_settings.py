"""Values that a TOML file may hold, most of them in the wrong place."""

from __future__ import annotations

import datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

QUICK = settings(
    deadline=None,
    derandomize=True,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD = (
    *("", ".", "/", "~", "~\0", "a\0", "\udc80", "\x7f", "a\nb", "x" * 5000, "/" + "x" * 5000),
    *("mlp", "text.jsonl", "*.txt", "all", "0-3", "NULL", "m.toml", "norm", "stats", "{layer}"),
    *("h.{layer}", "{layer.__class__}", "{", "(", "\\", "1" * 5000),
)
TEXT = st.text(max_size=8) | st.sampled_from(ODD)
PLAIN = (
    st.booleans()
    | st.integers()
    | st.sampled_from([0, 1, -1, 2**31, 2**63, -(2**70), 10**400])
    | st.floats()
    | TEXT
    | st.sampled_from([datetime.date(2024, 2, 29), datetime.time(1, 2), datetime.datetime.max])
)
VALUE: st.SearchStrategy[Any] = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
