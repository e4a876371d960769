"""Images of one's own, in a folder, with masks or boxes if there are any."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.data.imagenet import SUFFIXES, decode_rgb
from bench.data.samples import ImageSample
from bench.errors import BenchError

CORNERS = ("x0", "y0", "x1", "y1")
Box = tuple[float, float, float, float]


class ImageFolder:
    """A folder of JPEG and PNG images: in a folder per class (``path/<class>/cat1.jpg``), or without classes.

    Samples are ordered by name; their ids are the paths below ``path`` without suffix (``tabby/cat1``).

    Args:
        path: the folder.
        classes: the names of the folders in the order of the model's logits, of which some may have no images;
            None for those that are there, in alphabetical order.
        masks: a folder with an image for each, of the same name and size (``masks/tabby/cat1.png``): what is not
            black is the object. None where there are none.
        boxes: a CSV file with the columns ``image`` (path below ``path``, with or without suffix), ``x0``, ``y0``,
            ``x1``, ``y1``: pixels from the left upper corner, the ends not included; a row per box. The object is
            what lies in any of an image's boxes. None where there are none.

    Attributes:
        ids, labels, classes: as :mod:`bench.data.samples` says; labels are None without class folders.
        files: the images, then the masks or the file of the boxes.

    Raises:
        BenchError: if there is no image, a class has no name, an image has no mask or no box; on access, if an
            image cannot be decoded or its mask or a box does not fit it.
    """

    version: ClassVar[int] = 1

    def __init__(
        self,
        path: str | Path,
        classes: Sequence[str] | None = None,
        masks: str | Path | None = None,
        boxes: str | Path | None = None,
    ) -> None:
        self._path = Path(path)
        self._images = _images(self._path)
        self.ids = [str(file.relative_to(self._path).with_suffix("").as_posix()) for file in self._images]
        if twice := sorted({name for name in self.ids if self.ids.count(name) > 1})[:1]:
            raise BenchError(f"{self._path}: two images are called {twice[0]}; give them different names")
        self.labels, self.classes = self._classes(classes)
        if masks is not None and Path(masks).resolve().is_relative_to(self._path.resolve()):
            raise BenchError(
                f"dataset.masks={masks}: it lies in dataset.path, whose images would be explained"
            )
        if masks is not None and boxes is not None:
            raise BenchError("dataset.masks and dataset.boxes are both given; choose one of them")
        self._masks = None if masks is None else _masks(Path(masks), self.ids)
        self._boxes = None if boxes is None else _boxes(Path(boxes), self.ids)
        annotations = [*(self._masks or ())] + ([] if boxes is None else [Path(boxes)])
        self.files = [*self._images, *annotations]

    @property
    def one_file_per_sample(self) -> bool:
        return len(self.files) == len(self.ids)

    def _classes(self, given: Sequence[str] | None) -> tuple[list[int | None], tuple[str, ...] | None]:
        folders = [file.parent.relative_to(self._path).as_posix() for file in self._images]
        if set(folders) == {"."}:
            if given is not None:
                raise BenchError(
                    f"{self._path}: dataset.classes is given, but the images lie in no class folders; expected "
                    f"{self._path}/<class>/*.jpg"
                )
            return [None] * len(folders), None
        if "." in folders:
            stray = self._images[folders.index(".")]
            raise BenchError(f"{stray}: beside class folders; put it into one of them, or all images in none")
        names = tuple(sorted(set(folders)) if given is None else map(str, given))
        if unknown := sorted(set(folders) - set(names))[:1]:
            raise BenchError(
                f"{self._path}/{unknown[0]}: no such class; expected one of {', '.join(names)} (dataset.classes)"
            )
        if len(set(names)) < len(names):
            raise BenchError(f"dataset.classes={list(names)}: a name occurs twice")
        return [names.index(folder) for folder in folders], names

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        index = range(len(self))[index]
        file = self._images[index]
        image = decode_rgb(file, str(file))
        mask = None
        if self._masks is not None:
            mask = read_mask(self._masks[index], image.size)
        elif self._boxes is not None:
            mask = covered(self._boxes[index], image.size, str(file))
        return ImageSample(self.ids[index], image, self.labels[index], mask)


def read_mask(file: Path, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a mask that are not black, (height, width), boolean.

    Args:
        size: width and height of the image.

    Raises:
        BenchError: if it cannot be decoded or has another size.
    """
    mask = np.asarray(decode_rgb(file, str(file))).any(axis=2)
    if mask.shape != size[::-1]:
        raise BenchError(
            f"{file}: {mask.shape[1]} × {mask.shape[0]} pixels; expected {size[0]} × {size[1]}, those of its image"
        )
    return mask


def covered(boxes: Sequence[Box], size: tuple[int, int], name: str) -> np.ndarray:
    """The pixels whose centre lies in one of the boxes, (height, width), boolean.

    Args:
        boxes: x0, y0, x1, y1 in pixels.
        size: width and height of the image.

    Raises:
        BenchError: if a box covers no pixel or reaches beyond the image, naming the image.
    """
    width, height = size
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    mask = np.zeros((height, width), dtype=bool)
    for box in boxes:
        x0, y0, x1, y1 = box
        inside = ((y0 <= y) & (y < y1))[:, None] & ((x0 <= x) & (x < x1))
        if not inside.any() or min(x0, y0) < 0 or x1 > width or y1 > height:
            raise BenchError(
                f"{name}: the box {box} is empty or not within its {width} × {height} pixels; expected "
                "x0 < x1 ≤ width and y0 < y1 ≤ height"
            )
        mask |= inside
    return mask


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder; point dataset.path to one with images")
    found = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not _is_hidden(file.relative_to(folder))
    ]
    if not found:
        raise BenchError(f"{folder}: no JPEG or PNG in it; point dataset.path to a folder with images")
    return sorted(found, key=lambda file: file.relative_to(folder).as_posix())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _masks(folder: Path, ids: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise BenchError(f"dataset.masks={folder}: no such folder")
    known = {file.relative_to(folder).with_suffix("").as_posix(): file for file in _images(folder)}
    if missing := [name for name in ids if name not in known]:
        raise BenchError(
            f"dataset.masks={folder}: no mask for {len(missing)} of {len(ids)} images; expected {missing[0]}.png"
        )
    return [known[name] for name in ids]


def _boxes(file: Path, ids: Sequence[str]) -> list[list[Box]]:
    found: Mapping[str, list[Box]] = {name: [] for name in ids}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                name = Path(row["image"]).as_posix()
                name = name if name in found else Path(name).with_suffix("").as_posix()
                try:
                    found[name].append(tuple(float(row[corner]) for corner in CORNERS))
                except (KeyError, TypeError, ValueError) as e:
                    raise BenchError(
                        f"{file}, line {number}: {e!r}; expected an image of dataset.path and four numbers "
                        "x0, y0, x1, y1"
                    ) from e
    except (OSError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as e:
        raise BenchError(
            f"dataset.boxes={file}: cannot be read ({e!r}); expected a CSV file with the columns image, x0, y0, x1, y1"
        ) from e
    if missing := [name for name, boxes in found.items() if not boxes]:
        raise BenchError(
            f"dataset.boxes={file}: no box for {len(missing)} of {len(ids)} images, such as {missing[0]}"
        )
    return [found[name] for name in ids]
