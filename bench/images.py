"""From a decoded image to the pixels a model sees, and from a token map back to pixels."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data import ImageSample
from bench.errors import BenchError
from bench.models import ImageModel
from metrics import minmax, upsample

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

    def check(self, model: ImageModel) -> None:
        """Raises BenchError if the model takes images of another size."""
        if model.input_size != (self.size, self.size):
            raise BenchError(
                f"protocol.images.size={self.size}: the model takes {model.input_size} pixels; "
                "set the size to the model's, or model.options.img_size to the protocol's"
            )

    def preparation(self, model: ImageModel) -> "Preparation":
        """What brings samples to a model's size."""
        return Preparation(self, model.crop, model.interpolation)

    def pixels(self, image: Image.Image, model: "ImageModel | Preparation") -> Tensor:
        """(3, size, size), float32 in 0..1, not yet normalised."""
        own = self.resize == "model"
        fitted = self._fit(image, model, INTERPOLATIONS[model.interpolation if own else self.interpolation])
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1).float() / 255

    def mask(self, mask: np.ndarray, model: "ImageModel | Preparation") -> Tensor:
        """(size, size), boolean, from a boolean (H, W), resized and cropped as the image is."""
        fitted = self._fit(Image.fromarray(mask.astype(np.uint8)), model, Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(fitted)).bool()

    def seen(self, image: Image.Image, model: "ImageModel | Preparation") -> Image.Image:
        """The part of the image that becomes the pixels, in its stored resolution and aspect: for readers."""
        if self.resize == "squash":
            return image
        (width, height), box = self._resized_and_cropped(image, model)
        across, down = image.width / width, image.height / height
        return image.crop(tuple(round(edge * s) for edge, s in zip(box, (across, down) * 2, strict=True)))

    def _fit(
        self, image: Image.Image, model: "ImageModel | Preparation", resampling: Image.Resampling
    ) -> Image.Image:
        if self.resize == "squash":
            return image.resize((self.size, self.size), resampling)
        size, box = self._resized_and_cropped(image, model)
        return image.resize(size, resampling).crop(box)

    def _resized_and_cropped(
        self, image: Image.Image, model: "ImageModel | Preparation"
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
        """The sample with its image and its mask as tensors of the model's size."""
        mask = None if sample.mask is None else self.settings.mask(sample.mask, self)
        return replace(sample, image=self.settings.pixels(sample.image, self), mask=mask)


def pixel_maps(relevance: Tensor, model: ImageModel, size: tuple[int, int]) -> Tensor:
    """What a method returned for a batch of images, as float32 (batch, height, width) maps in 0..1.

    Token maps lose their prefix tokens and are upsampled bilinearly; all maps are min–max scaled.

    Raises:
        BenchError: if the relevance has neither one number per token nor one per pixel.
    """
    return minmax(_upsampled(relevance, model, size)).float()


def signed_maps(relevance: Tensor, model: ImageModel, size: tuple[int, int]) -> Tensor:
    """:func:`pixel_maps` to look at: those with values below 0 are in -1..1 instead, and 0 stays 0.

    They rank pixels alike.
    """
    maps = _upsampled(relevance, model, size)
    signed = maps.amin(dim=(1, 2), keepdim=True) < 0
    greatest = maps.abs().amax(dim=(1, 2), keepdim=True)
    return torch.where(signed, maps / greatest, minmax(maps)).float()


def _upsampled(relevance: Tensor, model: ImageModel, size: tuple[int, int]) -> Tensor:
    # Interpolation makes equal pixels equal up to rounding only, and ranking would take the rounding for a
    # ranking. So it is done in double precision and rounded off later, to the precision of the reference.
    relevance = relevance.double()
    rows, columns = model.grid
    tokens = model.prefix_tokens + rows * columns
    if tuple(relevance.shape[1:]) == (tokens,):
        return upsample(relevance[:, model.prefix_tokens :].unflatten(1, (rows, columns)), size)
    if tuple(relevance.shape[1:]) == size:
        return relevance
    raise BenchError(
        f"method: it returned relevance of shape {tuple(relevance.shape)}; "
        f"expected (batch, {tokens}) tokens, prefix tokens included, or (batch, {size[0]}, {size[1]}) pixels"
    )
