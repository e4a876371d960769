"""The edges of an image: what is worth something wherever there is contrast, whatever the model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.common import Passes, for_each_class
from methods.relevance import Forward, Inputs, RefusedError

SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=torch.float64) / 8


@dataclass(frozen=True)
class ImageEdges:
    """The strength of the edge at each pixel, a floor: it looks at the image and at no model.

    The root of the squared derivatives down and across, summed over the channels as the model receives them; each
    derivative by the operator of Sobel and Feldman (1968; weights 1, 2, 1 over 8), the border repeated. Maps that look
    like drawings of an image please people and need not say anything about a model (Adebayo et al., "Sanity Checks
    for Saliency Maps", NeurIPS 2018, who compare with an edge detector).
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False

    def passes(self, tokens: int, blocks: int) -> Passes:
        """None: it never looks at the model."""
        return Passes(forward=0, backward=0)

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Returns (batch, height, width), float64, 0 or more; the same for each class of a (batch, classes) ``target``.

        Raises:
            RefusedError: for texts, which have no edges.
        """
        if not isinstance(inputs, Tensor) or inputs.ndim != 4:
            raise RefusedError(
                "ImageEdges: expected images (batch, channels, height, width); texts have no edges"
            )
        batch, channels, height, width = inputs.shape
        planes = F.pad(inputs.double().reshape(-1, 1, height, width), (1, 1, 1, 1), mode="replicate")
        across = SOBEL.to(inputs.device)
        derivatives = F.conv2d(planes, torch.stack([across, across.T])[:, None])
        relevance = derivatives.square().reshape(batch, 2 * channels, height, width).sum(dim=1).sqrt()
        return for_each_class(target, lambda _: relevance)
