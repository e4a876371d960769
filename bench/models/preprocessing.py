"""From a decoded image to the pixels that a model sees."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data import ImageSample
from bench.errors import BenchError
from metrics import box_mask

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class ImageSettings:
    """How images are brought to the model's size (``protocol.images``).

    Args:
        size: height and width in pixels.
        resize: ``squash`` to size × size whatever the aspect, or ``model``: the model's own resizing of the
            shorter side, followed by a centre crop.
        interpolation: ``nearest``, ``bilinear`` or ``bicubic``, for squashed images; None for ``model``,
            which takes the model's own. Masks always take the nearest.

    Raises:
        BenchError: for settings out of range.
    """

    size: int
    resize: Literal["squash", "model"]
    interpolation: str | None

    def __post_init__(self):
        if type(self.size) is not int or self.size < 1:
            raise BenchError(f"protocol.images.size={self.size}: expected a number of pixels, 1 or more")
        if self.resize not in ("squash", "model"):
            raise BenchError(f"protocol.images.resize={self.resize!r}: expected squash or model")
        known = [None] if self.resize == "model" else list(INTERPOLATIONS)
        if self.interpolation not in known:
            expected = "null" if self.resize == "model" else f"one of {', '.join(known)}"
            raise BenchError(
                f"protocol.images.interpolation={self.interpolation!r}: expected {expected} with "
                f"resize={self.resize}"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "ImageSettings":
        """Build from the section ``inputs`` of a task.

        Raises:
            BenchError: for a setting that is missing, unknown or out of range.
        """
        try:
            return cls(**settings)
        except TypeError as e:
            raise BenchError(
                f"task.inputs={settings}: expected size, resize and interpolation, as protocol.images has them"
            ) from e

    def check(self, model: Any) -> None:
        """Raises BenchError if the model takes images of another size."""
        if model.input_size != (self.size, self.size):
            raise BenchError(
                f"protocol.images.size={self.size}: the model takes {model.input_size} pixels; "
                "set the size to the model's, or model.options.img_size to the protocol's"
            )

    def preparation(self, model: Any) -> "Preparation":
        """What brings samples to a model's size."""
        return Preparation(self, model.crop, model.interpolation)

    def pixels(self, image: Image.Image, model: Any) -> Tensor:
        """(3, size, size), float32 in 0..1, not yet normalised."""
        own = self.resize == "model"
        fitted = self._fit(image, model, INTERPOLATIONS[model.interpolation if own else self.interpolation])
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 255

    def mask(self, mask: np.ndarray, model: Any) -> Tensor:
        """(size, size), boolean, from a boolean (H, W), resized and cropped as the image is."""
        fitted = self._fit(Image.fromarray(mask.astype(np.uint8)), model, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(fitted)).bool()

    def boxes(self, boxes: Sequence[Sequence[float]], image: Image.Image, model: Any) -> Tensor:
        """(size, size), boolean, True where a box of the image is once it is resized and cropped.

        The ends of boxes are moved, not their pixels, so that they lose nothing by rounding twice.
        """
        width, height, left, top = self.size, self.size, 0, 0
        if self.resize == "model":
            (width, height), (left, top, *_) = self._resized_and_cropped(image, model)
        across, down = width / image.width, height / image.height
        moved = [
            (x0 * across - left, y0 * down - top, x1 * across - left, y1 * down - top)
            for x0, y0, x1, y1 in boxes
        ]
        return box_mask(moved, (self.size, self.size))

    def seen(self, image: Image.Image, model: Any) -> Image.Image:
        """The part of the image that becomes the pixels, in its stored resolution and aspect: for readers."""
        if self.resize == "squash":
            return image
        (width, height), box = self._resized_and_cropped(image, model)
        across, down = image.width / width, image.height / height
        return image.crop(tuple(round(edge * s) for edge, s in zip(box, (across, down) * 2, strict=True)))

    def _fit(self, image: Image.Image, model: Any, resampling: Image.Resampling) -> Image.Image:
        if self.resize == "squash":
            return image.resize((self.size, self.size), resampling)
        size, box = self._resized_and_cropped(image, model)
        return image.resize(size, resampling).crop(box)

    def _resized_and_cropped(
        self, image: Image.Image, model: Any
    ) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """The size before the crop, and the crop's box in it."""
        # What timm's own transform does, to the pixel (tests compare): the longer side is not rounded.
        shorter = math.floor(self.size / model.crop)
        width, height = (int(shorter * side / min(image.size)) for side in image.size)
        left, top = (round((side - self.size) / 2) for side in (width, height))
        return (width, height), (left, top, left + self.size, top + self.size)


@dataclass(frozen=True)
class Preparation:
    """Brings samples to a model's size; light enough to be sent to the processes that load them.

    Attributes:
        settings: how.
        crop, interpolation: of the model's own preprocessing.
    """

    settings: ImageSettings
    crop: float
    interpolation: str

    def __call__(self, sample: ImageSample) -> ImageSample:
        """The sample with its image and its masks as tensors of the model's size; boxes become a mask."""
        changed = {"image": self.settings.pixels(sample.image, self)}
        for name in ("mask", "other_mask"):
            if getattr(sample, name, None) is not None:
                changed[name] = self.settings.mask(getattr(sample, name), self)
        if getattr(sample, "boxes", None) is not None:
            changed |= {"mask": self.settings.boxes(sample.boxes, sample.image, self), "boxes": None}
        return replace(sample, **changed)
