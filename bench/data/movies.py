"""Movie Reviews with rationales (Zaidan and Eisner 2008), as published in ERASER (DeYoung et al. 2020)."""

from pathlib import Path

import numpy as np

from bench.data.eraser import LABELS, EraserReviews, Review, find_files
from bench.data.huggingface import open_rows
from bench.data.samples import TextSample
from bench.errors import BenchError


class Movies:
    """The documents of one split, cut at whitespace into words, and the words that annotators marked.

    Args:
        path: one of

            - the folder ``movies`` with ``{train,val,test}.jsonl`` and ``docs/<id>``, or its parent;
            - ``movies.tar.gz``, or its parent; read in place and kept in memory (11 MB), not unpacked;
            - Parquet, a folder from ``save_to_disk`` or a name on the hub such as
              ``eraser-benchmark/movie_rationales``, read with Hugging Face ``datasets``
              (:func:`bench.data.huggingface.open_rows` says what is written to disk).
        split: ``train``, ``val`` or ``test`` (the hub calls the second one ``validation``).

    A word's rationale is True where any span of any evidence group covers it. Some spans of the published
    test split are empty; they cover nothing. The hub has no spans but their texts: see :func:`align`.

    Samples keep the order of the file. Their ids are the annotation ids; ``<split>_<row>`` from ``datasets``.

    Raises:
        BenchError: the split is missing or malformed (file and line are named); on access, a document is
            missing or an evidence lies outside it.
    """

    def __init__(self, path: str | Path, split: str = "test") -> None:
        files = find_files(Path(path))
        self._reviews = EraserReviews(files, split) if files else _HuggingFaceReviews(path, split)
        self.ids = self._reviews.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        index = range(len(self))[index]
        review = self._reviews[index]
        rationale = np.zeros(len(review.words), dtype=bool)
        for start, end in review.spans:
            rationale[start:end] = True
        return TextSample(self.ids[index], review.words, review.label, rationale)


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
        evidence = text.split()
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

    def __getitem__(self, index: int) -> Review:
        try:
            row = self._rows[index]
            words, label, evidences = row["review"].split(), row["label"], row["evidences"]
            if not words:
                raise ValueError("the review is empty")
            if type(label) is not int or label not in LABELS.values():
                raise ValueError(f"label {label!r}")
            if not isinstance(evidences, list):
                raise TypeError(f"evidences {evidences!r}")
            return Review(words, label, align(evidences, words))
        except (AttributeError, TypeError, ValueError) as error:
            raise BenchError(
                f"{self._source}: row {index}: {error!r}; expected a review, label 0 (NEG) or 1 (POS) and "
                "evidences that are texts copied from the review. Mend the row, or use the ERASER files."
            ) from error
