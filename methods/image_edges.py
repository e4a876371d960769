"""The edges of an image: what is worth something wherever there is contrast, whatever the model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.of_pixels import OfPixels

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=torch.float64) / 8


@dataclass(frozen=True)
class ImageEdges(OfPixels):
    """The strength of the edge at each pixel, a floor: it looks at the image and at no model.

    The root of the squared derivatives down and across, summed over the channels as the model receives them; each
    derivative by the operator of Sobel and Feldman (1968; weights 1, 2, 1 over 8), the border repeated. Maps that look
    like drawings of an image please people and need not say anything about a model (Adebayo et al., "Sanity Checks
    for Saliency Maps", NeurIPS 2018, who compare with an edge detector).
    """

    version: ClassVar[int] = 1
    lacking: ClassVar[str] = "edges"

    def _relevance(self, images: Tensor) -> Tensor:
        batch, channels, height, width = images.shape
        planes = F.pad(images.double().reshape(-1, 1, height, width), (1, 1, 1, 1), mode="replicate")
        across = SOBEL.to(images.device)
        derivatives = F.conv2d(planes, torch.stack([across, across.T])[:, None])
        return derivatives.square().reshape(batch, 2 * channels, height, width).sum(dim=1).sqrt()
