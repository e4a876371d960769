"""Perturbation test: accuracy while the pixels disappear in the order of their relevance.

Chefer, Gur, Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.bootstrap import Statistic
from metrics.checks import require_shape
from metrics.metric import Columns, Curve, Metric, annotated, stacked


def removed(ranks: Tensor, fraction: float, most_relevant_first: bool) -> Tensor:
    """Which pixels are gone when ``fraction`` of them is masked: bool (B, H, W), True at ⌊H·W·fraction⌋ each.

    ``ranks`` (B, H, W) is :func:`metrics.rank` of the pixel maps. The positive test removes the most relevant
    pixels first, the negative test the least relevant, from the same ranking read backwards; so of equally
    relevant pixels the positive test removes the upper left first and the negative test the lower right, and
    even a constant map has two curves. Masks of growing fractions contain each other.

    Raises ValueError for a fraction outside [0, 1].
    """
    require_shape("ranks", ranks, None, None, None)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected a number in [0, 1], got {fraction}")
    pixels = ranks[0].numel()
    # Rounded first: 90 · 0.7 is 62.99999999999999 in floating point and means 63.
    count = int(round(pixels * fraction, 6))
    return ranks < count if most_relevant_first else ranks >= pixels - count


def accuracy_curve(hits: ArrayLike) -> np.ndarray:
    """Top-1 accuracy (…, steps) in 0..1 from hits (…, n, steps): one row per image, one column per step."""
    return np.asarray(hits, dtype=np.float64).mean(-2)


def auc(curve: ArrayLike, fractions: ArrayLike) -> np.ndarray:
    """Area under curves (…, steps) over the masked ``fractions`` (steps,) by the trapezoid rule, times 100.

    The steps 0, 0.1, …, 0.9 end at 0.9, so a perfect curve is worth 90, not 100. The area is linear in the
    curve: that of the mean curve is the mean of the areas under each image's own hits.

    Raises ValueError if the fractions do not increase or differ in number from the steps of the curve.
    """
    curve, fractions = np.asarray(curve, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    if fractions.shape != curve.shape[-1:]:
        raise ValueError(f"fractions: expected shape {curve.shape[-1:]}, as the curve, got {fractions.shape}")
    widths = np.diff(fractions)
    if (widths <= 0).any():
        raise ValueError(f"fractions: expected increasing numbers, got {fractions.tolist()}")
    return 100 * ((curve[..., 1:] + curve[..., :-1]) / 2 * widths).sum(-1)


@dataclass(frozen=True, kw_only=True)
class PerturbationAUC(Metric):
    """Area under the accuracy while the most or the least relevant pixels are masked first, times 100.

    Chefer, Gur, Wolf, CVPR 2021, section 4. The positive test masks the most relevant first: lower is better.
    Columns: ``label``, ``predicted`` and ``{positive,negative}_predictions``, the class predicted at each step.

    Args:
        direction: ``positive`` or ``negative``.
        steps: the masked fractions, rising from 0.
        hits: what a prediction must be to count: the ``label``, or what was ``predicted`` for the clean image,
            whichever class is explained.
        only_correct: leave out images that the model does not classify correctly.

    Raises:
        ValueError: for another direction or kind of hits, fewer than two steps, or ``only_correct`` that is neither
            true nor false.
    """

    columns: ClassVar[tuple[str, ...]] = (
        *("label", "predicted", "positive_predictions", "negative_predictions"),
    )

    direction: Literal["positive", "negative"]
    steps: Sequence[float]
    hits: Literal["label", "predicted"] = "label"
    only_correct: bool = False
    unit: str = "AUC × 100"
    range: tuple[float, float] = (0.0, 100.0)

    def __post_init__(self):
        for name, known in (("direction", ("positive", "negative")), ("hits", ("label", "predicted"))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {' or '.join(known)}")
        if not isinstance(self.only_correct, bool):
            raise ValueError(f"only_correct={self.only_correct}: expected true or false")
        if not isinstance(self.steps, Sequence) or len(self.steps) < 2:
            raise ValueError(f"steps={self.steps}: expected the masked fractions, two or more")

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The area at k = 0."""
        areas = auc(self._hits(columns), self.steps)
        greatest = float(auc(np.ones(len(self.steps)), self.steps))
        return {0: Statistic.mean(areas, defined=self._scored(columns), bounds=(0.0, greatest))}

    def curve(self, columns: Columns) -> Curve:
        """Accuracy in per cent over the masked share of the pixels."""
        hits = self._hits(columns)[self._scored(columns)]
        x, y = "pixels masked, %", "accuracy, %"
        return Curve(100 * np.array(self.steps), 100.0 * hits, x, y, (0.0, 100.0), proportion=True)

    def _hits(self, columns: Columns) -> np.ndarray:
        """Whether each prediction is a hit, (samples, steps).

        Raises:
            ValueError: if there are not as many predictions as steps, or a class to compare with is missing.
        """
        predictions = stacked(columns[f"{self.direction}_predictions"], len(self.steps))
        return predictions == annotated(columns[self.hits], self.hits)[:, None]

    def _scored(self, columns: Columns) -> np.ndarray:
        if not self.only_correct:
            return np.ones(len(columns["predicted"]), dtype=bool)
        return annotated(columns["label"], "label") == np.asarray(columns["predicted"])
