"""Token F1: agreement of the most relevant words with an annotated rationale."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.data import TextSample
from bench.errors import BenchError
from bench.models import TextModel
from bench.tasks.task import (
    Explained,
    check_only_correct,
    check_some,
    expect,
    explain,
    explained_classes,
    is_rising,
    only_correct,
)
from metrics import RECALL_VISIBLE, TOKEN_F1, TOKEN_F1_VISIBLE, Statistic, token_f1

# What is shown for each choice of annotated words, by the column of the rows.
RATIONALES = {
    "document": {"token_f1": TOKEN_F1},
    "visible": {"visible_token_f1": TOKEN_F1_VISIBLE, "visible_recall": RECALL_VISIBLE},
}


class TokenF1:
    """Take the k most relevant words as the rationale, for several k.

    Args:
        settings: ``protocol.token_f1``: ``k``, the numbers of words; ``max_length`` in word pieces;
            ``word_score``, how a word's score comes from its pieces: ``max`` or ``mean``; ``scores``:
            ``rationale``, the annotated words that count: those of the whole ``document``, those of its
            ``visible`` part, or both in columns of their own; and ``only_correct``, to leave out documents
            that the model does not classify correctly.

    Raises:
        BenchError: for settings out of range.
    """

    name = "token_f1"
    metrics = tuple(metric for columns in RATIONALES.values() for metric in columns.values())

    def __init__(self, settings: Mapping):
        self.ks = settings["k"]
        self.max_length = settings["max_length"]
        self.word_score = settings["word_score"]
        self.rationales = check_some(
            "protocol.token_f1.scores.rationale", settings["scores"]["rationale"], RATIONALES
        )
        self.only_correct = check_only_correct(settings["scores"]["only_correct"], self.name)
        if not is_rising(self.ks) or not self.ks or any(not isinstance(k, int) or k < 1 for k in self.ks):
            raise BenchError(
                f"protocol.token_f1.k={self.ks}: expected a list of rising numbers of words, 1 or more"
            )
        if type(self.max_length) is not int or self.max_length < 3:
            raise BenchError(
                f"protocol.token_f1.max_length={self.max_length}: expected a number of word pieces, 3 or more"
            )
        if self.word_score not in ("max", "mean"):
            raise BenchError(f"protocol.token_f1.word_score={self.word_score!r}: expected max or mean")

    def check(self, model: TextModel, dataset, sample) -> None:
        """Raises BenchError for an image model or a data set of images."""
        expect(TextModel, "model", model, "choose model=transformers or a suite's text model")
        expect(TextSample, "dataset", sample, "choose a data set of documents")

    def preparation(self, model: TextModel) -> Callable:
        """Documents are split into pieces batch by batch, so there is nothing to do for each."""
        return _as_it_is

    def rows(
        self, model: TextModel, method: Callable, samples: Sequence[TextSample], explained: Explained
    ) -> pd.DataFrame:
        """Per document: its classes, numbers of words, and precision, recall and F1 at each k.

        Recall and F1 twice: against all annotated words, and against those of the visible part.
        """
        encoding = model.encode([s.words for s in samples], self.max_length)
        predicted = model.predict(encoding.inputs)
        labels = [s.label for s in samples]
        target = explained_classes(explained, predicted, labels)
        class_indices = torch.tensor(model.class_indices, device=model.device)[target]
        rationales, ids = _padded([s.rationale for s in samples], model.device), [s.id for s in samples]
        annotation = rationales.gather(1, encoding.words.clamp(min=0)) & (encoding.words >= 0)
        relevance = explain(method, model, encoding.inputs, class_indices, ids, annotation.double())
        scores, visible = word_relevance(relevance, encoding.words, self.word_score)
        whole = token_f1(scores, rationales, self.ks, valid=visible)
        within = token_f1(scores, rationales[:, : visible.shape[1]] & visible, self.ks, valid=visible)
        return pd.DataFrame(
            {
                "id": ids,
                "label": labels,
                "predicted": predicted.tolist(),
                "explained_class": target.tolist(),
                "words": [len(s.words) for s in samples],
                "visible": visible.sum(dim=1).tolist(),
                "annotated": [int(s.rationale.sum()) for s in samples],
                "precision": whole.precision.tolist(),
                "recall": whole.recall.tolist(),
                "token_f1": whole.f1.tolist(),
                "visible_recall": within.recall.tolist(),
                "visible_token_f1": within.f1.tolist(),
            }
        )

    def statistics(self, rows: pd.DataFrame) -> dict[str, Statistic]:
        """The macro scores at each k, as ``token_f1@k``, and the accuracy for all samples in per cent."""
        statistics = {"accuracy": Statistic.mean(rows["label"] == rows["predicted"], scale=100)}
        scored = only_correct(rows, self.only_correct)
        for rationale in self.rationales:
            for column, metric in RATIONALES[rationale].items():
                scores = np.array(scored[column].tolist()).reshape(-1, len(self.ks)).T
                for k, values in zip(self.ks, scores, strict=True):
                    statistics[f"{metric.name}@{k}"] = Statistic.mean(values)
        return statistics


def _as_it_is(sample: TextSample) -> TextSample:
    return sample


def _padded(rationales: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """(batch, words of the longest document), boolean."""
    rows = [torch.from_numpy(np.asarray(rationale, dtype=bool)) for rationale in rationales]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)


def word_relevance(relevance: Tensor, words: Tensor, reduce: str) -> tuple[Tensor, Tensor]:
    """What a method returned for a batch of documents as :func:`word_scores`; negative relevance counts as 0.

    Raises:
        BenchError: if there is not one number per token.
    """
    if relevance.shape != words.shape:
        raise BenchError(
            f"method: it returned relevance of shape {tuple(relevance.shape)}; "
            f"expected {tuple(words.shape)}, one number per token"
        )
    return word_scores(relevance.clamp(min=0), words, reduce)


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
