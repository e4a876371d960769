"""A board of methods that anyone can add to: entries, the command that writes them and the one that checks them."""

from bench.board.entry import Entry, entries
from bench.board.facts import MetricFacts, Number, OfMethod, Part, Said

__all__ = ["Entry", "MetricFacts", "Number", "OfMethod", "Part", "Said", "entries"]
