"""A measurement and a metric of one's own: how concentrated maps are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from metrics import Metric, Statistic


@dataclass(frozen=True)
class Concentration:
    """The share of all relevance, by magnitude, that the tenth of the patches or tokens with the most has.

    Column: ``concentration``.
    """

    name: ClassVar[str] = "concentration"  # the folder of the stored columns
    version: ClassVar[int] = 1  # raise it when the columns change
    modality: ClassVar[None] = None  # image, text, or None for both
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False  # the columns depend on the class through the maps alone
    variants: ClassVar[Sequence] = ()

    def check(self, model, sample) -> None:
        """Raise bench.errors.BenchError here if it cannot be measured on such a model or sample."""

    def measure(self, explanations) -> dict[str, Sequence]:
        """One number per sample of the batch."""
        magnitudes = explanations.maps.values.flatten(1).double().abs()
        most = magnitudes.topk(max(1, magnitudes.shape[1] // 10)).values.sum(dim=1)
        return {"concentration": (most / magnitudes.sum(dim=1).clamp(min=1e-300)).tolist()}


@dataclass(frozen=True, kw_only=True)
class MeanConcentration(Metric):
    """The mean over samples. A description: a map can be concentrated and wrong, so nobody is the best."""

    columns: ClassVar[tuple[str, ...]] = ("concentration",)

    higher_is_better: None = None

    def statistics(self, columns) -> dict[int, Statistic]:
        """The mean at k = 0."""
        return {0: Statistic.mean(columns["concentration"])}
