"""How a stored array is made of what a method returns: without prefix tokens, per patch, per pixel, scaled."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.common import min_max

PREFIX = ("cls_token", "dist_token", "distillation_token", "reg_token", "register_tokens")
"""Parameters (1, tokens, width) that stand before the patches."""


@dataclass(frozen=True)
class Grid:
    """Where the patches of a vision model lie.

    Attributes:
        rows, columns: of patches.
        prefix: the tokens before those of the patches.
        size: (height, width) of the image in pixels.
    """

    rows: int
    columns: int
    prefix: int
    size: tuple[int, int]

    @classmethod
    def of(cls, model: nn.Module, size: tuple[int, int]) -> "Grid":
        """Of a model, for images of a size: patches by what timm or the configuration of transformers says."""
        sides = (
            getattr(model.config, "patch_size", 0)
            if hasattr(model, "config")
            else model.patch_embed.patch_size
        )
        sides = (sides, sides) if isinstance(sides, int) else tuple(sides)
        prefix = [p.shape[1] for name, p in model.named_parameters() if name.rpartition(".")[2] in PREFIX]
        return cls(size[0] // sides[0], size[1] // sides[1], sum(prefix), size)

    def patches(self, maps: Tensor) -> Tensor:
        """(batch, patches) of one number per token, with or without the prefix, or of pixels, summed up."""
        count = self.rows * self.columns
        if maps.ndim == 2 and maps.shape[1] in (count, count + self.prefix):
            return maps[:, maps.shape[1] - count :]
        if maps.ndim == 3 and maps.shape[1] % self.rows == maps.shape[2] % self.columns == 0:
            return (
                maps.unflatten(2, (self.columns, -1)).unflatten(1, (self.rows, -1)).sum(dim=(2, 4)).flatten(1)
            )
        raise ValueError(f"a map of shape {tuple(maps.shape)} is neither of {count} patches nor of pixels")


View = Callable[[Tensor, Tensor, Grid], Tensor]


def of_patches_or_pixels(maps: Tensor, golden: Tensor, grid: Grid) -> Tensor:
    """Pixels where pixels are stored, patches otherwise."""
    return maps if golden.ndim == 3 and maps.ndim == 3 else grid.patches(maps)


def scaled_row(maps: Tensor, golden: Tensor, grid: Grid) -> Tensor:
    """A map that is nowhere positive: 0 here, and NaN in the reference, which divides 0 by 0."""
    ours = of_patches_or_pixels(maps, golden, grid)
    undefined = golden.isnan().flatten(1).all(dim=1) & (ours == 0).flatten(1).all(dim=1)
    return ours.masked_fill(undefined[:, None], torch.nan)


def unsigned(maps: Tensor, golden: Tensor, grid: Grid) -> Tensor:
    """A principal component, whose sign is free: with the sign that is stored."""
    ours = of_patches_or_pixels(maps, golden, grid)
    agrees = (ours * golden).sum(dim=1, keepdim=True) >= 0
    return torch.where(agrees, ours, -ours)


def image(maps: Tensor, golden: Tensor, grid: Grid) -> Tensor:
    """Upsampled bilinearly and min–max scaled."""
    maps = grid.patches(maps).unflatten(1, (grid.rows, grid.columns))[:, None]
    large = F.interpolate(maps, size=grid.size, mode="bilinear", align_corners=False)[:, 0]
    return min_max(large, torch.ones_like(large, dtype=torch.bool))


def cam_image(maps: Tensor, golden: Tensor, grid: Grid) -> Tensor:
    """ReLU, scaled, resized and scaled again, as the CAM family has it."""
    from methods.token_cam import scaled

    return scaled(grid.patches(maps), grid.size)


IMAGE_VIEWS: dict[str, View] = {
    "tokens": of_patches_or_pixels,
    "pixels": of_patches_or_pixels,
    "scaled_row": scaled_row,
    "unsigned": unsigned,
    "image": image,
    "cam_image": cam_image,
}
