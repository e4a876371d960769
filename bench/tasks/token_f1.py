"""Token F1: agreement of the most relevant words with an annotated rationale."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.data import TextSample
from bench.errors import BenchError
from bench.models import TextModel
from bench.tasks.task import Explained, expect, explain, explained_classes
from metrics import TOKEN_F1, Statistic, token_f1


class TokenF1:
    """Take the k most relevant words as the rationale, for several k.

    Args:
        settings: ``protocol.token_f1``: ``k``, the numbers of words; ``max_length`` in word pieces;
            ``word_score``, how a word's score comes from its pieces: ``max`` or ``mean``; ``rationale``, the
            annotated words that count: those of the whole ``document``, or of its ``visible`` part.
    """

    name = "token_f1"
    metrics = (TOKEN_F1,)

    def __init__(self, settings: Mapping):
        self.ks = list(settings["k"])
        self.max_length = settings["max_length"]
        self.word_score = settings["word_score"]
        self.rationale = settings["rationale"]
        if not self.ks or any(not isinstance(k, int) or k < 1 for k in self.ks):
            raise BenchError(f"protocol.token_f1.k={self.ks}: expected numbers of words, 1 or more")
        if self.word_score not in ("max", "mean"):
            raise BenchError(f"protocol.token_f1.word_score={self.word_score!r}: expected max or mean")
        if self.rationale not in ("document", "visible"):
            raise BenchError(f"protocol.token_f1.rationale={self.rationale!r}: expected document or visible")

    def check(self, model: TextModel, dataset) -> None:
        """Raises BenchError for an image model or a data set of images."""
        expect(TextModel, "model", model, "choose model=transformers or a suite's text model")
        expect(TextSample, "dataset", dataset[0], "choose a data set of documents")

    def rows(
        self, model: TextModel, method: Callable, samples: Sequence[TextSample], explained: Explained
    ) -> pd.DataFrame:
        """Per document: its classes, numbers of words, and precision, recall and F1 at each k."""
        encoding = model.encode([s.words for s in samples], self.max_length)
        predicted = model.predict(encoding.inputs)
        labels = [s.label for s in samples]
        target = explained_classes(explained, predicted, labels)
        class_indices = torch.tensor(model.class_indices, device=model.device)[target]
        relevance = explain(method, model, encoding.inputs, class_indices, [s.id for s in samples])
        if relevance.shape != encoding.words.shape:
            raise BenchError(
                f"method: it returned relevance of shape {tuple(relevance.shape)}; "
                f"expected {tuple(encoding.words.shape)}, one number per token"
            )
        scores, visible = word_scores(relevance.clamp(min=0), encoding.words, self.word_score)
        results = token_f1(scores, self._rationales(samples, visible), self.ks, valid=visible)
        return pd.DataFrame(
            {
                "id": [s.id for s in samples],
                "label": labels,
                "predicted": predicted.tolist(),
                "explained_class": target.tolist(),
                "words": [len(s.words) for s in samples],
                "visible": visible.sum(dim=1).tolist(),
                "annotated": [int(s.rationale.sum()) for s in samples],
                "precision": results.precision.tolist(),
                "recall": results.recall.tolist(),
                "token_f1": results.f1.tolist(),
            }
        )

    def _rationales(self, samples: Sequence[TextSample], visible: Tensor) -> Tensor:
        width = max(visible.shape[1], *(len(s.words) for s in samples))
        padded = np.zeros((len(samples), width), dtype=bool)
        for row, sample in zip(padded, samples, strict=True):
            row[: len(sample.words)] = sample.rationale
        rationales = torch.from_numpy(padded).to(visible.device)
        if self.rationale == "visible":
            rationales = rationales[:, : visible.shape[1]] & visible
        return rationales

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """The macro token F1 at each k, as ``token_f1@k``, and the accuracy of the classifier in per cent."""
        scores = np.stack(rows["token_f1"]).T
        return {
            **{f"{TOKEN_F1.name}@{k}": Statistic.mean(f1) for k, f1 in zip(self.ks, scores, strict=True)},
            "accuracy": Statistic.mean(rows["label"] == rows["predicted"], scale=100),
        }


def word_scores(token_scores: Tensor, words: Tensor, reduce: str = "max") -> tuple[Tensor, Tensor]:
    """From scores of word pieces to scores of words.

    Args:
        token_scores: (batch, tokens).
        words: the word each token belongs to, (batch, tokens), -1 for none. Words are numbered from 0 in the
            order of the text, and the visible ones are the first of the document.
        reduce: ``max`` or ``mean`` over the pieces of a word.

    Returns:
        scores (batch, words), 0 at padding, and which words are visible, boolean, of the same shape.
    """
    count = max(int(words.max()) + 1, 1)
    scores = token_scores.new_zeros(len(words), count + 1)  # the last column takes what belongs to no word
    index = torch.where(words < 0, count, words)
    operation = {"max": "amax", "mean": "mean"}[reduce]
    scores.scatter_reduce_(1, index, token_scores, operation, include_self=False)
    visible = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, index, True)
    return scores[:, :count], visible[:, :count]
