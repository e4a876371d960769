"""The segmentation test: agreement of a map's foreground with an annotated mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import Explanations, Variant, expect_modality, is_number
from metrics import average_precision, foreground, segmentation_counts


@dataclass(frozen=True)
class MaskOverlap:
    """Compare maps with masks, pixel by pixel.

    Chefer, Gur, Wolf, CVPR 2021, section 4. Columns: ``correct``, ``labelled``, ``intersection`` and ``union`` in
    pixels (:class:`metrics.SegmentationCounts`), and ``average_precision``.

    Args:
        threshold: above which a pixel of the min–max scaled map is foreground: ``mean``, the map's own, or a
            number from 0 to below 1.

    Raises:
        BenchError: for a threshold out of range.
    """

    name: ClassVar[str] = "mask_overlap"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    threshold: Literal["mean"] | float = "mean"

    def __post_init__(self):
        if self.threshold != "mean" and not (is_number(self.threshold) and 0 <= self.threshold < 1):
            raise BenchError(
                f"protocol.segmentation.threshold={self.threshold!r}: expected mean or a number from 0 to "
                "below 1, as maps are scaled to 0..1"
            )

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for a text model, texts, or images without masks."""
        expect_modality("image", model, sample)
        if sample.mask is None:
            raise BenchError(
                "dataset: segmentation needs masks; choose dataset=imagenet_segmentation or one like it"
            )

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """Counts of pixels, and the average precision."""
        maps, masks = explanations.pixels, explanations.batch.masks
        if masks is None:
            raise BenchError(
                "dataset: segmentation needs masks; choose dataset=imagenet_segmentation or one like it"
            )
        counts = segmentation_counts(foreground(maps, self.threshold), masks)
        return {
            "correct": counts.correct.tolist(),
            "labelled": counts.labelled.tolist(),
            "intersection": counts.intersection.tolist(),
            "union": counts.union.tolist(),
            "average_precision": average_precision(maps, masks).tolist(),
        }
