"""What the name of a stored array asks for.

A key is read by patterns, so that any number in it is understood: ``tam.start{start_layer:int}`` reads the block
of ``tam.start7``. What stands in braces is the name of a setting of the method's class and one of the kinds

    int      a whole number                      num      a number with or without a decimal point
    a|b|c    one of these words

The class is looked up by its name when the key is compared. Behind every pattern may follow the class that is
explained: ``.predicted``, ``.target`` or ``.classK``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_KINDS = {"int": (r"\d+", int), "num": (r"\d+(?:\.\d+)?(?:e-?\d+)?", float)}
_PLACE = re.compile(r"\{(\w+):([^}]+)\}")
_CLASS = re.compile(r"\.(predicted|target|class\d+)$")

Values = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """Keys of one form, and how their numbers are computed.

    Attributes:
        pattern: of the key, without the explained class.
        method: the name of the class in ``methods``; where no class is asked (logits), a word in brackets.
        settings: of the class, beside those that the pattern reads; or a function of the values that the
            pattern read, which returns them all.
        view: how the stored array is made of what the method returns; a name in :mod:`bench.verify.views`.
        absolute: the error is not divided by the norm of the stored numbers.
        vanishes: the numbers are 0 to rounding, as a gradient summed over what a norm takes the mean of: they are
            compared absolutely, and a method may refuse them.
        informative: the reference does not aim at the definition: a difference is shown and no fault.
        alone: each sample, and each class, is explained alone, since something is stored for each.
        hidden_specials: the special tokens are out of the attention mask.
        reference_2021: of the reference implementation of 2021, which overwrote entry 0 of its text maps.
    """

    pattern: str
    method: str
    settings: Mapping[str, Any] | Callable[[Values], Values] = field(default_factory=dict)
    view: str = "tokens"
    absolute: bool = False
    vanishes: bool = False
    informative: bool = False
    alone: bool = False
    hidden_specials: bool = False
    reference_2021: bool = False

    @cached_property
    def _parsed(self) -> tuple[re.Pattern, dict[str, Callable[[str], Any]]]:
        expression, readers, end = "", {}, 0
        for place in _PLACE.finditer(self.pattern):
            name, kind = place.groups()
            inner, readers[name] = _KINDS.get(kind, (kind, str))
            expression += re.escape(self.pattern[end : place.start()]) + f"(?P<{name}>{inner})"
            end = place.end()
        return re.compile(expression + re.escape(self.pattern[end:])), readers

    def read(self, key: str) -> Values | None:
        """What stands in the braces; None if the key, without its explained class, is of another form."""
        expression, readers = self._parsed
        if (found := expression.fullmatch(key)) is None:
            return None
        return {name: readers[name](text) for name, text in found.groupdict().items()}


@dataclass(frozen=True)
class Asked:
    """What one key asks for.

    Attributes:
        key: as it is stored.
        entry: the form that it has.
        settings: of the method's class.
        values: all that stands in the braces; what begins with an underscore is not a setting of the class.
        explained: ``predicted``, ``target`` or ``classK``; None if the map does not depend on the class.
    """

    key: str
    entry: Entry
    settings: Values
    values: Values
    explained: str | None


def read_key(key: str, entries: Sequence[Entry]) -> Asked | None:
    """What a key asks for by the first entry that it fits; None if it fits none."""
    ending = _CLASS.search(key)
    stem = key[: ending.start()] if ending else key
    for entry in entries:
        values = entry.read(stem)
        if values is None:
            continue
        if callable(entry.settings):
            settings = entry.settings(values)
        else:
            settings = dict(entry.settings) | {n: v for n, v in values.items() if not n.startswith("_")}
        return Asked(key, entry, settings, values, ending.group(1) if ending else None)
    return None
