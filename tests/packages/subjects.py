"""What both sides are given: a small network, images, maps and masks, all seeded."""

import numpy as np
import torch
from torch import Tensor, nn

SIDE, IMAGES = 16, 3


class Network(nn.Module):
    """A small convolutional network of random weights, from (batch, channels, SIDE, SIDE) to 4 logits."""

    def __init__(self, channels: int = 1):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Conv2d(channels, 6, 3, padding=1)
        self.last = nn.Linear(6, 4)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.last(torch.tanh(self.first(images)).mean((2, 3)))


class Linear(nn.Module):
    """Two logits: the weighted sum of an image's pixels, and 0.

    Args:
        weights: one for each pixel.
    """

    def __init__(self, weights: list[float]):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        first = images.flatten(1).to(self.weights) @ self.weights
        return torch.stack([first, torch.zeros_like(first)], dim=1)


class WithToken(nn.Module):
    """A linear classifier of pixels with a class token and a position embedding, as those of a ViT: bare parameters."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(SIDE * SIDE, 4)
        self.cls_token = nn.Parameter(torch.full((1, 1, 1), 0.25))
        self.pos_embed = nn.Parameter(torch.full((1, SIDE * SIDE), 0.5))

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(images.flatten(1) + self.pos_embed) + self.cls_token[:, 0]


def images(channels: int = 1) -> np.ndarray:
    """Images (IMAGES, channels, SIDE, SIDE), float32 around 0."""
    return np.random.default_rng(1).normal(size=(IMAGES, channels, SIDE, SIDE)).astype(np.float32)


def maps() -> np.ndarray:
    """Maps (IMAGES, SIDE, SIDE) without ties, above 0."""
    return np.random.default_rng(2).random((IMAGES, SIDE, SIDE))


def masks() -> np.ndarray:
    """Masks (IMAGES, SIDE, SIDE), bool: a box in each image."""
    found = np.zeros((IMAGES, SIDE, SIDE), dtype=bool)
    found[0, 2:9, 3:12] = found[1, :5, :5] = found[2, 8:, 4:] = True
    return found
