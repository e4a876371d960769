"""Images of ImageNet with boxes around the objects."""

import csv
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from bench.data.imagenet import ImageNet
from bench.data.samples import ImageSample
from bench.errors import BenchError

COLUMNS = ("image", "x0", "y0", "x1", "y1")
Box = tuple[float, float, float, float]


class BoxedImages:
    """The samples of :class:`ImageNet` that a table of boxes names, with these.

    Args:
        path, split: as for :class:`ImageNet`.
        boxes: a CSV file with the columns image (the file's name), x0, y0, x1 and y1, in the pixels of the
            stored image, to the right and down; several rows for several boxes. A relative path is one in
            ``path``.

    Raises:
        BenchError: as :class:`ImageNet`; for a table that is missing or has other columns, no numbers, or
        boxes
            without extent; if it names none of the images.
    """

    version: ClassVar[int] = 1

    def __init__(self, path: str | Path, split: str = "val", boxes: str | Path = "val_boxes.csv") -> None:
        self._images = ImageNet(path, split)
        table = Path(path) / boxes
        self._boxes = read_boxes(table)
        self._places = [i for i, file in enumerate(self._images.files) if file.name in self._boxes]
        if not self._places:
            raise BenchError(
                f"{table}: it names none of the images in {Path(path) / split}; expected their file names"
            )
        self.classes = self._images.classes
        self.labels = [self._images.labels[place] for place in self._places]
        self.ids = [self._images.ids[place] for place in self._places]
        self.files = [*(self._images.files[place] for place in self._places), table]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        place = self._places[index]
        return replace(self._images[place], boxes=self._boxes[self._images.files[place].name])


def read_boxes(file: Path) -> Mapping[str, list[Box]]:
    """The boxes of a table by the names of the images.

    Raises:
        BenchError: as :class:`BoxedImages`.
    """
    found: dict[str, list[Box]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            reader = csv.DictReader(opened)
            if missing := [column for column in COLUMNS if column not in (reader.fieldnames or ())]:
                raise BenchError(f"{file}: it lacks the column {missing[0]}; expected {', '.join(COLUMNS)}")
            for number, row in enumerate(reader, start=2):
                found.setdefault(row["image"], []).append(_box(file, number, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BenchError(
            f"{file}: cannot be read ({error}); expected a CSV file with {', '.join(COLUMNS)}"
        ) from error
    return found


def _box(file: Path, number: int, row: Mapping[str, str]) -> Box:
    try:
        x0, y0, x1, y1 = (float(row[column]) for column in COLUMNS[1:])
    except (TypeError, ValueError) as error:
        raise BenchError(
            f"{file}: line {number}: expected numbers for x0, y0, x1 and y1 ({error})"
        ) from error
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or not (x0 < x1 and y0 < y1):
        raise BenchError(
            f"{file}: line {number}: a box from ({x0}, {y0}) to ({x1}, {y1}); expected x0 < x1, y0 < y1"
        )
    return x0, y0, x1, y1
