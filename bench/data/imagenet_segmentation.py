"""ImageNet-Segmentation (Guillaumin, Küttel, Ferrari 2014): 4,276 images of 445 classes with object masks."""

import os
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
from PIL import Image

from bench.data.samples import ImageSample
from bench.errors import BenchError

FILE_NAME = "gtsegs_ijcv.mat"
H5PY_ERRORS = (OSError, RuntimeError, ValueError, LookupError, TypeError)
LARGEST = 2**30  # bytes: an array that claims more than this is damaged; the published have less than 10 MB


class ImageNetSegmentation:
    """The file ``gtsegs_ijcv.mat`` (MATLAB v7.3, that is HDF5), or the folder that holds it.

    MATLAB counts columns first, so HDF5 shows every array transposed: ``/value/img[i, 0]`` refers to an
    image (3, W, H) uint8; ``/value/gt[i, 0]`` to a 1×1 cell, which refers to a mask (W, H) of 0 and 1. Other
    fields of ``/value`` are ignored. Samples keep the order of the file; their ids are ``gtsegs_0000`` and so
    on, because the file names nothing. Their label is None.

    The file, the only one of ``files``, is opened on first access, once per process: an HDF5 handle does not
    survive a fork.

    Raises:
        BenchError: the file is missing or laid out differently; on access, an image and its mask do not fit.
    """

    version: ClassVar[int] = 1

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._path = path / FILE_NAME if path.is_dir() else path
        self._handle: tuple[int, h5py.File] | None = None
        with _open(self._path) as file:
            images, masks = (_cells(file, self._path, key) for key in ("value/img", "value/gt"))
            if len(images) != len(masks):
                raise BenchError(
                    f"{self._path}: /value/img has {len(images)} entries and /value/gt {len(masks)}; "
                    "expected as many masks as images. Download the file again."
                )
            self.files = [self._path]
            self.ids = [f"gtsegs_{index:04d}" for index in range(len(images))]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> ImageSample:
        index = range(len(self))[index]
        file = self._file()
        try:
            image = _array(file[file["value/img"][index, 0]])
            mask = _array(file[file[file["value/gt"][index, 0]][0, 0]])
        except H5PY_ERRORS as error:
            raise self._damaged(index, f"cannot be read ({error})") from error
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise self._damaged(index, f"the image is {image.dtype} {image.T.shape}")
        if mask.shape != image.shape[:2] or mask.dtype.kind not in "buif":
            raise self._damaged(
                index, f"the image is {image.T.shape} and the mask {mask.dtype} {mask.T.shape}"
            )
        if not np.isin(mask, (0, 1)).all():
            raise self._damaged(index, "the mask holds other values")
        rgb = Image.fromarray(np.ascontiguousarray(image))
        return ImageSample(self.ids[index], rgb, label=None, mask=np.ascontiguousarray(mask, dtype=bool))

    def _file(self) -> h5py.File:
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = os.getpid(), _open(self._path)
        return self._handle[1]

    def _damaged(self, index: int, what: str) -> BenchError:
        return BenchError(
            f"{self._path}: entry {index}: {what}; expected an image (3, W, H) uint8 and a mask (W, H) of 0 "
            "and 1. Download the file again, or write that entry anew."
        )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_handle": None}


def _open(path: Path) -> h5py.File:
    if not path.is_file():
        raise BenchError(
            f"{path}: no such file; expected {FILE_NAME}. Point paths.data (or BENCH_DATA) to the data root."
        )
    head = b""
    try:
        with path.open("rb") as file:
            head = file.read(19)
        return h5py.File(path, "r")
    except OSError as error:
        raise BenchError(
            f"{path}: a MATLAB v5 file; expected MATLAB v7.3. In MATLAB load it and save(..., '-v7.3')."
            if head == b"MATLAB 5.0 MAT-file"
            else f"{path}: not a MATLAB v7.3 (HDF5) file ({error}); expected {FILE_NAME}. Download it again."
        ) from error


def _array(node: h5py.Dataset) -> np.ndarray:
    """A MATLAB array the right way round."""
    if not isinstance(node, h5py.Dataset):
        raise TypeError(f"{node!r} is no array")
    if node.nbytes > LARGEST:
        raise ValueError(f"{node.dtype} {node.shape} is too large")
    return np.asarray(node[()]).T


def _cells(file: h5py.File, path: Path, key: str) -> h5py.Dataset:
    try:
        node = file.get(key)
    except H5PY_ERRORS as error:
        raise BenchError(f"{path}: /{key} cannot be read ({error}). Download the file again.") from error
    if (
        not isinstance(node, h5py.Dataset)
        or h5py.check_ref_dtype(node.dtype) is not h5py.Reference
        or (node.shape or ())[1:] != (1,)
        or not len(node)
    ):
        raise BenchError(
            f"{path}: /{key} is {node!r}; expected a column of references, one per image. Give the published "
            f"{FILE_NAME}, or a file with the same layout."
        )
    return node
