"""Images and texts of Hugging Face ``datasets``, by the names of their columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bench.data.huggingface import Rows, open_rows
from bench.data.imagenet import decode_rgb
from bench.data.own_images import covered
from bench.data.own_texts import labelled, marked, words_in
from bench.data.samples import ImageSample, TextSample
from bench.errors import BenchError


class _Table:
    """What both kinds have in common: rows with ids and labels.

    The names of labels are ``classes``, or those that the column itself has (``datasets.ClassLabel``).
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        path: str | Path,
        split: str,
        columns: Sequence[str | None],
        label: str | None,
        id: str | None,
        classes: Sequence[str] | None,
        data_files: str | None,
    ) -> None:
        self._source = f"{path} (split {split})"
        required = tuple(name for name in (*columns, label, id) if name is not None)
        self._rows: Rows = open_rows(path, split, required, data_files)
        self.files = self._rows.files
        self.ids = (
            [str(value) for value in self._rows.column(id)] if id else _numbered(split, len(self._rows))
        )
        if len(set(self.ids)) < len(self.ids):
            raise BenchError(
                f"{self._source}: two rows have one {id}; choose another column for dataset.id, or null"
            )
        values = self._rows.column(label) if label else [None] * len(self._rows)
        stored = getattr(self._rows.features[label], "names", None) if label else None
        self.labels, self.classes = labelled(values, classes or stored, self._source)

    def __len__(self) -> int:
        return len(self.ids)

    def _row(self, index: int) -> tuple[int, dict[str, Any], str]:
        place = range(len(self))[index]
        return place, self._rows[place], f"{self._source}, row {place}"


class ImageTable(_Table):
    """Images of a data set that Hugging Face ``datasets`` can read.

    Args:
        path, split, data_files: what :func:`bench.data.huggingface.open_rows` takes: a Parquet file, a folder, or
            a name on the hub.
        image, label, mask, boxes, id: the names of the columns; None where there is none. ``image`` and ``mask``
            hold images (what is not black is the object), ``boxes`` lists of [x0, y0, x1, y1] in pixels, ends not
            included. Without ``id``, rows are known by their number.
        classes: the names of the labels in the order of the model's logits; None for those of the column.

    Raises:
        BenchError: nothing readable, no such column, a label that is no class; on access, an image that cannot be
            decoded, or a mask or a box that does not fit it.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "test",
        image: str = "image",
        label: str | None = "label",
        mask: str | None = None,
        boxes: str | None = None,
        id: str | None = None,
        classes: Sequence[str] | None = None,
        data_files: str | None = None,
    ) -> None:
        if mask is not None and boxes is not None:
            raise BenchError("dataset.mask and dataset.boxes are both given; choose one of them")
        self._image, self._mask, self._boxes = image, mask, boxes
        super().__init__(path, split, (image, mask, boxes), label, id, classes, data_files)

    def __getitem__(self, index: int) -> ImageSample:
        place, row, where = self._row(index)
        image = _decoded(row[self._image], f"{where}, {self._image}")
        mask = None
        if self._mask is not None:
            mask = np.asarray(_decoded(row[self._mask], f"{where}, {self._mask}")).any(axis=2)
            if mask.shape != image.size[::-1]:
                raise BenchError(
                    f"{where}: a mask of {mask.shape[1]} × {mask.shape[0]} pixels for an image of {image.width} × "
                    f"{image.height}; expected the same size"
                )
        elif self._boxes is not None:
            mask = covered([_box(box, where) for box in row[self._boxes] or ()], image.size, where)
        return ImageSample(self.ids[place], image, self.labels[place], mask)


class TextTable(_Table):
    """Texts of a data set that Hugging Face ``datasets`` can read.

    Args:
        path, split, data_files: as of :class:`ImageTable`.
        text, label, rationale, id: the names of the columns; None where there is none. A text is a string or a list
            of words; a rationale has a 0 or a 1 for each word, or spans [start, end) of words.
        classes: the names of the labels; None for those of the column.

    Raises:
        BenchError: as :class:`ImageTable`; on access, for a rationale that does not fit its text.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "test",
        text: str = "text",
        label: str | None = "label",
        rationale: str | None = None,
        id: str | None = None,
        classes: Sequence[str] | None = None,
        data_files: str | None = None,
    ) -> None:
        self._text, self._rationale = text, rationale
        super().__init__(path, split, (text, rationale), label, id, classes, data_files)

    def __getitem__(self, index: int) -> TextSample:
        place, row, where = self._row(index)
        words = words_in(row[self._text], where)
        marks = np.zeros(len(words), bool)
        if self._rationale is not None:
            marks = marked(row[self._rationale], len(words), where)
        return TextSample(self.ids[place], words, self.labels[place], marks)


def _numbered(split: str, count: int) -> list[str]:
    return [f"{split}_{row:08d}" for row in range(count)]


def _decoded(cell: Any, where: str) -> Image.Image:
    source = cell.get("bytes") or cell.get("path") if isinstance(cell, dict) else None
    if not source:
        raise BenchError(f"{where}: no image; expected a column of datasets.Image()")
    return decode_rgb(source, where)


def _box(box: Any, where: str) -> tuple[float, float, float, float]:
    try:
        x0, y0, x1, y1 = map(float, box)
    except (TypeError, ValueError) as e:
        raise BenchError(f"{where}: the box {box!r}; expected four numbers x0, y0, x1, y1") from e
    return x0, y0, x1, y1
