"""What an explanation consists of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from bench.explain import show
from bench.explain.classes import Class

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP = 5  # classes shown


@dataclass(frozen=True)
class Explanation:
    """Why a model gives a sample to a class.

    Attributes:
        model: for readers.
        explained: the class that is explained.
        probabilities: of all classes.
        classes: all classes of the model, in the order of ``probabilities``.
        maps: relevance by method: of pixels (H, W) in 0..1, or if it has both signs in -1..1; or of words
            (n,), at least 0.
    """

    model: str
    explained: Class
    probabilities: Sequence[float]
    classes: Sequence[Class]
    maps: dict[str, np.ndarray]

    @property
    def top(self) -> list[tuple[Class, float]]:
        """The most probable classes with their probabilities, the most probable first."""
        ranked = sorted(zip(self.classes, self.probabilities, strict=True), key=lambda pair: -pair[1])
        return ranked[:TOP]

    @property
    def probability(self) -> float:
        """Of the explained class."""
        return self.probabilities[self.explained.index]


@dataclass(frozen=True)
class ImageExplanation(Explanation):
    """As :class:`Explanation`.

    Attributes:
        image: what the model saw of the image, in its stored resolution and aspect.
    """

    image: Image.Image

    def figure(self) -> "Figure":
        """The image, one overlay per method and the most probable classes."""
        return show.figure(self)

    def _repr_html_(self) -> str:
        return show.image_html(self)


@dataclass(frozen=True)
class TextExplanation(Explanation):
    """As :class:`Explanation`; notebooks show it as shaded words.

    Attributes:
        words: of the whole text. The model saw the first of them, as many as ``maps`` have numbers.
    """

    words: list[str]

    @property
    def seen(self) -> int:
        """How many words the model saw; the others are beyond the length that it takes."""
        return len(next(iter(self.maps.values())))

    def _repr_html_(self) -> str:
        return show.text_html(self)
