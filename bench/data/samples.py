"""What the readers yield."""

from dataclasses import dataclass

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
    """

    id: str
    image: Image.Image | Tensor
    label: int | None
    mask: np.ndarray | Tensor | None


@dataclass(frozen=True)
class TextSample:
    """A document with the words that annotators marked as the reason for its label.

    Attributes:
        id: unique within the data set and stable.
        words: the document's words, after those of the query if there is one.
        label: an index into the data set's ``classes``, or None where it has none.
        rationale: (len(words),) bool, True on marked words; False on all words of the query.
        query_words: how many of the first words are the query, a question or claim about the document. They
            are read like the others, but annotators could not mark them.
    """

    id: str
    words: list[str]
    label: int | None
    rationale: np.ndarray
    query_words: int = 0
