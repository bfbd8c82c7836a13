"""Cut a corpus into documents of at most 8 kB, split it, and draw the demo text.

    python demo/prepare.py CORPUS.jsonl.gz

CORPUS is JSON Lines with `id`, `source` and `text`. Two files are written beside this one:

* `corpus.jsonl.xz`: every document of the redistributable sources, with its `split`
  (`train` or `heldout`, about 4 % held out); `train.py` reads it.
* `text.jsonl.gz`: the demo text, about 1 MB, the same number of bytes from each source,
  held-out documents first.

The split is a hash of the document's place and not of its source, so that a Bible chapter
that is held out in one translation is held out in the other.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent

SOURCES = {
    "sword-text-web": "web-bible",
    "sword-text-kjv": "king-james",
    "jargon-text": "jargon-file",
    "dict-devil": "devils-dictionary",
    "sqlite3-doc": "sqlite-docs",
    "wordnet-base": "wordnet",
}
"""The sources that may be redistributed, and the label that the demo gives to each."""

MAX_BYTES = 8_000
HELDOUT_PERCENT = 4
DEMO_BYTES_PER_SOURCE = 170_000


def split_text(text: str, limit: int = MAX_BYTES) -> Iterator[str]:
    """Cut at line ends (or, in a longer line, at spaces) into pieces of at most `limit` bytes."""
    piece: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        for part in [line] if len(line.encode()) <= limit else _words(line):
            length = len(part.encode())
            if size + length > limit and piece:
                yield "".join(piece).strip()
                piece, size = [], 0
            piece.append(part)
            size += length
    if rest := "".join(piece).strip():
        yield rest


def _words(line: str) -> list[str]:
    return [word + " " for word in line.split(" ")]


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def documents(corpus: Path) -> Iterator[dict[str, str]]:
    """Yield `id`, `source`, `split`, `text` for every document that may be redistributed."""
    with gzip.open(corpus, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            source = SOURCES.get(row["source"])
            if source is None:
                continue
            place = row["id"].split("/", 1)[-1]
            for part, text in enumerate(split_text(row["text"])):
                held = _hash(f"{place}#{part}") % 100 < HELDOUT_PERCENT
                yield {
                    "id": f"{source}/{place}#{part}",
                    "source": source,
                    "split": "heldout" if held else "train",
                    "text": text,
                }


def demo_text(rows: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield the same number of bytes from each source, held-out documents first, in hash order."""
    budget = dict.fromkeys(SOURCES.values(), DEMO_BYTES_PER_SOURCE)
    taken: set[str] = set()  # a few pages of the SQLite documentation stand in it twice
    for row in sorted(rows, key=lambda row: (row["split"], _hash(row["id"]))):
        size = len(row["text"].encode())
        if size <= budget[row["source"]] and row["id"] not in taken:
            taken.add(row["id"])
            budget[row["source"]] -= size
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    rows = list(documents(parser.parse_args().corpus))
    with lzma.open(HERE / "corpus.jsonl.xz", "wt", encoding="utf-8", preset=9) as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    # mtime=0 keeps the file the same from one run to the next.
    with gzip.GzipFile(HERE / "text.jsonl.gz", "wb", mtime=0) as raw:
        for row in sorted(demo_text(rows), key=lambda row: row["id"]):
            raw.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()
