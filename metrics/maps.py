"""From the patches of a model to the pixels of an image."""

import torch.nn.functional as F
from torch import Tensor

from metrics.checks import require_finite, require_shape


def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Patch maps (B, h, w) to pixel maps (B, *size): bilinear, ``align_corners=False``.

    Raises ValueError for NaN or infinity.
    """
    require_shape("maps", maps, None, None, None)
    require_finite("maps", maps)
    pixels = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    # Interpolation cannot leave the range of its input; rounding can. Without this a constant map comes back
    # with noise of 1e-8, which min–max scaling and ranking would take for a map.
    return pixels.clamp(maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True))


def minmax(maps: Tensor) -> Tensor:
    """Scale each map of (B, H, W) to [0, 1]. A constant map, 0/0, becomes 0 everywhere.

    Raises ValueError for NaN or infinity.
    """
    require_shape("maps", maps, None, None, None)
    require_finite("maps", maps)
    low = maps.amin((1, 2), keepdim=True)
    span = maps.amax((1, 2), keepdim=True) - low
    return (maps - low) / span.where(span > 0, 1)
