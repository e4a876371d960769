"""Faithfulness: what the curves of one run of removing units are worth, as metrics on stored columns.

The formulas and their sources are in :mod:`metrics.curves`. *positive* curves have the most relevant units
removed first, *negative* ones the least relevant. Which unit and which fill is a setting of the measurement,
and part of every title: numbers of different fills cannot be compared.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from metrics.bootstrap import Statistic
from metrics.curves import (
    aopc,
    area,
    comprehensiveness,
    decision_flip,
    log_odds,
    normalised_aopc,
    srg,
    sufficiency,
)
from metrics.metric import Columns, Curve, Metric, stacked

Direction = Literal["positive", "negative"]
Quantity = Literal["probability", "logit"]


@dataclass(frozen=True, kw_only=True)
class PerSample(Metric):
    """The mean over samples of one number of each. A sample whose number is NaN is undefined: it is counted, not 0."""

    @abstractmethod
    def values(self, columns: Columns) -> np.ndarray:
        """The number of each sample, (samples,), NaN where it is undefined."""

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The mean at k = 0."""
        values = np.asarray(self.values(columns), dtype=np.float64)
        return {0: Statistic.mean(values, defined=np.isfinite(values))}


@dataclass(frozen=True, kw_only=True)
class ColumnMean(PerSample):
    """The mean of a stored column, None or NaN being undefined.

    Args:
        column: its name.
        least, greatest: the range.
        share: whether it holds 1 and 0 alone, so that the mean is a proportion.
    """

    column: str
    least: float = 0.0
    greatest: float = 1.0
    share: bool = False

    def __post_init__(self):
        object.__setattr__(self, "range", (self.least, self.greatest))

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The mean at k = 0."""
        if not self.share:
            return super().statistics(columns)
        values = self.values(columns)
        return {0: Statistic.share(values, defined=np.isfinite(values))}

    def values(self, columns: Columns) -> np.ndarray:
        """As they are stored."""
        return np.asarray(columns[self.column], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class _OfCurves(PerSample):
    """What the metrics of curves have in common.

    Args:
        steps: the removed fractions, rising from 0.
    """

    steps: Sequence[float]

    def __post_init__(self):
        if not isinstance(self.steps, Sequence) or len(self.steps) < 2:
            raise ValueError(f"steps={self.steps}: expected the removed fractions, two or more")

    def _curve(self, columns: Columns, direction: Direction, quantity: str) -> np.ndarray:
        return stacked(columns[f"{direction}_{quantity}"], len(self.steps))


@dataclass(frozen=True, kw_only=True)
class RemovalArea(_OfCurves):
    """Area under the probability of the explained class, over removed fractions.

    Most relevant first it is the deletion score (RISE) or MoRF, lower is better; least relevant first LeRF,
    higher is
    better: the insertion score where units are put back in the place of the same fill.

    Args:
        direction: ``positive`` (most relevant first) or ``negative``.

    Raises:
        ValueError: for another direction, or fewer than two steps.
    """

    columns: ClassVar[tuple[str, ...]] = ("positive_probability", "negative_probability")

    direction: Direction

    def __post_init__(self):
        super().__post_init__()
        _check("direction", self.direction, Direction)

    def values(self, columns: Columns) -> np.ndarray:
        """The area of each sample."""
        return area(self._curve(columns, self.direction, "probability"), self.steps)

    def curve(self, columns: Columns) -> Curve:
        """The probability in per cent over the removed share."""
        values = 100 * self._curve(columns, self.direction, "probability")
        return Curve(100 * np.array(self.steps), values, "units removed, %", "probability of the class, %")


@dataclass(frozen=True, kw_only=True)
class SymmetricRelevanceGain(_OfCurves):
    """SRG: the area between the curves with the least and with the most relevant units removed first (Blücher
    et al. 2024).

    0 on average for a random map, whatever the fill.
    """

    columns: ClassVar[tuple[str, ...]] = ("positive_probability", "negative_probability")

    range: tuple[float, float] = (-1.0, 1.0)

    def values(self, columns: Columns) -> np.ndarray:
        """The gain of each sample."""
        most, least = (self._curve(columns, d, "probability") for d in ("positive", "negative"))
        return srg(most, least, self.steps)

    def curve(self, columns: Columns) -> Curve:
        """The difference of the probabilities in per cent over the removed share."""
        most, least = (self._curve(columns, d, "probability") for d in ("positive", "negative"))
        return Curve(100 * np.array(self.steps), 100 * (least - most), "units removed, %", "LeRF − MoRF, %")


@dataclass(frozen=True, kw_only=True)
class Road(SymmetricRelevanceGain):
    """ROAD in one number: the mean over the removed fractions above 0 of half of LeRF − MoRF (Rong et al. 2022).

    With the noisy linear imputation as fill, as pytorch-grad-cam combines both orders.
    """

    range: tuple[float, float] = (-0.5, 0.5)

    def values(self, columns: Columns) -> np.ndarray:
        """The number of each sample."""
        most, least = (self._curve(columns, d, "probability") for d in ("positive", "negative"))
        removed = np.array(self.steps) > 0
        return (least - most)[:, removed].astype(np.float64).mean(axis=1) / 2


@dataclass(frozen=True, kw_only=True)
class AOPC(_OfCurves):
    """Mean drop over all steps with the most relevant units removed first (Samek et al. 2017).

    Args:
        quantity: of which the drop is: ``probability`` or ``logit``.

    Raises:
        ValueError: for another quantity, or fewer than two steps.
    """

    columns: ClassVar[tuple[str, ...]] = ("positive_probability", "positive_logit")

    quantity: Quantity = "probability"

    def __post_init__(self):
        super().__post_init__()
        _check("quantity", self.quantity, Quantity)
        bound = 1.0 if self.quantity == "probability" else float("inf")
        object.__setattr__(self, "range", (-bound, bound))

    def values(self, columns: Columns) -> np.ndarray:
        """The mean drop of each sample."""
        return aopc(self._curve(columns, "positive", self.quantity))


@dataclass(frozen=True, kw_only=True)
class NormalisedAOPC(PerSample):
    """AOPC over groups of units, between the least and the greatest that any order of them has (Edin et al. 2024).

    0 for the worst and 1 for the best order of this input, so that numbers of several models can be compared. A
    bound that a beam search found may be passed a little. Undefined where both bounds are equal.
    """

    columns: ClassVar[tuple[str, ...]] = ("group_probability", "aopc_lower", "aopc_upper")

    def values(self, columns: Columns) -> np.ndarray:
        """The number of each sample."""
        found = [aopc(curve) for curve in columns["group_probability"]]
        bounds = (np.asarray(columns[f"aopc_{end}"], dtype=np.float64) for end in ("lower", "upper"))
        return normalised_aopc(found, *bounds)


@dataclass(frozen=True, kw_only=True)
class DecisionFlip(_OfCurves):
    """The first removed fraction at which another class is predicted, most relevant first; 1 where that never
    happens."""

    columns: ClassVar[tuple[str, ...]] = ("positive_predictions",)

    higher_is_better: bool = False

    def values(self, columns: Columns) -> np.ndarray:
        """The fraction of each sample."""
        return decision_flip(self._curve(columns, "positive", "predictions"), self.steps)[0]


@dataclass(frozen=True, kw_only=True)
class _OfBins(PerSample):
    """What the metrics of ERASER's bins have in common.

    Args:
        bins: the fractions of the units taken as the most relevant.
    """

    bins: Sequence[float]

    def __post_init__(self):
        if not isinstance(self.bins, Sequence) or not self.bins:
            raise ValueError(f"bins={self.bins}: expected fractions of the units")

    def _clean(self, columns: Columns) -> np.ndarray:
        return np.asarray(columns["log_probability"], dtype=np.float64)

    def _column(self, columns: Columns, name: str) -> np.ndarray:
        return stacked(columns[name], len(self.bins)).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Comprehensiveness(_OfBins):
    """Mean over bins of p(x) − p(x without its most relevant units) (ERASER, DeYoung et al. 2020)."""

    columns: ClassVar[tuple[str, ...]] = ("log_probability", "without_top_log_probability")

    range: tuple[float, float] = (-1.0, 1.0)

    def values(self, columns: Columns) -> np.ndarray:
        """The mean of each sample."""
        without = np.exp(self._column(columns, "without_top_log_probability"))
        return comprehensiveness(np.exp(self._clean(columns)), without)


@dataclass(frozen=True, kw_only=True)
class Sufficiency(_OfBins):
    """Mean over bins of p(x) − p(x with only its most relevant units) (ERASER, DeYoung et al. 2020)."""

    columns: ClassVar[tuple[str, ...]] = ("log_probability", "only_top_probability")

    higher_is_better: bool = False
    range: tuple[float, float] = (-1.0, 1.0)

    def values(self, columns: Columns) -> np.ndarray:
        """The mean of each sample."""
        return sufficiency(np.exp(self._clean(columns)), self._column(columns, "only_top_probability"))


@dataclass(frozen=True, kw_only=True)
class LogOdds(_OfBins):
    """Mean over bins of ln p(x without its most relevant units) − ln p(x) (Shrikumar et al. 2017)."""

    columns: ClassVar[tuple[str, ...]] = ("log_probability", "without_top_log_probability")

    higher_is_better: bool = False
    range: tuple[float, float] = (-np.inf, np.inf)

    def values(self, columns: Columns) -> np.ndarray:
        """The mean of each sample, in nats."""
        return log_odds(self._clean(columns), self._column(columns, "without_top_log_probability"))


def _check(name: str, value: str, known: object) -> None:
    if value not in known.__args__:
        raise ValueError(f"{name}={value!r}: expected {' or '.join(known.__args__)}")
