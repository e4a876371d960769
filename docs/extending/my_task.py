"""A task of one's own: does the most relevant pixel lie on the annotated object?

Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016 (arXiv 1608.00507), pointing game.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.errors import BenchError
from metrics import Metric, Statistic, rank


@dataclass(frozen=True)
class Pointing:
    """Whether the most relevant pixel, the first of equals, lies in the mask. Column: ``hit``."""

    name: ClassVar[str] = "pointing"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "image"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence] = ()

    def check(self, model, sample) -> None:
        """Raises BenchError for images without masks."""
        if getattr(sample, "mask", None) is None:
            raise BenchError("dataset: the pointing game needs masks; choose one that has them")

    def measure(self, explanations) -> dict[str, Sequence]:
        """Hit or not, for each image."""
        first = rank(explanations.pixels) == 0
        return {"hit": (first & explanations.batch.masks).flatten(1).any(dim=1).tolist()}


@dataclass(frozen=True, kw_only=True)
class PointingGame(Metric):
    """The share of hits in per cent."""

    columns: ClassVar[tuple[str, ...]] = ("hit",)

    unit: str = "%"
    range: tuple[float, float] = (0.0, 100.0)

    def statistics(self, columns) -> dict[int, Statistic]:
        """The share at k = 0."""
        return {0: Statistic.mean(columns["hit"], scale=100)}
