"""A Gaussian at the centre of every image: what a picture's composition alone is worth."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.common import Passes, for_each_class
from methods.relevance import Forward, Inputs, RefusedError


@dataclass(frozen=True)
class CentreGaussian:
    """exp(−½ (distance to the centre / width)²) at each pixel, whatever the image and the model.

    Objects stand in the middle of photographs, so it is the floor that a method has to beat where maps are
    compared with masks or boxes.

    Args:
        width: the standard deviation, as a share of each side of the image.

    Raises:
        ValueError: for a width that is not above 0.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    width: float = 0.25

    def __post_init__(self):
        if not self.width > 0:
            raise ValueError(f"width={self.width}: expected a share of the image's sides above 0")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """None: it never looks at the model."""
        return Passes(forward=0, backward=0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, height, width); the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: for texts, which have no centre.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            raise RefusedError(
                "CentreGaussian: expected images (batch, channels, height, width); texts have no centre"
            )
        down, across = (self._profile(side, inputs) for side in inputs.shape[-2:])
        relevance = (down[:, None] * across).expand(len(inputs), -1, -1)
        return for_each_class(target, lambda _: relevance)

    def _profile(self, side: int, inputs: Tensor) -> Tensor:
        place = torch.arange(side, dtype=torch.float64, device=inputs.device) - (side - 1) / 2
        return torch.exp(-0.5 * (place / (self.width * side)) ** 2)
