"""What a data set is, and the samples that it yields.

A data set is any object with ``__len__``, ``__getitem__`` (of an index, an :class:`ImageSample` or a
:class:`TextSample`; it is pickled into loader processes, so it reads on access) and ``ids``. Nothing has to
be derived from. What else it may state, all of it known without decoding a sample:

=======================  ===============================================================================
ids                      ``Sequence[str]``: one per sample, unique and stable
labels                   ``Sequence[int | None]``, optional: one per sample, indices into ``classes``
classes                  ``Sequence[str]``, optional: their names, in the order of the labels
version                  ``int``, optional, 1 where it is missing: it rises when the same files begin to
                         give other samples
files                    ``Sequence[Path]``, optional: all files whose content determines the samples, and
                         no others; in an order that does not depend on where they lie. Missing or empty
                         where there are none: :mod:`bench.store.digests` then reads every sample
one_file_per_sample      ``bool``, optional, False where it is missing: whether ``files`` has exactly the
                         file of each sample, in the order of ``ids``, so that some of the samples need
                         only some of the files
=======================  ===============================================================================
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class ImageSample:
    """A picture with what is known about it.

    Attributes:
        id: unique within the data set and stable.
        image: RGB, at its stored size; once prepared for a model, (3, H, W) pixels in 0..1.
        label: class index, or None where the data set has no classes.
        mask: (H, W) bool in the pixels of ``image``, True on the object; None where there is none.
        boxes: each x0, y0, x1, y1 of an object, in the pixels of ``image``; None where there are none. Once
            prepared for a model, ``mask`` covers them.
        other_label, other_mask: of an object of another class in the picture, as ``label`` and ``mask``; None where
            there is none.
    """

    id: str
    image: Image.Image | Tensor
    label: int | None
    mask: np.ndarray | Tensor | None
    boxes: Sequence[Sequence[float]] | None = None
    other_label: int | None = None
    other_mask: np.ndarray | Tensor | None = None


@dataclass(frozen=True)
class TextSample:
    """A document with the words that annotators marked as the reason for its label.

    Attributes:
        id: unique within the data set and stable.
        words: the document's words, after those of the query if there is one.
        label: an index into the data set's ``classes``, or None where it has none.
        rationale: (len(words),) bool, True on marked words; False on all words of the query.
        query_words: how many of the first words are the query, a question or claim about the document. A model
            reads query and document as a pair of texts. Annotators could not mark words of the query, so these
            are never ranked nor removed.
        alternatives: (alternatives, len(words)) bool, where there are several rationales of which each suffices;
            ``rationale`` is their union. None where the rationale is one. All samples of a data set have them, or
            none.
    """

    id: str
    words: list[str]
    label: int | None
    rationale: np.ndarray
    query_words: int = 0
    alternatives: np.ndarray | None = None

    @property
    def query(self) -> list[str]:
        """The words of the query; none where there is none."""
        return list(self.words[: self.query_words])

    @property
    def document(self) -> list[str]:
        """The words but for those of the query."""
        return list(self.words[self.query_words :])


class Limited:
    """Some samples of a data set as a data set, which states about them what the whole states.

    Args:
        dataset: the whole.
        indices: which of its samples, in this order.
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        places = range(len(dataset))
        self.dataset = dataset
        self.indices = [places[index] for index in indices]
        self.ids = [dataset.ids[index] for index in self.indices]
        # What the whole does not state is missing here, too.
        if getattr(dataset, "labels", None) is not None:
            self.labels = [dataset.labels[index] for index in self.indices]
        for name in ("classes", "version"):
            if hasattr(dataset, name):
                setattr(self, name, getattr(dataset, name))

    @property
    def one_file_per_sample(self) -> bool:
        return getattr(self.dataset, "one_file_per_sample", False)

    @property
    def files(self) -> list[Path]:
        """The files of these samples where each has its own; else all of the whole, possibly none."""
        files = list(getattr(self.dataset, "files", None) or ())
        return [files[index] for index in self.indices] if self.one_file_per_sample else files

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> ImageSample | TextSample:
        return self.dataset[self.indices[index]]


class Subset(Limited):
    """The first samples of a data set in the nested order (:mod:`bench.store.subsets`), in the order of the whole.

    What is measured of them is part of what is measured of the whole, :attr:`dataset`, and so it is known by the
    content of that.
    """
