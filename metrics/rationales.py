"""Plausibility and agreement with leaving words out, as metrics on stored columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from metrics.agreement import kendall
from metrics.bootstrap import Statistic
from metrics.faithfulness import PerSample
from metrics.metric import Columns, Curve, Metric, stacked


@dataclass(frozen=True, kw_only=True)
class SpanF1(Metric):
    """IOU F1 of the spans that the k most relevant words make, for several k, as ERASER's scorer has it.

    :func:`metrics.span_f1` says what is averaged how. Columns: ``span_hits``, ``span_predicted`` and
    ``span_annotated``.

    Args:
        ks: numbers of words.
        average: ``macro`` or ``micro``.

    Raises:
        ValueError: for another average, or no ``ks``.
    """

    columns: ClassVar[tuple[str, ...]] = ("span_hits", "span_predicted", "span_annotated")

    ks: Sequence[int]
    average: Literal["micro", "macro"] = "macro"

    def __post_init__(self):
        if self.average not in ("micro", "macro"):
            raise ValueError(f"average={self.average!r}: expected micro or macro")
        if not isinstance(self.ks, Sequence) or not self.ks:
            raise ValueError(f"ks={self.ks}: expected numbers of words")

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The F1 of the data set by k: a ratio of sums over documents."""
        hits, predicted = (stacked(columns[name], len(self.ks)).astype(float) for name in self.columns[:2])
        annotated = np.asarray(columns["span_annotated"], dtype=np.float64)
        return {k: self._statistic(hits[:, i], predicted[:, i], annotated) for i, k in enumerate(self.ks)}

    def curve(self, columns: Columns) -> Curve:
        """Each document's own F1 over k, whose mean is near the number, not equal to it."""
        hits, predicted = (stacked(columns[name], len(self.ks)).astype(float) for name in self.columns[:2])
        annotated = np.asarray(columns["span_annotated"], dtype=np.float64)[:, None]
        total = predicted + annotated
        own = 2 * hits / np.where(total > 0, total, 1)
        return Curve(
            np.array(self.ks), own, "k, number of words taken as the rationale", "IOU F1 of a document"
        )

    def _statistic(self, hits: np.ndarray, predicted: np.ndarray, annotated: np.ndarray) -> Statistic:
        if self.average == "micro":
            terms = np.stack([hits, predicted, hits, annotated], axis=1)
        else:
            shares = [hits / np.where(whole > 0, whole, 1) for whole in (predicted, annotated)]
            terms = np.stack([shares[0], predicted > 0, shares[1], annotated > 0], axis=1).astype(float)
        return Statistic(terms, self.of_sums)

    @staticmethod
    def of_sums(sums: np.ndarray) -> np.ndarray:
        """F1 (…) of sums (…, 4): of a precision and its number, of a recall and its number; 0/0 is 0."""
        pairs = ((sums[..., i], sums[..., i + 1]) for i in (0, 2))
        precision, recall = (share / np.where(number > 0, number, 1) for share, number in pairs)
        total = precision + recall
        return 2 * precision * recall / np.where(total > 0, total, 1)


@dataclass(frozen=True, kw_only=True)
class TauToLeaveOneOut(PerSample):
    """Kendall's τ_b of a map with what leaving out each unit does (ferret's τ-LOO, Attanasio et al., EACL
    2023).

    Undefined where the map or the drops are constant. Columns: ``unit_scores`` and ``drops``.
    """

    columns: ClassVar[tuple[str, ...]] = ("unit_scores", "drops")

    range: tuple[float, float] = (-1.0, 1.0)

    def values(self, columns: Columns) -> np.ndarray:
        """τ_b of each sample."""
        pairs = zip(columns["unit_scores"], columns["drops"], strict=True)
        return np.array([_tau(np.asarray(scores), np.asarray(drops)) for scores, drops in pairs])


def _tau(scores: np.ndarray, drops: np.ndarray) -> float:
    if scores.shape != drops.shape:
        raise ValueError(
            f"unit_scores: {scores.shape} units, and drops of {drops.shape}; expected the same units"
        )
    return float(kendall(*(torch.tensor(each, dtype=torch.float64)[None] for each in (scores, drops))))
