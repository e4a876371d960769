"""The samples of a file of metrics on images, what the model says of them, and the maps that are scored."""

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.verify.offered import metric
from bench.verify.subject import Subject

ROWS = 16  # images in one pass


class ScoredImages:
    """The samples of a file of metrics, what the model says of them, and the maps that are scored.

    Attributes:
        subject: the model and the images of the file.
    """

    def __init__(self, subject: Subject):
        self.subject = subject
        self._without_subsets: dict[int, Tensor] = {}

    @cached_property
    def pixels(self) -> Tensor:
        """In 0..1, before they are normalised."""
        return torch.from_numpy(self.subject.array("images") / 255)

    @cached_property
    def masks(self) -> Tensor:
        """The annotated objects, (samples, height, width), boolean."""
        packed = np.unpackbits(self.subject.array("masks"), axis=-1)
        return torch.from_numpy(packed[..., : self.pixels.shape[-1]].astype(bool))

    @cached_property
    def target(self) -> Tensor:
        """The predicted classes."""
        return self.subject.logits().argmax(dim=1)

    @cached_property
    def clean(self) -> tuple[Tensor, Tensor]:
        """Probability and logit of the explained class, (samples,) each."""
        logits, at = self.subject.logits(), self.target[:, None]
        return logits.softmax(dim=1).gather(1, at)[:, 0], logits.gather(1, at)[:, 0]

    def road_map(self) -> str:
        """The map that ROAD is of: transformer attribution, or the first that is stored."""
        names = [name.removeprefix("map.") for name in self.subject.golden.arrays if name.startswith("map.")]
        return "transformer_attribution" if "transformer_attribution" in names else names[0]

    def map(self, name: str) -> Tensor:
        """A stored map, (samples, patches)."""
        return torch.from_numpy(self.subject.array(f"map.{name}")).double()

    def upsampled(self, name: str) -> Tensor:
        """(samples, height, width)."""
        grid = self.subject.grid
        return metric("upsample")(self.map(name).unflatten(1, (grid.rows, grid.columns)), grid.size)

    def normalise(self, pixels: Tensor) -> Tensor:
        """From 0..1 to what the model takes."""
        settings = self.subject.stem.settings
        mean, std = (
            torch.as_tensor(settings.get(k, 0.5), dtype=torch.float64).view(-1, 1, 1) for k in ("mean", "std")
        )
        return (pixels - mean) / std

    def masked(self, unit: str, fill: str) -> Any:
        """What gives logits of images without some of their units."""
        grid = self.subject.grid
        mean = torch.as_tensor(self.subject.stem.settings.get("mean", 0.5), dtype=torch.float64)
        mean = mean.expand(self.pixels.shape[1]).tolist()
        filled = self.normalise(metric("fill_pixels")(fill, self.pixels, mean))
        size = (grid.rows, grid.columns) if unit == "patch" else None
        return metric("MaskedImages")(self.subject.forward, self.subject.inputs, filled, size)

    def without_subsets(self, size: int) -> Tensor:
        """Logits (samples, subsets, classes) of the images without the stored subsets of so many patches."""
        if size not in self._without_subsets:
            chosen = torch.from_numpy(self.subject.array(f"subsets.n{size}")).long()
            removed = metric("subset_masks")(chosen, self.subject.grid.rows * self.subject.grid.columns)
            masked, count = self.masked("patch", "mean"), len(self.pixels)
            with torch.no_grad():
                found = [
                    masked(torch.full((len(rows),), sample), rows)
                    for sample in range(count)
                    for rows in removed.split(ROWS)
                ]
            self._without_subsets[size] = torch.cat(found).unflatten(0, (count, -1))
        return self._without_subsets[size]

    def outputs(self, masked: Any, ranks: Tensor, most: Tensor, least: Tensor) -> tuple[Any, Any]:
        """What the model says while units are removed from either end of their order."""
        return metric("removal_curves")(masked, ranks, most, least, self.target, rows=ROWS)
