"""Token F1: how well the k most relevant words agree with an annotated rationale.

DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020, section 4 (token level).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.bootstrap import Statistic
from metrics.checks import require_shape
from metrics.metric import Columns, Curve, Metric, annotated, stacked
from metrics.ranking import rank


class TokenCounts(NamedTuple):
    """Words per document and number k of predicted words, int64 (B, len(ks))."""

    hits: Tensor  # predicted and annotated
    predicted: Tensor
    annotated: Tensor


class TokenF1(NamedTuple):
    """Fractions in 0..1 per document and number k of predicted words, float64 (B, len(ks))."""

    precision: Tensor
    recall: Tensor
    f1: Tensor


def top_k(scores: Tensor, ks: Sequence[int], valid: Tensor | None = None) -> Tensor:
    """The k most relevant words of each document for every k: scores (B, words) to bool (B, len(ks), words).

    ``valid`` (B, words) is False at the padding after the words, whose scores are ignored. A document with
    fewer than k words gets all of them; of equal scores the earlier word comes first.

    Raises ValueError for NaN or infinity at a valid word, shapes that differ and k < 1.
    """
    require_shape("scores", scores, None, None)
    if min(ks) < 1:
        raise ValueError(f"ks: expected numbers of words, 1 or more, got {list(ks)}")
    if valid is None:
        valid = torch.ones_like(scores, dtype=torch.bool)
    require_shape("valid", valid, *scores.shape)
    ranks = rank(scores.where(valid, torch.finfo(scores.dtype).min))
    return (ranks[:, None, :] < torch.tensor(ks, device=scores.device)[:, None]) & valid[:, None, :]


def token_counts(
    scores: Tensor, rationales: Tensor, ks: Sequence[int], valid: Tensor | None = None
) -> TokenCounts:
    """Count words for :func:`precision_recall_f1`; arguments and errors as for :func:`token_f1`."""
    require_shape("rationales", rationales, len(scores), None)
    predicted = top_k(scores, ks, valid)
    visible = scores.shape[1]
    if rationales.shape[1] < visible:
        raise ValueError(
            f"rationales: expected all words of each document, got {rationales.shape[1]} for {visible} scores"
        )
    rationales = rationales.bool()
    return TokenCounts(
        hits=(predicted & rationales[:, None, :visible]).sum(2),
        predicted=predicted.sum(2),
        annotated=rationales.sum(1, keepdim=True).expand(-1, len(ks)),
    )


def precision_recall_f1(hits: Tensor, predicted: Tensor, annotated: Tensor) -> TokenF1:
    """Precision, recall and F1, float64, from counts of equal shape; 0/0 is 0, as in the reference scorer."""
    hits = hits.double()
    return TokenF1(
        precision=hits / predicted.clamp(min=1),
        recall=hits / annotated.clamp(min=1),
        # 2pr / (p + r), written in counts
        f1=2 * hits / (predicted + annotated).clamp(min=1),
    )


def token_f1(scores: Tensor, rationales: Tensor, ks: Sequence[int], valid: Tensor | None = None) -> TokenF1:
    """Token F1 of each document at each k: the macro score is its mean over documents.

    ``scores`` (B, visible) are the words that the model saw: only they can be predicted. ``rationales``
    (B, words ≥ visible), bool, annotates the whole document, also what lies past the visible part, so that
    recall is capped; cut it to (B, visible) for the recall over the visible part. Both are padded at the end;
    ``valid`` (B, visible) tells words from padding.

    Raises ValueError for NaN or infinity at a valid word, shapes that do not match and k < 1.
    """
    return precision_recall_f1(*token_counts(scores, rationales, ks, valid))


def best_alternative(
    scores: Tensor, alternatives: Tensor, ks: Sequence[int], valid: Tensor | None = None
) -> TokenF1:
    """Token F1 of each document at each k against that of its rationales which agrees best.

    Some data sets (FEVER in ERASER) mark several rationales of which each suffices: who finds one of them is right.
    At each k the alternative with the highest F1 counts, the first of equals, and precision and recall are against
    that one; so they may be against another one at another k.

    Args:
        scores: (B, visible), as :func:`token_f1` takes them.
        alternatives: (alternatives, B, words ≥ visible), bool. A document that has fewer repeats one.
        ks: numbers of words.
        valid: (B, visible), as :func:`token_f1` takes it.

    Raises:
        ValueError: as :func:`token_f1`, or if there is no alternative.
    """
    if alternatives.ndim != 3 or not len(alternatives):
        raise ValueError(f"alternatives {tuple(alternatives.shape)}: expected (1 or more, documents, words)")
    found = [token_f1(scores, each, ks, valid) for each in alternatives]
    columns = [torch.stack(column) for column in zip(*found, strict=True)]
    best = columns[2].argmax(dim=0, keepdim=True)
    return TokenF1(*(column.gather(0, best)[0] for column in columns))


@dataclass(frozen=True, kw_only=True)
class RationaleScore(Metric):
    """Mean over documents of a score of the k most relevant words, for several k.

    Columns: ``label``, ``predicted``, and that of the score, which holds one number for each k.

    Args:
        score: the column: ``token_f1`` against all annotated words of the document, ``visible_token_f1`` or
            ``visible_recall`` against those that the model saw.
        ks: numbers of words.
        only_correct: leave out documents that the model does not classify correctly.

    Raises:
        ValueError: if ``only_correct`` is neither true nor false, or there are no ``ks``.
    """

    columns: ClassVar[tuple[str, ...]] = (
        *("label", "predicted", "token_f1", "visible_token_f1", "visible_recall"),
    )

    score: str
    ks: Sequence[int]
    only_correct: bool = False

    def __post_init__(self):
        if not isinstance(self.only_correct, bool):
            raise ValueError(f"only_correct={self.only_correct}: expected true or false")
        if not isinstance(self.ks, Sequence) or not self.ks:
            raise ValueError(f"ks={self.ks}: expected numbers of words")

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The mean by k."""
        scores, scored = self._scores(columns), self._scored(columns)
        return {
            k: Statistic.mean(values, defined=scored) for k, values in zip(self.ks, scores.T, strict=True)
        }

    def curve(self, columns: Columns) -> Curve:
        """The score over k."""
        scores = self._scores(columns)[self._scored(columns)]
        x_label = "k, number of words taken as the rationale"
        return Curve(np.array(self.ks), scores, x_label, self.title, self.range)

    def _scores(self, columns: Columns) -> np.ndarray:
        return stacked(columns[self.score], len(self.ks))

    def _scored(self, columns: Columns) -> np.ndarray:
        if not self.only_correct:
            return np.ones(len(columns[self.score]), dtype=bool)
        return annotated(columns["label"], "label") == np.asarray(columns["predicted"])
