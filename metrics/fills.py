"""What takes the place of removed pixels: colours, blurred images, and imputation from what is left."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.checks import require_finite, require_shape
from metrics.imputation import impute

ImageFill = Literal["black", "mean", "image_mean", "blur"]


def fill_pixels(fill: ImageFill, pixels: Tensor, mean: Sequence[float], sigma: float | None = None) -> Tensor:
    """What removed pixels become, in 0..1, in a shape that broadcasts to that of the pixels.

    Args:
        fill: ``black``; ``mean``, that of the model; ``image_mean``, of each channel of each image; ``blur``,
            the image under a Gaussian.
        pixels: (batch, channels, height, width) in 0..1.
        mean: of each channel, that the model subtracts.
        sigma: of the Gaussian, in pixels, for ``blur``.

    Raises:
        ValueError: for another fill, or ``blur`` without a ``sigma`` above 0.
    """
    require_shape("pixels", pixels, None, None, None, None)
    if fill == "black":
        return pixels.new_zeros(1, pixels.shape[1], 1, 1)
    if fill == "mean":
        return torch.as_tensor(mean, dtype=pixels.dtype, device=pixels.device).view(1, -1, 1, 1)
    if fill == "image_mean":
        return pixels.double().mean((2, 3), keepdim=True).to(pixels.dtype)
    if fill == "blur":
        if sigma is None or not sigma > 0:
            raise ValueError(f"sigma={sigma}: fill=blur needs a number of pixels above 0, e.g. 10")
        return gaussian_blur(pixels, sigma)
    raise ValueError(f"fill={fill!r}: expected black, mean, image_mean or blur")


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Images (batch, channels, height, width) under a Gaussian, cut at 4 σ; the border is repeated."""
    radius = int(4 * sigma + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    weights = (weights / weights.sum()).to(images)
    flat = images.flatten(0, 1)[:, None]
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weights.view(1, 1, -1, 1))
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
    return flat[:, 0].view_as(images)


def rise_blur(images: Tensor, length: int = 11, sigma: float = 5.0) -> Tensor:
    """The blurred images that RISE's insertion score starts from, of the normalised images it is given.

    Petsiuk et al., BMVC 2018, as coded there: the kernel is a single point of ``length`` × ``length`` under a
    Gaussian, reflected at the border of that square, so that it sums to 1; the images are padded with zeros.
    """
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    row = np.zeros(length)
    for place in range(length):
        for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
            # Reflected with the border repeated: … c b a | a b c … | c b a …
            reflected = (place + offset) % (2 * length)
            reflected = min(reflected, 2 * length - 1 - reflected)
            row[place] += weight * (reflected == length // 2)
    kernel = torch.from_numpy(np.outer(row, row)).to(images)
    channels = images.shape[1]
    weight = kernel.expand(channels, 1, length, length).contiguous()
    return F.conv2d(images, weight, padding=length // 2, groups=channels)


def inpaint(pixels: Tensor, missing: Tensor) -> Tensor:
    """Missing pixels as weighted means of their neighbours: noisy linear imputation, without its noise.

    Rong et al., ICML 2022 (ROAD): each missing pixel is the mean of its eight neighbours, those above, below
    and beside it with the weight 1/6, the diagonal ones 1/12; at the border of the image of those that exist,
    with the weights over their sum. These are one linear system for all missing pixels of an image, solved in
    double precision to a relative residual of 1e-8.

    Args:
        pixels: (batch, channels, height, width); those that are missing are not looked at.
        missing: (batch, height, width), boolean.

    Raises:
        ValueError: for NaN or infinity, or an image of which nothing is left.
    """
    require_shape("pixels", pixels, None, None, None, None)
    require_shape("missing", missing, len(pixels), *pixels.shape[-2:])
    if (empty := missing.flatten(1).all(1)).any():
        raise ValueError(
            f"missing: sample(s) {empty.nonzero().flatten().tolist()} have no pixel left to impute from; remove at "
            "most 90 %"
        )
    known = pixels.double().masked_fill(missing[:, None], 0)
    require_finite("pixels", known)
    return torch.where(missing[:, None], impute(known, missing).to(pixels.dtype), pixels)
