"""What a model predicts for the samples as they are, whatever explains it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.models import Model
from bench.tasks.base import Explanations, Variant


@dataclass(frozen=True)
class Predictions:
    """The annotated and the predicted class of each sample, numbered as by the data set.

    Columns: ``label`` (None where there is none) and ``predicted``.
    """

    name: ClassVar[str] = "predictions"
    version: ClassVar[int] = 1
    modality: ClassVar[None] = None
    needs_maps: ClassVar[bool] = False
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    def check(self, model: Model, sample: Any) -> None:
        """Every model predicts."""

    def passes(self, units: int) -> int:
        """Forward passes of a sample."""
        return 1

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """Both classes of each sample."""
        return {"label": explanations.batch.labels, "predicted": explanations.predicted.tolist()}
