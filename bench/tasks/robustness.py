"""How maps move when the input hardly does: max-sensitivity."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from bench.errors import BenchError
from bench.models import Model
from bench.models.base import Inputs
from bench.tasks.base import Explanations, Variant, expect_modality, is_number
from bench.tasks.units import seed_of
from metrics import max_sensitivity, relative_distance, uniform_noise


@dataclass(frozen=True)
class NoisyImage(Variant):
    """The image with uniform noise, drawn from the id of the sample, for the same class.

    Args:
        radius: the noise is in −radius..radius, in normalised pixels.
        number: which of several draws it is.
    """

    radius: float
    number: int

    def inputs(self, inputs: Inputs, ids: Sequence[str]) -> Inputs:
        """The images with their noise."""
        drawn = [
            uniform_noise(tuple(inputs.shape[1:]), self.radius, seed_of(name, self.number)) for name in ids
        ]
        return inputs + torch.stack(drawn).to(inputs)


@dataclass(frozen=True)
class MaxSensitivity:
    """Relative distances of the maps of noisy images from the plain one, on the map's own grid.

    Yeh et al., NeurIPS 2019. Columns: ``distances``, one for each draw, None for a map of zeros;
    ``max_sensitivity`` and ``average_sensitivity``, their maximum and mean.

    Args:
        radius: of the noise, in normalised pixels.
        draws: how many noisy images.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "max_sensitivity"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False

    radius: float = 0.02
    draws: int = 10

    def __post_init__(self):
        if not is_number(self.radius) or self.radius <= 0:
            raise BenchError(f"protocol.robustness.radius={self.radius}: expected normalised pixels above 0")
        if type(self.draws) is not int or self.draws < 1:
            raise BenchError(
                f"protocol.robustness.draws={self.draws}: expected a number of noisy images, 1 or more"
            )

    @cached_property
    def variants(self) -> Sequence[Variant]:
        """An explanation of each noisy image."""
        return tuple(NoisyImage(self.radius, number) for number in range(self.draws))

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model or texts."""
        expect_modality("image", model, sample)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The distances of each sample."""
        plain = explanations.maps.values
        found = [relative_distance(plain, explanations.others[variant].values) for variant in self.variants]
        distances = torch.stack(found, dim=1).cpu().numpy()
        whole = max_sensitivity(distances), distances.mean(axis=1)
        undefined = [bool(value != value) for value in whole[0]]
        return {
            "distances": [None if u else row for u, row in zip(undefined, distances, strict=True)],
            "max_sensitivity": [None if u else float(v) for u, v in zip(undefined, whole[0], strict=True)],
            "average_sensitivity": [
                None if u else float(v) for u, v in zip(undefined, whole[1], strict=True)
            ],
        }
