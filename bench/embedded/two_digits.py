"""Pictures that show two digits of different classes, each with a mask."""

from functools import cached_property
from typing import ClassVar

import numpy as np
from PIL import Image

from bench.data.samples import ImageSample
from bench.embedded import WNIDS


class TwoDigits:
    """Drawn like the other embedded pictures, from held-out digits and photographs, but only those with two digits.

    Nothing is written: each sample is drawn anew from its number.

    Args:
        count: how many.
        seed: of the drawing.
    """

    version: ClassVar[int] = 1

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.classes = list(WNIDS)
        self.ids = [f"two_digits_{seed}_{index:04d}" for index in range(count)]

    def __len__(self) -> int:
        return self.count

    @cached_property
    def labels(self) -> list[int]:
        """The class of the large digit of each sample: the classes in turn."""
        return [index % len(WNIDS) for index in range(self.count)]

    def __getitem__(self, index: int) -> ImageSample:
        from bench.embedded.images import draw  # needs scikit-learn's digits

        index = range(self.count)[index]
        rng = np.random.default_rng([self.seed, index])
        while (picture := draw(rng, "heldout", self.labels[index])).other_label is None:
            pass  # half of all have two digits
        image = Image.fromarray(picture.pixels)
        return ImageSample(
            self.ids[index],
            image,
            picture.label,
            picture.mask,
            other_label=picture.other_label,
            other_mask=picture.other_mask,
        )
