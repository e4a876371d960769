"""A data set of images of one's own: bright squares on grey, with masks."""

import numpy as np
from PIL import Image

from bench.data import ImageSample


class Squares:
    """Squares at places drawn from a seed.

    Args:
        count: how many images.
        seed: another seed is another data set.
    """

    version = 1  # raise it when the same arguments give other samples
    classes = tuple(str(digit) for digit in range(10))  # the names of the labels, in their order

    def __init__(self, count: int = 6, seed: int = 0):
        self.ids = [f"square_{number}" for number in range(count)]
        self.labels = [number % 10 for number in range(count)]
        self._places = np.random.default_rng(seed).integers(0, 160, size=(count, 2))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        mask = np.zeros((224, 224), dtype=bool)
        top, left = self._places[index]
        mask[top : top + 64, left : left + 64] = True
        pixels = np.where(mask[..., None], 230, 110).astype(np.uint8).repeat(3, axis=2)
        return ImageSample(self.ids[index], Image.fromarray(pixels), self.labels[index], mask)
