"""Token F1: agreement of the most relevant words with an annotated rationale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from bench.errors import BenchError
from bench.models import Maps, Model
from bench.tasks.base import Explanations, Variant, expect_modality, is_rising
from metrics import best_alternative

OPERATIONS = {"sum": "sum", "max": "amax", "mean": "mean"}  # torch's names of how pieces make a word


@dataclass(frozen=True)
class RationaleOverlap:
    """Take the k most relevant words as the rationale, for several k, and compare it with the annotated one.

    DeYoung et al., ERASER, ACL 2020, section 4. Negative relevance counts as 0. Columns, for each document:
    ``words``, ``visible`` and ``annotated`` (numbers of words, without those of a query); at each k
    ``precision``, ``recall`` and ``token_f1`` against all annotated words, and ``visible_recall`` and
    ``visible_token_f1`` against those that the model saw. Of alternative rationales the one that agrees best
    counts (:func:`metrics.best_alternative`).

    Args:
        k: numbers of words.
        word_score: how a word's score comes from its pieces, where the method does not say (a class attribute
            ``word_score``; additive ones say ``sum``): ``max`` or ``mean``.

    Raises:
        BenchError: for settings out of range.
    """

    name: ClassVar[str] = "rationale_overlap"
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"
    needs_maps: ClassVar[bool] = True
    class_specific: ClassVar[bool] = False
    variants: ClassVar[Sequence[Variant]] = ()

    k: Sequence[int]
    word_score: Literal["max", "mean"] = "max"

    def __post_init__(self):
        check_k(self.k)
        check_word_score("protocol.token_f1.word_score", self.word_score)

    def check(self, model: Model, sample: Any) -> None:
        """Raises BenchError for an image model or images."""
        expect_modality("text", model, sample)

    def measure(self, explanations: Explanations) -> dict[str, Sequence]:
        """Numbers of words, and the scores at each k."""
        batch = explanations.batch
        scores, visible = relevant_words(explanations.maps, batch.words, self.word_score)
        rationales = batch.rationales
        alternatives = rationales[None] if batch.alternatives is None else batch.alternatives
        whole = best_alternative(scores, alternatives, self.k, valid=visible)
        seen = alternatives[..., : visible.shape[1]] & visible
        within = best_alternative(scores, seen, self.k, valid=visible)
        return {
            "words": [len(sample.document) for sample in batch.samples],
            "visible": visible.sum(dim=1).tolist(),
            "annotated": rationales.sum(dim=1).tolist(),
            "precision": whole.precision.tolist(),
            "recall": whole.recall.tolist(),
            "token_f1": whole.f1.tolist(),
            "visible_recall": within.recall.tolist(),
            "visible_token_f1": within.f1.tolist(),
        }


def check_k(k: Sequence[int]) -> None:
    """Raises BenchError for what is no list of rising numbers of words."""
    if not is_rising(k) or not k or any(not isinstance(number, int) or number < 1 for number in k):
        raise BenchError(f"protocol.token_f1.k={k}: expected a list of rising numbers of words, 1 or more")


def check_word_score(key: str, word_score: str) -> None:
    """Raises BenchError, naming the key, for what no protocol may join the pieces of a word by."""
    if word_score not in ("max", "mean"):
        raise BenchError(f"{key}={word_score!r}: expected max or mean")


def relevant_words(maps: Maps, words: Tensor, word_score: str) -> tuple[Tensor, Tensor]:
    """The scores of words, at least 0, as the method of the maps says that they come from pieces.

    Of a sum, which is that of an additive method, the pieces keep their signs and the word is clamped; of a maximum or
    a mean each piece is, as in the paper's protocol.

    Args:
        words: as :func:`word_scores` takes them.
        word_score: for a method that does not say, ``max`` or ``mean``.

    Returns:
        as :func:`word_scores`.
    """
    reduce = maps.word_score or word_score
    pieces = maps.values if reduce == "sum" else maps.values.clamp(min=0)
    scores, visible = word_scores(pieces, words, reduce)
    return scores.clamp(min=0), visible


def word_scores(token_scores: Tensor, words: Tensor, reduce: str = "max") -> tuple[Tensor, Tensor]:
    """From scores of word pieces to scores of words.

    Args:
        token_scores: (batch, tokens).
        words: the word each token belongs to, (batch, tokens), -1 for none. Words are numbered from 0 in the
            order of the text, and the visible ones are the first of the document.
        reduce: ``sum``, ``max`` or ``mean`` over the pieces of a word.

    Returns:
        scores (batch, words), 0 at padding, and which words are visible, boolean, of the same shape.

    Raises:
        BenchError: for another ``reduce``.
    """
    if reduce not in OPERATIONS:
        raise BenchError(f"method.word_score={reduce!r}: expected one of {', '.join(OPERATIONS)}")
    count = max(int(words.max()) + 1, 1)
    scores = token_scores.new_zeros(len(words), count + 1)  # the last column takes what belongs to no word
    index = torch.where(words < 0, count, words)
    scores.scatter_reduce_(1, index, token_scores, OPERATIONS[reduce], include_self=False)
    visible = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, index, True)
    return scores[:, :count], visible[:, :count]
