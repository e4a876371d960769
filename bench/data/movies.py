"""Movie Reviews with rationales (Zaidan and Eisner 2008), as published in ERASER (DeYoung et al. 2020)."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.data.eraser import Eraser, find_files
from bench.data.huggingface import open_rows
from bench.data.samples import TextSample
from bench.data.text_files import words_of
from bench.errors import BenchError

CLASSES = ("NEG", "POS")


class Movies:
    """The documents of one split, cut into words, and the words that annotators marked.

    Args:
        path: one of

            - the folder ``movies`` with ``{train,val,test}.jsonl`` and ``docs/<id>``, or its parent;
            - ``movies.tar.gz``, its parent, or the folder ``movies`` beside which it lies instead; read in place and
              kept in memory (11 MB), not unpacked;
            - Parquet, a folder from ``save_to_disk`` or a name on the hub such as
              ``eraser-benchmark/movie_rationales``, read with Hugging Face ``datasets``
              (:func:`bench.data.huggingface.open_rows` says what is written to disk).
        split: ``train``, ``val`` or ``test`` (the hub calls the second one ``validation``).

    A word's rationale is True where any span of any evidence group covers it. Some spans of the published
    test split are empty; they cover nothing. The hub has no spans but their texts: see :func:`align`. The
    query, "What is the sentiment of this review?", is the same everywhere and is not read.

    Samples keep the order of the file. Their ids are the annotation ids; ``<split>_<row>`` from ``datasets``.

    Attributes:
        ids, labels: one per sample.
        classes: NEG, POS.
        files: see :class:`bench.data.Eraser`; from ``datasets`` the Parquet or Arrow files.

    Raises:
        BenchError: the split is missing or malformed (file and line are named); on access, a document is
            missing or an evidence lies outside it.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = CLASSES

    def __init__(self, path: str | Path, split: str = "test") -> None:
        parent = Path(path)
        places = (
            parent,
            parent / "movies",
            parent / "movies.tar.gz",
            parent.with_name(f"{parent.name}.tar.gz"),
        )
        found = next((place for place in places if find_files(place)), None)
        self._reviews = _reviews(found, split) if found else _HuggingFaceReviews(path, split)
        self.ids, self.labels, self.files = self._reviews.ids, self._reviews.labels, self._reviews.files

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        return self._reviews[range(len(self))[index]]


def _reviews(path: Path, split: str) -> Eraser:
    """The files of ERASER, whose every review lies in the document of its own name."""
    reviews = Eraser(path, split, CLASSES, query=False)
    for review in reviews.annotations:
        if review.documents != [review.id]:
            raise BenchError(
                f"{path}: {split}.jsonl, line {review.line}: the documents of review {review.id!r} are "
                f"{review.documents}; expected the one of its own name. Mend the line, or download the file "
                "again. For other data sets than the movies choose bench.data.Eraser."
            )
    return reviews


def align(evidences: list[str], words: list[str]) -> list[tuple[int, int]]:
    """Find the spans (end exclusive) of evidence texts in the words of the document they were taken from.

    A text that occurs more than once is taken to be its first occurrence after the previous evidence, or its
    first occurrence where there is none after it. On ERASER's test split, where evidences are in reading
    order, this gives back every rationale; on train and val, where they are not, those of 96 % of documents.

    Raises:
        ValueError: a text does not occur in ``words``.
    """
    spans: list[tuple[int, int]] = []
    for text in evidences:
        evidence = words_of(text)
        found = [i for i in range(len(words) - len(evidence) + 1) if words[i : i + len(evidence)] == evidence]
        if not found:
            raise ValueError(f"evidence {text!r} does not occur in the review")
        after = spans[-1][1] if spans else 0
        start = next((i for i in found if i >= after), found[0])
        spans.append((start, start + len(evidence)))
    return spans


class _HuggingFaceReviews:
    """Rows of ``review``, ``label`` (0 = NEG, 1 = POS) and ``evidences`` (texts copied from the review)."""

    def __init__(self, path: str | Path, split: str) -> None:
        self._source = f"{path} (split {split})"
        try:
            self._rows = open_rows(path, split, required=("review", "label", "evidences"))
        except BenchError as error:
            raise BenchError(
                f"{path}: no {split}.jsonl with docs/ and no movies.tar.gz; and {error}"
            ) from error
        self.ids = [f"{split}_{row:04d}" for row in range(len(self._rows))]
        self.labels = self._rows.column("label")
        for row, label in enumerate(self.labels):
            if type(label) is not int or label not in range(len(CLASSES)):
                raise self._damaged(row, ValueError(f"label {label!r}"))
        self.files = self._rows.files

    def __getitem__(self, index: int) -> TextSample:
        try:
            row = self._rows[index]
            words, evidences = words_of(row["review"]), row["evidences"]
            if not words:
                raise ValueError("the review is empty")
            if not isinstance(evidences, list):
                raise TypeError(f"evidences {evidences!r}")
            rationale = np.zeros(len(words), dtype=bool)
            for start, end in align(evidences, words):
                rationale[start:end] = True
        except (AttributeError, TypeError, ValueError) as error:
            raise self._damaged(index, error) from error
        return TextSample(self.ids[index], words, self.labels[index], rationale)

    def _damaged(self, row: int, error: Exception) -> BenchError:
        return BenchError(
            f"{self._source}: row {row}: {error!r}; expected a review, label 0 (NEG) or 1 (POS) and "
            "evidences that are texts copied from the review. Mend the row, or use the ERASER files."
        )
