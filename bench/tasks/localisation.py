"""Localisation: does the relevance lie on the annotated object? Without forward passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

import metrics
from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import Explanations, Variant, expect_modality, is_number


@dataclass(frozen=True)
class Localisation:
    """Compare maps, upsampled to pixels and with their sign, with masks or boxes.

    Columns, each None where it is undefined (:mod:`metrics.localisation`): ``hit`` and ``hit_tolerant``, 1 or
    0; ``mass``, ``mass_over_chance``, ``rank_accuracy``, ``roc_auc``, ``top_k``; and ``mask_share``.

    Args:
        tolerance: of the second pointing game, in pixels.
        k: how many of the most relevant pixels ``top_k`` takes.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "localisation"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    tolerance: float = 15
    k: int = 1000

    def __post_init__(self):
        if not is_number(self.tolerance) or self.tolerance < 0:
            raise BenchError(f"protocol.localisation.tolerance={self.tolerance}: expected pixels, 0 or more")
        if type(self.k) is not int or self.k < 1:
            raise BenchError(f"protocol.localisation.k={self.k}: expected a number of pixels, 1 or more")

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model, texts, or images without masks and boxes."""
        expect_modality("image", model, sample)
        if sample.mask is None and getattr(sample, "boxes", None) is None:
            raise BenchError(
                "dataset: localisation needs masks or boxes; choose dataset=imagenet_segmentation, "
                "dataset=imagenet_boxes or one like them"
            )

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The numbers of each sample."""
        masks = explanations.batch.masks
        if masks is None:
            raise BenchError("dataset: localisation needs masks or boxes, and some samples have none")
        maps = explanations.maps.upsampled(tuple(explanations.batch.inputs.shape[-2:]))
        if self.k > masks[0].numel():
            raise BenchError(
                f"protocol.localisation.k={self.k}: images of {masks[0].numel()} pixels have no more than these"
            )
        columns = {
            "hit": metrics.pointing_game(maps, masks),
            "hit_tolerant": metrics.pointing_game(maps, masks, self.tolerance),
            "mass": metrics.mass_accuracy(maps, masks),
            "mass_over_chance": metrics.mass_over_chance(maps, masks),
            "rank_accuracy": metrics.rank_accuracy(maps, masks),
            "roc_auc": metrics.roc_auc(maps, masks),
            "top_k": metrics.top_k_intersection(maps, masks, self.k),
            "mask_share": metrics.mask_share(masks),
        }
        return {name: known(values) for name, values in columns.items()}


def known(values: Tensor) -> list[float | None]:
    """Numbers (batch,) as a column, NaN as None."""
    return [None if value != value else value for value in values.tolist()]
