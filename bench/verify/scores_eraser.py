"""ERASER's scorer on real annotations with seeded scores: ``eraser_metrics.json`` and ``token_f1.json``.

The files say how the scores were drawn; what is done here follows their recipes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from bench.data.eraser import Annotation, Eraser
from bench.data.movies import Movies
from bench.data.text_files import words_of
from bench.errors import BenchError
from bench.verify.offered import metric

THRESHOLDS = (0.01, 0.05, 0.1, 0.2, 0.5)
OF_ALL = 0.2  # the threshold whose numbers are the scorer's own comprehensiveness and sufficiency
Span = tuple[int, int]


class Document(NamedTuple):
    """What is annotated in one document, and what was drawn for it."""

    words: int
    annotated: list[Span]  # distinct, sorted
    predicted: list[Span]
    scores: np.ndarray


class Answer(NamedTuple):
    """Class probabilities that were drawn for one annotation: of the whole text, and of parts of it."""

    label: int
    whole: np.ndarray
    without: np.ndarray  # (thresholds, classes), comprehensiveness
    only: np.ndarray  # sufficiency


def read(data: Path, name: str, stored: Mapping[str, Any]) -> tuple[Eraser, Path]:
    """The annotations of one data set below ``data/eraser``.

    Raises:
        BenchError: if they are not there.
    """
    folder = data / "eraser" / name
    return Eraser(folder, stored["split"], stored["classes"], query=False), folder


def drawn(data: Path, name: str, stored: Mapping[str, Any]) -> tuple[list[Document], list[Answer]]:
    """Seeded scores of all words, spans made of the best, and class probabilities."""
    annotations, folder = read(data, name, stored)
    rng, classes = np.random.default_rng(stored["seed"]), sorted(annotations.classes)
    documents, answers = [], []
    for annotation in annotations.annotations:
        for words, spans in _documents(annotation, folder):
            scores = rng.random(words)
            best = np.zeros(words, dtype=bool)
            best[np.argsort(-scores, kind="stable")[: max(1, round(stored["share"] * words))]] = True
            documents.append(Document(words, spans, metric("spans_of")(best), scores))
        parts = [rng.dirichlet(np.ones(len(classes))) for _ in range(1 + 2 * len(THRESHOLDS))]
        label = classes.index(annotation.classification)
        answers.append(Answer(label, parts[0], np.stack(parts[1::2]), np.stack(parts[2::2])))
    return documents, answers


def near_truth(data: Path, name: str, stored: Mapping[str, Any]) -> list[Document]:
    """Spans that are the annotated ones, moved a little or left out."""
    annotations, folder = read(data, name, stored)
    rng, documents = np.random.default_rng(1000 + stored["seed"]), []
    for annotation in annotations.annotations:
        for words, spans in _documents(annotation, folder):
            predicted, last = [], 0
            for start, end in spans:
                keep, first, second = rng.random(), rng.integers(-2, 3), rng.integers(-2, 3)
                begin, stop = max(last, start + first), min(words, end + second)
                if keep < 0.7 and stop > begin:
                    predicted.append((int(begin), int(stop)))
                    last = int(stop)
            documents.append(Document(words, spans, predicted, np.zeros(0)))
    return documents


def _documents(annotation: Annotation, folder: Path) -> list[tuple[int, list[Span]]]:
    """The documents of an annotation in the order of its evidences, their lengths and distinct spans."""
    found = []
    for docid in dict.fromkeys(span.document for span in annotation.spans):
        try:
            words = len(words_of((folder / "docs" / docid).read_text(encoding="utf-8")))
        except OSError as e:
            raise BenchError(f"{folder / 'docs' / docid}: cannot be read; copy the data set again") from e
        spans = sorted({(span.start, span.end) for span in annotation.spans if span.document == docid})
        found.append((words, spans))
    return found


def spans_scored(documents: list[Document], stored: Mapping[str, Any]) -> dict:
    """IOU F1 at each stored threshold, exact spans, and words."""
    found: dict[str, Any] = {}
    if "spans" in stored:
        found["spans"] = sum(len(each.predicted) for each in documents)
    for place, threshold in enumerate(each["threshold"] for each in stored["iou"]):
        counts = _counts([metric("matching_spans")(d.predicted, d.annotated, threshold) for d in documents])
        found[f"iou/{place}/threshold"] = threshold
        for average in ("micro", "macro"):
            found |= _prf(f"iou/{place}/{average}", metric("span_f1")(counts, average))
    exact = [
        (len(set(d.predicted) & set(d.annotated)), len(set(d.predicted)), len(d.annotated)) for d in documents
    ]
    found |= _averages("rationale_prf", exact)
    words = [(_words(d.predicted), _words(d.annotated)) for d in documents]
    return found | _averages("token_prf", [(len(p & t), len(p), len(t)) for p, t in words])


def _words(spans: list[Span]) -> set[int]:
    return {word for start, end in spans for word in range(start, end)}


def _counts(each: list[Any]) -> Any:
    return metric("SpanCounts")(*(np.stack(column) for column in zip(*each, strict=True)))


def _averages(name: str, counts: list[tuple[int, int, int]]) -> dict:
    """Micro: of all together; macro: the mean over documents."""
    columns = [torch.tensor(column) for column in zip(*counts, strict=True)]
    macro = [each.mean() for each in metric("precision_recall_f1")(*columns)]
    micro = metric("precision_recall_f1")(*(column.sum() for column in columns))
    return _prf(f"{name}/instance_micro", micro) | _prf(f"{name}/instance_macro", macro)


def _prf(name: str, values: Any) -> dict:
    return {f"{name}/{key}": float(value) for key, value in zip(("p", "r", "f1"), values, strict=True)}


def soft(documents: list[Document]) -> dict:
    """Of the scores themselves, the mean over documents in which each is defined."""
    functions = {
        "auprc": "auprc",
        "average_precision": "average_precision_of_words",
        "roc_auc_score": "roc_auc_of_words",
    }
    found = {}
    for key, name in functions.items():
        values = []
        for document in documents:
            truth = np.zeros(document.words, dtype=bool)
            truth[list(_words(document.annotated))] = True
            values.append(metric(name)(document.scores, truth))
        found[f"soft/{key}"] = np.nanmean(values)
    return found


def faithfulness(answers: list[Answer]) -> dict:
    """Of the class predicted for the whole text."""
    predicted = [int(answer.whole.argmax()) for answer in answers]
    clean = np.array([a.whole[c] for a, c in zip(answers, predicted, strict=True)])
    own, found = THRESHOLDS.index(OF_ALL), {"aopc_thresholds": list(THRESHOLDS)}
    found["accuracy"] = np.mean([a.label == c for a, c in zip(answers, predicted, strict=True)])
    for name, part in (("comprehensiveness", "without"), ("sufficiency", "only")):
        values = np.stack([getattr(a, part)[:, c] for a, c in zip(answers, predicted, strict=True)])
        points = [metric(name)(clean, values[:, i : i + 1]).mean() for i in range(len(THRESHOLDS))]
        found |= {
            name: points[own],
            f"{name}_aopc_points": points,
            f"{name}_aopc": metric(name)(clean, values).mean(),
        }
        whole = np.stack([answer.whole for answer in answers])
        edited = np.stack([getattr(answer, part)[own] for answer in answers])
        for key, function in (("entropy", "entropy_drop"), ("kl", "kl_divergence")):
            found[f"{name}_{key}"] = metric(function)(whole, edited).mean()
    return {f"faithfulness/{key}": value for key, value in found.items()}


def eraser(data: Path, name: str, stored: Mapping[str, Any]) -> dict:
    """All numbers of one data set of ``eraser_metrics.json``, by their paths."""
    documents, answers = drawn(data, name, stored)
    near = spans_scored(near_truth(data, name, stored), stored["near_truth"])
    described = {"annotations": len(answers), "seed": stored["seed"], "share": stored["share"]}
    found = described | spans_scored(documents, stored) | soft(documents) | faithfulness(answers)
    return found | {f"near_truth/{key}": value for key, value in near.items()}


def token_f1(data: Path, ks: list[int]) -> dict:
    """Token F1 of seeded scores of the visible words of the movies' test split, at each k."""
    reviews, visible, counts = Movies(data, "test"), 400, []
    for index in range(len(reviews)):
        review = reviews[index]
        rng = np.random.default_rng(int.from_bytes(review.id.encode(), "little") % 2**32)
        scores = torch.from_numpy(rng.random(min(len(review.words), visible)))[None]
        counts.append(metric("token_counts")(scores, torch.from_numpy(review.rationale)[None], ks))
    columns = [torch.cat(column) for column in zip(*counts, strict=True)]
    macro = [each.mean(dim=0) for each in metric("precision_recall_f1")(*columns)]
    micro = metric("precision_recall_f1")(*(column.sum(dim=0) for column in columns))
    found = {}
    for place, k in enumerate(ks):
        found |= _prf(f"{k}/instance_macro", [each[place] for each in macro])
        found |= _prf(f"{k}/instance_micro", [each[place] for each in micro])
    return found
