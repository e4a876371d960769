"""What floors for images share: they look at the pixels alone."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from methods.common import Passes, for_each_class
from methods.relevance import Forward, Inputs, RefusedError


@dataclass(frozen=True)
class OfPixels(ABC):
    """A map of pixels without a look at the model.

    Attributes:
        lacking: what texts do not have of which the map is made, for the message that refuses them.
    """

    class_specific: ClassVar[bool] = False
    lacking: ClassVar[str]

    def passes(self, tokens: int, blocks: int) -> Passes:
        """None: it never looks at the model."""
        return Passes(forward=0, backward=0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, height, width), float64; the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: for texts.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            raise RefusedError(
                f"{type(self).__name__}: expected images (batch, channels, height, width); "
                f"texts have no {self.lacking}"
            )
        relevance = self._relevance(inputs)
        return for_each_class(target, lambda _: relevance)

    @abstractmethod
    def _relevance(self, images: Tensor) -> Tensor:
        """(batch, height, width) of images (batch, channels, height, width)."""
