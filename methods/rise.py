"""# RISE

**Formula.** N random masks m_n: a coarse grid of cells, each on with probability p, enlarged linearly and
shifted at random, so that its values lie in 0..1. The map is Σ_n p_t(x ⊙ m_n) m_n / (N p), with p_t the
softmax probability of the explained class. Class-specific, nowhere negative.

**Cost and memory.** N forward passes for each sample and no backward pass; ``chunk`` masked copies of a
sample go through the model at once. Several classes cost no more than one. One set of masks serves all
samples.

**Reference.** Petsiuk, Das & Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models",
BMVC 2018 (arXiv 1806.07421). Code: eclique/RISE, MIT licence.

**Paper and code.** The paper takes 4000 masks (8000 for ResNet-50), the notebook 2000. The code masks the
*normalised* input, so what is masked has the data set's mean colour. The grid is enlarged beyond the image by
one cell and mirrored at its borders, as the code's image library does; the same seed draws the same masks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from methods.common import Passes, each_class
from methods.perturbed import predicted, probabilities
from methods.places import pixels_of
from methods.relevance import Forward, Inputs


@dataclass(frozen=True)
class RISE:
    """The mean of random masks, weighed by the probability that the masked image keeps.

    Args:
        count: masks, N.
        cells: of the coarse grid, in each direction.
        probability: that a cell is on, p.
        seed: another seed draws other masks; they are the same for every sample.
        chunk: masked images that go through the model at once.

    Raises:
        ValueError: for numbers below 1, and a probability that is not between 0 and 1.
    """

    version: ClassVar[int] = 1

    count: int = 4000
    cells: int = 8
    probability: float = 0.5
    seed: int = 0
    chunk: int = 64

    def __post_init__(self):
        for name in ("count", "cells", "chunk"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected at least 1")
        if not 0 < self.probability < 1:
            raise ValueError(f"probability={self.probability}: expected a number between 0 and 1")

    def passes(self, tokens: int, blocks: int) -> Passes:
        """One forward pass for each mask."""
        return Passes(self.count, 0)

    def for_check(self) -> "RISE":
        """The same with few masks."""
        return RISE(4, self.cells, self.probability, self.seed, self.chunk)

    def masks(self, height: int, width: int) -> Iterator[Tensor]:
        """The masks, (up to ``chunk``, height, width) at a time."""
        draw = np.random.RandomState(self.seed)  # a stream that stays the same in every version of numpy
        on = draw.rand(self.count, self.cells, self.cells) < self.probability
        cell = ceil(height / self.cells), ceil(width / self.cells)
        shifts = [[draw.randint(0, size) for size in cell] for _ in range(self.count)]
        rows, columns = (_enlarging(self.cells, (self.cells + 1) * size) for size in cell)
        for start in range(0, self.count, self.chunk):
            grids = torch.from_numpy(on[start : start + self.chunk]).to(rows.dtype)
            large = rows @ grids @ columns.mT
            yield torch.stack(
                [
                    mask[top : top + height, left : left + width]
                    for mask, (top, left) in zip(large, shifts[start : start + self.chunk], strict=True)
                ]
            )

    def __call__(self, forward: Forward, inputs: Inputs, target: Tensor | None = None) -> Tensor:
        """Explain ``target`` (batch,), or the predicted class if None; returns (batch, height, width).

        A ``target`` of (batch, classes) returns (batch, classes, height, width).

        Raises:
            RefusedError: for inputs that are no images.
        """
        images = pixels_of(inputs, self)
        target = predicted(forward, images) if target is None else target
        several = each_class(target)
        maps = images.new_zeros(*several.shape, *images.shape[-2:])
        for masks in self.masks(*images.shape[-2:]):
            masks = masks.to(images)
            for sample, image in enumerate(images):
                kept = probabilities(forward, image * masks[:, None])[:, several[sample].to(images.device)]
                maps[sample] += torch.einsum("nc,nhw->chw", kept.to(masks.dtype), masks)
        maps /= self.count * self.probability
        return maps[:, 0] if target.ndim == 1 else maps


def _enlarging(size: int, to: int) -> Tensor:
    """The matrix (to, size) of linear interpolation between cells' centres, mirrored at the outer centres."""
    at = (torch.arange(to, dtype=torch.float64) + 0.5) * size / to - 0.5
    at = at.abs()
    at = torch.where(at > size - 1, 2 * (size - 1) - at, at).clamp(min=0)  # a single cell has no neighbour
    below = at.floor().long().clamp(max=max(size - 2, 0))
    weights = torch.zeros(to, size, dtype=torch.float64)
    weights.scatter_(1, below[:, None], (1 - (at - below))[:, None])
    if size > 1:
        weights.scatter_(1, below[:, None] + 1, (at - below)[:, None])
    return weights
