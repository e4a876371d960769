"""A data set of texts of one's own, with three labels and annotated words."""

import json
from pathlib import Path

import numpy as np

from bench.data import TextSample


class Moods:
    """A file of JSON lines: ``{"id": …, "text": …, "mood": …, "because": [words]}``.

    Args:
        path: the file.
    """

    version = 1  # raise it when the same file gives other samples
    classes = ("calm", "cross", "cheerful")  # the names of the labels, in their order

    def __init__(self, path: str | Path):
        self.files = [Path(path)]  # all files that determine the samples: they are the identity of the data
        self._rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        self.ids = [row["id"] for row in self._rows]
        self.labels = [self.classes.index(row["mood"]) for row in self._rows]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> TextSample:
        row = self._rows[index]
        words = row["text"].split(" ")
        rationale = np.array([word in row["because"] for word in words])
        return TextSample(row["id"], words, self.labels[index], rationale)
