"""The classes of a model by number, wnid and name."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.embedded import CHECKPOINTS, NAMES, WNIDS
from bench.errors import BenchError
from bench.models import ImageModel
from bench.models.text import CLASSES

SHOWN = 5  # classes in a message


@dataclass(frozen=True)
class Class:
    """A class of a model.

    Attributes:
        index: its number.
        name: for readers.
        wnid: of ImageNet's classes.
        names: all it goes by, in lower case.
    """

    index: int
    name: str
    wnid: str | None
    names: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name} ({self.index}{f', {self.wnid}' if self.wnid else ''})"


def image_classes(model: ImageModel, config: dict[str, Any]) -> list[Class]:
    """The classes of an image model, in the order of its logits.

    Their names are those of the digits for the embedded model, those of ImageNet for a model with as many
    classes as one of its editions, and numbers for others.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset

    checkpoint = config.get("checkpoint")
    if checkpoint and Path(checkpoint).parent == CHECKPOINTS:
        return [_class(i, *known) for i, known in enumerate(zip(WNIDS, NAMES, strict=True))]
    edition = infer_imagenet_subset(model.module)
    if edition is None:
        return [Class(i, f"class {i}", None, frozenset()) for i in range(model.classes)]
    info = ImageNetInfo(edition)
    described = zip(info.label_names(), info.label_descriptions(), strict=True)
    return [_class(i, *known) for i, known in enumerate(described)]


def text_classes() -> list[Class]:
    """NEG and POS."""
    return [
        Class(i, name, None, frozenset(n.lower() for n in names))
        for i, (name, names) in enumerate(zip(("NEG", "POS"), CLASSES, strict=True))
    ]


def find(classes: Sequence[Class], wanted: str | int) -> Class:
    """The class of a number, a wnid or a name.

    Raises:
        BenchError: if there is none, or several of the same name.
    """
    text = str(wanted).strip().lower()
    if text.isdecimal():
        if int(text) < len(classes):
            return classes[int(text)]
        raise BenchError(f"target {wanted}: the model has classes 0 to {len(classes) - 1}")
    found = [c for c in classes if text in c.names]
    if len(found) == 1:
        return found[0]
    if found:
        choices = ", ".join(map(str, found[:SHOWN]))
        raise BenchError(f"target {wanted!r}: several classes have this name; choose by number: {choices}")
    similar = ", ".join(map(str, _similar(classes, text))) or "none; choose by number"
    raise BenchError(f"target {wanted!r}: the model has no such class; similar ones: {similar}")


def _class(index: int, wnid: str, names: str) -> Class:
    """``names`` are separated by commas, the most common one first."""
    all_names = [name.strip() for name in names.split(",")]
    return Class(index, all_names[0], wnid, frozenset(name.lower() for name in (wnid, *all_names)))


def _similar(classes: Sequence[Class], text: str) -> list[Class]:
    containing = [c for c in classes if text and any(text in name for name in c.names)]
    spelt_alike = difflib.get_close_matches(text, {name for c in classes for name in c.names}, SHOWN)
    alike = [c for c in classes if not c.names.isdisjoint(spelt_alike)]
    return (containing or alike)[:SHOWN]
