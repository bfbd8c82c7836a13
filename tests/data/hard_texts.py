"""Texts that trip tokenizers: marks, emoji, scripts, control characters, tokens typed."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = [
    *("the", " the", "sea", "Fox", " doesn't", "café", "cafe\u0301", "e\u0301\u0302", "Å", "İ"),
    *(
        " ",
        "  ",
        "\n",
        "\t",
        "\u00a0",
        "\u3000",
        "\x00",
        "\x07",
        "\u200b",
        "\ufeff",
        "_",
        "42",
        "½",
    ),
    *(
        "👩‍👩‍👧",
        "👍🏽",
        "❤️",
        "1️⃣",
        "🇫🇷",
        "\u200d",
        "\ufe0f",
        "\u0301",
        "家族",
        "日本語",
        "ก็",
        "हिन्दी",
    ),
    *("שלום", "مَرحبا", "\u202e", "ﬁ", "Ⅳ", "한글", "\u1112\u1161\u11ab", "ΑΣ", "ß", "'", "-", "…"),
    *("<|endoftext|>", "[SEP]", "</s>", "▁", "##ing", "<0xE2>", "Ġ"),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join),
    st.text(st.characters(exclude_categories=("Cs", "Cn", "Co")), min_size=1, max_size=12),
)
