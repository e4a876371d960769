"""ImageNet-1k (Russakovsky et al. 2015, arXiv 1409.0575), from folders or from Hugging Face ``datasets``."""

import json
import re
from io import BytesIO
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from bench.data.huggingface import open_rows
from bench.data.samples import ImageSample
from bench.errors import BenchError

SUFFIXES = {".jpeg", ".jpg", ".png"}
FORMATS = ("JPEG", "PNG")  # whatever a file is called; for some of its formats Pillow starts other programs
SIXTEEN_BITS = {"I", "I;16", "I;16B", "I;16L", "I;16N"}  # names of Pillow for greyscale; they vary by version
OTHER_DEPTHS = {"L;2", "L;4", "RGB;16B"}
EIGHT_BITS = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


class ImageNet:
    """A folder ``path/<split>/<wnid>/*.JPEG``, as published; any number of the class folders may be there.

    A label is the class's place among *all* classes, not among the folders present. The classes are those
    of ``path/class_index.json`` (``{"0": ["n01440764", ...], ...}``) where it exists, else the 1000 of
    ImageNet-1k.

    Samples are ordered by file name. Their ids are the file names without suffix
    (``ILSVRC2012_val_00000355``), or ``<wnid>/<file name>`` where those are not unique.

    Attributes:
        ids: one per sample.
        labels: one per sample.
        classes: wnid of each label.
        files: the image of each sample.

    Raises:
        BenchError: a folder is missing, empty or no class; on access, a file cannot be decoded.
    """

    version: ClassVar[int] = 1
    one_file_per_sample: ClassVar[bool] = True

    def __init__(self, path: str | Path, split: str = "val") -> None:
        folder = Path(path) / split
        self.classes = read_classes(Path(path))
        self.files = sorted(
            _list_images(folder, set(self.classes)), key=lambda file: (file.name, file.parent)
        )

        rank = {wnid: label for label, wnid in enumerate(self.classes)}
        self.labels = [rank[file.parent.name] for file in self.files]
        self.ids = [file.stem for file in self.files]
        if len(set(self.ids)) < len(self.ids):
            self.ids = [f"{file.parent.name}/{file.name}" for file in self.files]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        file = self.files[index]
        return ImageSample(self.ids[index], decode_rgb(file, str(file)), self.labels[index], mask=None)


class HuggingFaceImages:
    """The samples of :class:`ImageNet` from Hugging Face ``datasets``.

    Args:
        path: a Parquet file, a folder of Parquet files, a folder written by ``save_to_disk``, a folder of
            images ("imagefolder") or the name of a data set on the hub.
            :func:`bench.data.huggingface.open_rows` says what each writes to disk.
        split: its name there; mind that the hub and "imagefolder" call it ``validation``, not ``val``.
        data_files: with a hub name, which files to download. ``data/validation-*`` of ``ILSVRC/imagenet-1k``
            is 7 GB; without it every split is downloaded.

    The rows need a column ``image`` (bytes or a path) and a column ``label``. Class labels named by wnids get
    the places of those among all classes (see :class:`ImageNet`); class labels with other names are taken as
    they are when there are as many as classes, and so are plain integers.

    Samples keep the order of the rows. Their ids are the images' file names without suffix and without the
    wnid that the hub appends to them, or ``<split>_<row>`` where those are missing or not unique.

    Attributes: as in :class:`ImageNet`, but ``files`` are those of the table, then the images that it names
    and does not hold; these alone where it holds none ("imagefolder", whose table would name the folder).

    Raises:
        BenchError: nothing readable at ``path``, no such split or column, labels that are no classes; on
            access, an image cannot be decoded.
    """

    version: ClassVar[int] = 1

    def __init__(self, path: str | Path, split: str = "validation", data_files: str | None = None) -> None:
        self._source = f"{path} (split {split})"
        self._rows = open_rows(path, split, required=("image", "label"), data_files=data_files)
        self.classes = read_classes(Path(path) if Path(path).is_dir() else Path(path).parent)
        self.labels = self._ranked(self._rows.column("label"))

        paths, outside = self._paths()
        self.one_file_per_sample = len(outside) == len(paths)
        if self.one_file_per_sample:
            self.files = outside
        else:
            self.files = [*self._rows.files, *outside] if self._rows.files else []

        names = [re.sub(r"_n\d{8}$", "", Path(file or "").stem) for file in paths]
        unique = all(names) and len(set(names)) == len(names)
        self.ids = names if unique else [f"{split}_{row:08d}" for row in range(len(names))]

    def _paths(self) -> tuple[list[str | None], list[Path]]:
        """The images' names, and the files of those that the table does not hold."""
        try:
            paths = self._rows.column("image.path")
            if not all(path is None or isinstance(path, str) for path in paths):
                raise TypeError("a path is no text")
            outside = [Path(paths[row]) for row in self._rows.nulls("image.bytes") if paths[row]]
        except (LookupError, TypeError, ValueError, pa.ArrowException) as error:
            raise BenchError(
                f"{self._source}: column 'image' is {self._rows.features['image']}; expected a struct of "
                "bytes and path. Write it with datasets.Image()."
            ) from error
        return paths, outside

    def _ranked(self, stored: list[int]) -> list[int]:
        """The stored label numbers as places among all classes."""
        rank = {wnid: label for label, wnid in enumerate(self.classes)}
        names = getattr(self._rows.features["label"], "names", None) or self.classes
        unknown = [name for name in names if name not in rank]
        if unknown and len(names) != len(self.classes):
            raise BenchError(
                f"{self._source}: {unknown[0]!r} is no class; expected names from the {len(rank)} wnids. "
                "Rename it, or list your own classes in class_index.json beside the data."
            )
        meaning = range(len(names)) if unknown else [rank[name] for name in names]
        for row, label in enumerate(stored):
            if type(label) is not int or not 0 <= label < len(meaning):
                raise BenchError(
                    f"{self._source}: row {row} has label {label!r}; expected an integer from 0 to "
                    f"{len(meaning) - 1}. Choose a split that has labels (on the hub, 'test' has none)."
                )
        return [meaning[label] for label in stored]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        row = range(len(self))[index]
        cell = self._rows[row]["image"] or {}
        source = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
        if not source:
            raise BenchError(f"{self._source}: row {row} has no image. Download the data set again.")
        # `datasets` would decode too, but turns images by their EXIF tag, which the folder reader does not.
        image = decode_rgb(source, f"{self._source}: row {row}, {cell.get('path') or 'unnamed'}")
        return ImageSample(self.ids[row], image, self.labels[row], mask=None)


def decode_rgb(source: bytes | str | Path, name: str) -> Image.Image:
    """Decode an image file, or its content; greyscale and CMYK (ImageNet has both) become RGB.

    Images of 16 bits, grey or in colour, keep their upper 8.

    Raises:
        BenchError: it is no image, a damaged one, or one that has no colours of its own because parts of it
            are transparent; the message starts with ``name``.
    """
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            return _to_rgb(image)
    except _Transparent as error:
        raise BenchError(
            f"{name}: parts of it are transparent, so its colours depend on what lies behind; expected an "
            "opaque image. Put it on a background and save it without transparency."
        ) from error
    except Exception as error:  # Pillow's decoders meet damage with errors of many kinds
        raise BenchError(
            f"{name}: cannot be decoded ({error}); expected a complete JPEG or PNG. Copy the file again."
        ) from error


class _Transparent(Exception):
    pass


def _to_rgb(image: Image.Image) -> Image.Image:
    """The colours of an image in any mode in which Pillow opens JPEG and PNG.

    Raises:
        _Transparent: some of its pixels are not opaque.
        ValueError: the mode has no certain meaning here.
    """
    # A colour named transparent is compared at the depth of the file, which Pillow has changed by then.
    if "transparency" in image.info and image.tile and image.tile[0][3] in OTHER_DEPTHS:
        raise _Transparent
    if image.mode in SIXTEEN_BITS:
        # Pillow's own conversion cuts at 255 instead, and leaves an X-ray white.
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError(f"grey values from {grey.min()} to {grey.max()}, more than 16 bits")
        if (grey == image.info.get("transparency", -1)).any():
            raise _Transparent
        return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
    if image.mode not in EIGHT_BITS:
        raise ValueError(f"its mode is {image.mode}")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            raise _Transparent
    return image.convert("RGB")


def read_classes(folder: Path) -> list[str]:
    """The wnids in label order: those of ``folder/class_index.json``, else the 1000 of ImageNet-1k.

    Raises:
        BenchError: class_index.json does not look like ``{"0": ["n01440764", ...], ...}``.
    """
    file = folder / "class_index.json"
    if not file.is_file():
        return Path(__file__).with_name("imagenet_wnids.txt").read_text().split()
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
        classes = [index[str(label)][0] for label in range(len(index))]
        if not all(isinstance(entry, list) and isinstance(entry[0], str) for entry in index.values()):
            raise TypeError("an entry is no list of names")
        if not classes or len(set(classes)) < len(classes):
            raise ValueError("a class occurs twice" if classes else "no classes")
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise BenchError(
            f'{file}: expected {{"0": ["n01440764"], "1": ["n01443537"], ...}} without gaps ({error!r}). '
            "Mend it, or remove it to use the 1000 classes of ImageNet-1k."
        ) from error
    return classes


def _list_images(folder: Path, classes: set[str]) -> list[Path]:
    if not folder.is_dir():
        raise BenchError(
            f"{folder}: no such folder; expected the images as <wnid>/*.JPEG in it. "
            "Point paths.data (or BENCH_DATA) to the data root and check the split's name."
        )
    images = []
    for entry in sorted(folder.iterdir()):
        if entry.suffix.lower() in SUFFIXES and entry.is_file():
            raise BenchError(
                f"{entry}: an image outside a class folder; expected {folder}/<wnid>/*.JPEG. "
                "Sort the images into one folder per class (the development kit maps files to wnids)."
            )
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        if entry.name not in classes:
            raise BenchError(
                f"{entry}: {entry.name!r} is no class; expected folders named by the {len(classes)} wnids, "
                f"such as {min(classes)}. Remove or rename it, or list your own classes in class_index.json."
            )
        found = [f for f in entry.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
        if not found:
            raise BenchError(f"{entry}: empty class folder; expected *.JPEG in it. Fill it or remove it.")
        images += found
    if not images:
        raise BenchError(f"{folder}: empty; expected the images as <wnid>/*.JPEG in it. Unpack them there.")
    return images
