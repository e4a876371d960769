"""The classes of a model by number, wnid and name."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.embedded import CHECKPOINTS, NAMES, WNIDS
from bench.errors import BenchError
from bench.models.base import Model
from bench.models.text import SYNONYMS

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


def classes_of(model: Model, section: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Class]:
    """The classes of a model in the order of its logits; of texts those of the data set, if they are given.

    Classes of images have the names of the digits for the embedded model, the model's own where it names
    them, those of ImageNet for a model with as many classes as one of its editions, and else those of the
    data set, or numbers.

    Args:
        section: of the model, in the configuration.
        names: of the data set's classes.
    """
    if model.modality == "text":
        return [_labelled(i, name) for i, name in enumerate(names or model.classes)]
    if section.get("checkpoint") and Path(section["checkpoint"]).parent == CHECKPOINTS:
        return [_class(i, *known) for i, known in enumerate(zip(WNIDS, NAMES, strict=True))]
    if not all(name.isdecimal() for name in model.classes):
        return [_class(i, None, name) for i, name in enumerate(model.classes)]
    from timm.data import ImageNetInfo, infer_imagenet_subset  # takes its time to import

    edition = infer_imagenet_subset({"num_classes": len(model.classes)})
    if edition is None:
        known = [name for name in names or () if name]
        return [_class(i, None, name) for i, name in enumerate(known)] or [
            Class(i, f"class {i}", None, frozenset()) for i in range(len(model.classes))
        ]
    info = ImageNetInfo(edition)
    described = zip(info.label_names(), info.label_descriptions(), strict=True)
    return [_class(i, *known) for i, known in enumerate(described)]


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


def _class(index: int, wnid: str | None, names: str) -> Class:
    """``names`` are separated by commas, the most common one first."""
    all_names = [name.strip() for name in names.split(",")]
    known = frozenset(name.lower() for name in (wnid, *all_names) if name)
    return Class(index, all_names[0], wnid, known)


def _labelled(index: int, name: str) -> Class:
    """A class of texts, which also goes by the other word for NEG or POS."""
    words = {name, SYNONYMS.get(name.upper(), name)}
    words |= {long for long, short in SYNONYMS.items() if short == name.upper()}
    return Class(index, name, None, frozenset(word.lower() for word in words))


def _similar(classes: Sequence[Class], text: str) -> list[Class]:
    containing = [c for c in classes if text and any(text in name for name in c.names)]
    spelt_alike = difflib.get_close_matches(text, {name for c in classes for name in c.names}, SHOWN)
    alike = [c for c in classes if not c.names.isdisjoint(spelt_alike)]
    return (containing or alike)[:SHOWN]
