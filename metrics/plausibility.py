"""How well soft scores and spans of words agree with an annotated rationale.

DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020, as its scorer computes
them: AUPRC, and the IOU F1 of spans. They say whether a map is plausible to people, which is another thing
than faithful to the model.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Span = tuple[int, int]  # words [start, end) of a document


class SpanCounts(NamedTuple):
    """Spans of one document, or of several, each (…)."""

    hits: np.ndarray  # predicted spans that match an annotated one
    predicted: np.ndarray
    annotated: np.ndarray


class PrecisionRecallF1(NamedTuple):
    """Fractions, from 0."""

    precision: float
    recall: float
    f1: float


def auprc(scores: ArrayLike, annotated: ArrayLike) -> float:
    """Area under the precision–recall curve of one document's words, by the trapezoid rule: in 0..1, higher
    is better.

    Equal scores are one threshold; the curve ends at recall 0 with precision 1. NaN where no word is
    annotated.

    Args:
        scores: (words,).
        annotated: (words,), boolean.

    Raises:
        ValueError: for shapes that differ, NaN or infinity.
    """
    scores, truth = _checked(scores, annotated)
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(scores[order][1:] != scores[order][:-1], True)  # of each threshold
    precision = np.append(1.0, hits[last] / (np.flatnonzero(last) + 1))
    recall = np.append(0.0, hits[last] / hits[-1])
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())


def average_precision_of_words(scores: ArrayLike, annotated: ArrayLike) -> float:
    """Mean of the precision at the threshold of each annotated word; NaN where all or none is annotated.

    Arguments as for :func:`auprc`.
    """
    scores, truth = _checked(scores, annotated)
    if not truth.any() or truth.all():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    precision = hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(np.append(0, hits[last])) * precision).sum() / hits[-1])


def roc_auc_of_words(scores: ArrayLike, annotated: ArrayLike) -> float:
    """Chance that an annotated word scores higher than another, ties counting half; NaN where all or none is
    annotated.

    Arguments as for :func:`auprc`.
    """
    scores, truth = _checked(scores, annotated)
    within, beside = scores[truth], scores[~truth]
    if not len(within) or not len(beside):
        return float("nan")
    beside = np.sort(beside)
    below = np.searchsorted(beside, within, "left") + np.searchsorted(beside, within, "right")
    return float(below.sum() / (2 * len(within) * len(beside)))


def spans_of(words: ArrayLike) -> list[Span]:
    """The longest runs of neighbouring words that are True: [start, end) of each, from bool (words,)."""
    edges = np.diff(np.concatenate([[0], np.asarray(words, dtype=np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))


def matching_spans(
    predicted: Sequence[Span], annotated: Sequence[Span], threshold: float = 0.5
) -> SpanCounts:
    """How many predicted spans of a document overlap an annotated one by at least ``threshold``.

    The overlap is the intersection over union in words, the best of all annotated spans of the document. A
    span without a word, as data sets have them, counts and matches nothing.

    Raises:
        ValueError: for a threshold outside (0, 1], or a span that ends before it begins.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}: expected a number in (0, 1]")
    if empty := [span for span in (*predicted, *annotated) if not 0 <= span[0] <= span[1]]:
        raise ValueError(f"span {empty[0]}: expected 0 <= start <= end")
    hits = sum(any(_iou(p, t) >= threshold for t in annotated) for p in predicted)
    return SpanCounts(*map(np.asarray, (hits, len(predicted), len(annotated))))


def _iou(one: Span, other: Span) -> float:
    common = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return _ratio(common, one[1] - one[0] + other[1] - other[0] - common)


def span_f1(counts: SpanCounts, average: Literal["micro", "macro"] = "macro") -> PrecisionRecallF1:
    """IOU F1 of a data set from counts of its documents, each (documents,), as ERASER's scorer has it.

    Precision is hits over predicted, recall hits over annotated spans: as several predicted spans may match
    one annotated span, recall can exceed 1.

    Args:
        average: ``micro`` takes sums over all documents; ``macro`` the F1 of the mean precision, over
            documents with a predicted span, and of the mean recall, over documents with an annotated one.

    Raises:
        ValueError: for another average.
    """
    hits, predicted, annotated = (np.asarray(each, dtype=np.float64) for each in counts)
    if average == "micro":
        precision, recall = (_ratio(hits.sum(), whole.sum()) for whole in (predicted, annotated))
    elif average == "macro":
        precision, recall = (
            _ratio((hits / np.where(whole > 0, whole, 1)).sum(), (whole > 0).sum())
            for whole in (predicted, annotated)
        )
    else:
        raise ValueError(f"average={average!r}: expected micro or macro")
    return PrecisionRecallF1(precision, recall, _ratio(2 * precision * recall, precision + recall))


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _checked(scores: ArrayLike, annotated: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores, truth = np.asarray(scores, dtype=np.float64), np.asarray(annotated, dtype=bool)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise ValueError(f"scores: expected one for each of {truth.shape} words, got {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("scores: NaN or infinity")
    return scores, truth
