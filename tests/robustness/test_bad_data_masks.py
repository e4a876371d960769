"""However a file of images and masks is damaged, a run ends in one line that names the file and the entry."""

import shutil

import h5py
import numpy as np
import pytest

from bench.data import ImageNetSegmentation
from tests.support.commands import ended
from tests.support.refusals import read_all, refused

SHAPE = (36, 40)  # of the masks of tests/support/tiny_images.py, as HDF5 shows them


def keep(share: float):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def overwrite(start: int, count: int):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[start : start + count] = b"\xaa" * count
        path.write_bytes(content)

    return damage


def change(edit):
    """Damage the opened HDF5 file."""

    def damage(path):
        with h5py.File(path, "r+") as file:
            edit(file)

    return damage


def store(key: str, data, **options):
    """Put something else at ``key``; None puts nothing there."""

    def edit(file):
        del file[key]
        if data is not None:
            file.create_dataset(key, data=data, **options)

    return change(edit)


def point(key: str, place, make):
    """Let a reference refer to what ``make`` makes of the file."""

    def edit(file):
        file[key][place] = make(file).ref

    return change(edit)


def image(data):
    return point("value/img", (1, 0), lambda file: file.create_dataset("new", data=data))


def mask(data):
    return point("r/c1", (0, 0), lambda file: file.create_dataset("new", data=data))


def cell(references):
    data = np.array(references, h5py.ref_dtype)
    return point("value/gt", (1, 0), lambda file: file.create_dataset("new", data=data))


def huge(*shape):
    """An array of which nothing is stored, so that the file stays small."""
    return lambda file: file.create_dataset("new", shape, np.uint8, chunks=True)


@change
def group_for_the_images(file):
    del file["value/img"]
    file.create_group("value/img")


@change
def text_for_the_images(file):
    del file["value/img"]
    file.create_dataset("value/img", data=[["r/i0"]] * 4, dtype=h5py.string_dtype())


@change
def regions_for_the_images(file):
    regions = [[file["r/i0"].regionref[:, :2]]] * 4
    del file["value/img"]
    file.create_dataset("value/img", data=np.array(regions, h5py.regionref_dtype), dtype=h5py.regionref_dtype)


@change
def link_to_nothing(file):
    del file["value/gt"]
    file["value/gt"] = h5py.SoftLink("/gone")


@change
def row_of_images(file):
    images = file["value/img"][:].T
    del file["value/img"]
    file["value/img"] = images


@change
def array_for_the_root(file):
    del file["value"]
    file["value"] = np.zeros(3)


def fractional_mask(value):
    data = np.zeros(SHAPE)
    data[3, 4] = value
    return mask(data)


SHARES = (0.001, 0.01, 0.3, 0.9, 0.9999)
FILE = {
    **{f"cut to {share:.2%}": (keep(share), "not a MATLAB v7.3") for share in SHARES},
    "signature overwritten": (overwrite(0, 8), "not a MATLAB v7.3"),
    "superblock overwritten": (overwrite(8, 60), "not a MATLAB v7.3"),
    "root overwritten": (overwrite(96, 400), "gtsegs_ijcv.mat: "),
    "nothing stored": (store("value", None), "/value/img is None"),
    "array for the root": (array_for_the_root, "/value/img is None"),
    "group for the images": (group_for_the_images, r"/value/img is <HDF5 group.*column of references"),
    "text for the images": (text_for_the_images, r"/value/img is .*column of references"),
    "regions for the images": (regions_for_the_images, r"/value/img is .*column of references"),
    "numbers for the masks": (store("value/gt", np.zeros((4, 1))), r"/value/gt is .*column of references"),
    "no images": (store("value/img", np.zeros((0, 1), h5py.ref_dtype)), r"/value/img is .*\(0, 1\)"),
    "one reference alone": (store("value/img", h5py.Empty(h5py.ref_dtype)), "/value/img is"),
    "images in a row": (row_of_images, r"/value/img is .*\(1, 4\)"),
    "link to nothing": (link_to_nothing, "/value/gt is None"),
}
ENTRY = {
    "image is a group": (point("value/img", (1, 0), lambda file: file["r"]), "cannot be read"),
    "image is one number": (image(7), r"the image is int64 \(\)"),
    "image is nothing": (image(h5py.Empty("u1")), "the image is"),
    "image is text": (image("picture"), "the image is"),
    "image in 16 bits": (image(np.zeros((3, *SHAPE), np.uint16)), "the image is uint16"),
    "image of truth values": (image(np.zeros((3, *SHAPE), bool)), "the image is bool"),
    "image with alpha": (image(np.zeros((4, *SHAPE), np.uint8)), r"the image is uint8 \(4, 36, 40\)"),
    "image without end": (point("value/img", (1, 0), huge(3, 10**6, 10**6)), "cannot be read .*too large"),
    "mask is a group": (point("r/c1", (0, 0), lambda file: file["r"]), "cannot be read"),
    "mask is null": (cell([[h5py.Reference()]]), "cannot be read"),
    "mask's cell is empty": (cell(np.zeros((0, 0))), "cannot be read"),
    "mask without a cell": (point("value/gt", (1, 0), lambda file: file["r/m1"]), "cannot be read"),
    "mask is nothing": (mask(h5py.Empty("u1")), "and the mask"),
    "mask transposed": (mask(np.zeros(SHAPE[::-1], np.uint8)), r"the mask uint8 \(40, 36\)"),
    "mask of another image": (mask(np.zeros((36, 41), np.uint8)), r"the mask uint8 \(36, 41\)"),
    "mask with channels": (mask(np.zeros((3, *SHAPE), np.uint8)), r"the mask uint8 \(3, 36, 40\)"),
    "mask of text": (mask(np.full(SHAPE, b"1")), r"the mask \|S1"),
    "mask of complex numbers": (mask(np.ones(SHAPE, complex)), "the mask complex128"),
    "mask of pairs": (mask(np.zeros(SHAPE, [("a", "u1"), ("b", "u1")])), "and the mask"),
    "mask without end": (point("r/c1", (0, 0), huge(10**6, 10**6)), "cannot be read .*too large"),
    **{
        f"mask holds {value}": (fractional_mask(value), "the mask holds other values")
        for value in (2, 255, -1, 0.5, np.nan, np.inf)
    },
}  # fmt: skip
DAMAGE = FILE | {name: (damage, rf"gtsegs_ijcv\.mat: entry 1: .*{e}") for name, (damage, e) in ENTRY.items()}


@pytest.fixture
def mat(root, tmp_path):
    return shutil.copy(root / "imagenet_segmentation" / "gtsegs_ijcv.mat", tmp_path / "gtsegs_ijcv.mat")


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file(mat, damage, expected):
    damage(mat)
    with refused(expected):
        read_all(ImageNetSegmentation(mat))


def test_the_command_line_names_a_damaged_mask(mat, tmp_path, monkeypatch, capsys):
    fractional_mask(np.nan)(mat)
    code, said = ended(
        *(monkeypatch, capsys, "task=segmentation", "method=rollout", "model=embedded/image"),
        *("dataset=imagenet_segmentation", f"dataset.path={mat}", f"paths.results={tmp_path / 'results'}"),
    )
    assert code == 2
    assert "entry 1: the mask holds other values" in said
