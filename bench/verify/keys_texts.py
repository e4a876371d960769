"""Keys of the methods on texts since 2021 (``golden/newer/README_TEXTS.md``)."""

from bench.verify.grammar import Entry

KEYS: list[Entry] = []
