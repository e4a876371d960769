"""Plausibility of texts: soft scores and spans of words against an annotated rationale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import metrics
from bench.errors import BenchError
from bench.models import Model
from bench.tasks.base import Explanations, Variant, expect_modality, is_number
from bench.tasks.rationale import check_k, check_word_score, word_scores

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Plausibility:
    """Compare the scores of the words that the model saw, with their sign, with the words annotated among
    these.

    DeYoung et al., ERASER, ACL 2020, as its scorer has it. Columns: ``auprc``, ``average_precision`` and
    ``roc_auc`` of the words, None where they are undefined; at each k ``span_hits`` and ``span_predicted``,
    the spans that the k most relevant words make and those of them that match, and ``span_annotated``.
    Of alternative rationales each number is against the one that agrees best: the highest area, and at each k
    the highest F1 of spans, so that ``span_annotated`` has a number for each k, too.

    Args:
        k: numbers of words.
        threshold: of the intersection over union of two spans that match.
        word_score: how a word's score comes from its pieces, ``max`` or ``mean``, where the method does not say.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "plausibility"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    k: Sequence[int]
    threshold: float = 0.5
    word_score: str = "max"

    def __post_init__(self):
        check_k(self.k)
        if not is_number(self.threshold) or not 0 < self.threshold <= 1:
            raise BenchError(f"protocol.plausibility.threshold={self.threshold}: expected a number in (0, 1]")
        check_word_score("protocol.faithfulness.word_score", self.word_score)

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for an image model or images."""
        expect_modality("text", model, sample)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """The numbers of each document."""
        batch = explanations.batch
        maps = explanations.maps
        scores, visible = word_scores(maps.values.double(), batch.words, maps.word_score or self.word_score)
        tops = metrics.top_k(scores, self.k, valid=visible).cpu().numpy()
        columns: dict[str, list] = {}
        several = batch.alternatives is not None
        rationales = (batch.alternatives if several else batch.rationales[None]).transpose(0, 1).cpu().numpy()
        for own, top, seen, truths in zip(scores, tops, visible.sum(dim=1).tolist(), rationales, strict=True):
            row = self._row(own[:seen].cpu().numpy(), top[:, :seen], truths[:, :seen], several)
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        return columns

    def _row(self, scores: Any, tops: Any, truths: Any, several: bool) -> dict[str, Any]:
        """The numbers of one document, of arrays over the words that are seen.

        Args:
            truths: (alternatives, words), of which the best counts.
            several: whether the data set has alternatives.
        """
        soft = {
            "auprc": metrics.auprc,
            "average_precision": metrics.average_precision_of_words,
            "roc_auc": metrics.roc_auc_of_words,
        }
        row: dict[str, Any] = {
            name: max((v for v in (score(scores, truth) for truth in truths) if v == v), default=None)
            for name, score in soft.items()
        }
        annotated = [metrics.spans_of(truth) for truth in truths]
        counts = [self._matching(metrics.spans_of(top), annotated) for top in tops]
        of_each = [int(count.annotated) for count in counts]
        return row | {
            "span_hits": [int(count.hits) for count in counts],
            "span_predicted": [int(count.predicted) for count in counts],
            "span_annotated": of_each if several else of_each[0],
        }

    def _matching(self, predicted: Spans, alternatives: Sequence[Spans]) -> metrics.SpanCounts:
        """The counts against that of the alternatives whose F1 of spans is the highest."""
        found = [metrics.matching_spans(predicted, spans, self.threshold) for spans in alternatives]
        return max(found, key=lambda count: 2 * count.hits / max(count.predicted + count.annotated, 1))
