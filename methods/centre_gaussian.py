"""A Gaussian at the centre of every image: what a picture's composition alone is worth."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from methods.of_pixels import OfPixels


@dataclass(frozen=True)
class CentreGaussian(OfPixels):
    """exp(−½ (distance to the centre / width)²) at each pixel, whatever the image and the model.

    Objects stand in the middle of photographs, so it is the floor that a method has to beat where maps are
    compared with masks or boxes.

    Args:
        width: the standard deviation, as a share of each side of the image.

    Raises:
        ValueError: for a width that is not above 0.
    """

    version: ClassVar[int] = 1
    lacking: ClassVar[str] = "centre"

    width: float = 0.25

    def __post_init__(self):
        if not self.width > 0:
            raise ValueError(f"width={self.width}: expected a share of the image's sides above 0")

    def _relevance(self, images: Tensor) -> Tensor:
        down, across = (self._profile(side, images) for side in images.shape[-2:])
        return (down[:, None] * across).expand(len(images), -1, -1)

    def _profile(self, side: int, images: Tensor) -> Tensor:
        place = torch.arange(side, dtype=torch.float64, device=images.device) - (side - 1) / 2
        return torch.exp(-0.5 * (place / (self.width * side)) ** 2)
