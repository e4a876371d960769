"""Stored arrays that are not the map of a method: logits, and what stands inside a method or the engine."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bench.verify.grammar import Asked


def logits(subject: Any, asked: Asked) -> Tensor:
    """Of the model itself."""
    return subject.logits(asked.key)


def nothing(subject: Any, asked: Asked) -> None:
    """Not computed: the reference aims at nothing here."""


TENSORS: dict[str, Callable[[Any, Asked], Tensor | None]] = {
    "logits": logits,
    "debug": nothing,
    "not compared": nothing,
}
"""By the name of the view."""
