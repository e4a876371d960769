"""The perturbation test: predictions while pixels are masked in the order of their relevance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.models import Model
from bench.models.base import predicted
from bench.tasks.base import Explanations, Variant, expect_modality, is_number, is_rising
from metrics import rank, removed

FILLS = ("black", "mean", "blur")


@dataclass(frozen=True)
class Masking:
    """Mask growing fractions of an image, most relevant pixels first (positive) or last (negative).

    Chefer, Gur, Wolf, CVPR 2021, section 4. Columns: ``positive_predictions`` and ``negative_predictions``, the
    class predicted at each step.

    Args:
        steps: the fractions masked, from 0 up.
        fill: what masked pixels become before normalisation: ``black``, the ``mean`` that the model subtracts,
            or ``blur``, the image under a Gaussian.
        blur_sigma: of that Gaussian, in pixels; None for other fills.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "masking"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    steps: Sequence[float]
    fill: str
    blur_sigma: float | None = None

    def __post_init__(self):
        if not is_rising(self.steps) or len(self.steps) < 2 or self.steps[0] != 0 or self.steps[-1] > 1:
            raise BenchError(
                f"protocol.perturbation.steps={self.steps}: "
                "expected fractions that start at 0 and rise to at most 1"
            )
        if self.fill not in FILLS:
            raise BenchError(f"protocol.perturbation.fill={self.fill!r}: expected one of {', '.join(FILLS)}")
        if self.fill == "blur" and not (is_number(self.blur_sigma) and 0 < self.blur_sigma <= MOST_BLUR):
            raise BenchError(
                f"protocol.perturbation.blur_sigma={self.blur_sigma}: fill=blur needs pixels, e.g. 10, "
                f"at most {MOST_BLUR}"
            )

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model or texts."""
        expect_modality("image", model, sample)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The class predicted at each step, in both directions."""
        model, images = explanations.model, explanations.batch.inputs
        ranks = rank(explanations.pixels)
        fill = model.normalise(self._filled(explanations.batch.pixels, model))

        def predictions(most_relevant_first: bool) -> list[list[int]]:
            steps = [explanations.predicted]
            for fraction in self.steps[1:]:
                masked = removed(ranks, fraction, most_relevant_first)[:, None]
                steps.append(predicted(model, torch.where(masked, fill, images), explanations.numbers))
            return torch.stack(steps, dim=1).tolist()

        return {
            "positive_predictions": predictions(most_relevant_first=True),
            "negative_predictions": predictions(most_relevant_first=False),
        }

    def passes(self, units: int) -> int:
        """Forward passes of a sample: one for each step but the first, in both directions."""
        return 2 * (len(self.steps) - 1)

    def _filled(self, pixels: Tensor, model: Model) -> Tensor:
        """What masked pixels become, in a shape that broadcasts to the pixels (batch, 3, height, width)."""
        if self.fill == "blur":
            from scipy.ndimage import gaussian_filter  # scipy takes its time to import

            sigma = (0, 0, self.blur_sigma, self.blur_sigma)
            blurred = gaussian_filter(pixels.cpu().numpy(), sigma, mode="nearest")
            return torch.from_numpy(blurred).to(pixels)
        colour = torch.zeros(3) if self.fill == "black" else torch.tensor(model.mean)
        return colour.to(pixels).view(1, 3, 1, 1)


MOST_BLUR = 1024  # pixels, beyond the size of any image that models take
