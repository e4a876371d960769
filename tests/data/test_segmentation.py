"""The reader of gtsegs_ijcv.mat, on small files written as MATLAB v7.3 writes them."""

import csv
import pickle

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from bench.data import ImageNetSegmentation
from bench.errors import BenchError

SIZES = [(5, 8), (7, 4), (6, 6)]  # height, width


@pytest.fixture
def pictures():
    """Upright (H, W, 3) images, each with a mask (H, W) that is no transpose of itself."""
    rng = np.random.default_rng(0)
    made = []
    for height, width in SIZES:
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[1, 2:] = 1
        made.append((rng.integers(0, 255, (height, width, 3), dtype=np.uint8), mask))
    return made


def write_mat(path, pictures) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        images, masks, targets = [], [], []
        for i, (image, mask) in enumerate(pictures):
            images.append(
                file.create_dataset(f"#refs#/img{i}", data=image.transpose(2, 1, 0), compression="gzip")
            )
            stored = file.create_dataset(f"#refs#/mask{i}", data=mask.T)
            cell = file.create_dataset(f"#refs#/gt{i}", data=np.array([[stored.ref]], h5py.ref_dtype))
            masks.append(cell)
            targets.append(file.create_dataset(f"#refs#/target{i}", data=np.array([[float(i)]])))
        for key, nodes in (("img", images), ("gt", masks), ("target", targets)):
            file[f"value/{key}"] = np.array([[node.ref] for node in nodes], h5py.ref_dtype)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


@pytest.fixture
def path(tmp_path, pictures):
    write_mat(tmp_path / "gtsegs_ijcv.mat", pictures)
    return tmp_path / "gtsegs_ijcv.mat"


def contents(dataset) -> dict[str, tuple[bytes, bytes]]:
    return {sample.id: (np.asarray(sample.image).tobytes(), sample.mask.tobytes()) for sample in dataset}


def test_images_and_masks_are_upright_and_fit(path, pictures):
    dataset = ImageNetSegmentation(path)
    assert dataset.ids == ["gtsegs_0000", "gtsegs_0001", "gtsegs_0002"]
    for sample, (image, mask) in zip(dataset, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(sample.image), image)
        np.testing.assert_array_equal(sample.mask, mask.astype(bool))
        assert sample.mask.dtype == bool
        assert sample.label is None


def test_the_folder_will_do_and_indices_behave(path):
    dataset = ImageNetSegmentation(path.parent)
    assert dataset[-1].id == "gtsegs_0002"
    with pytest.raises(IndexError):
        dataset[3]


def test_works_in_loader_processes_after_use_in_the_parent(path):
    dataset = ImageNetSegmentation(path)
    expected = contents(dataset)
    loader = DataLoader(dataset, num_workers=2, collate_fn=list)
    assert contents(sample for batch in loader for sample in batch) == expected


def test_pickles_after_use(path):
    dataset = ImageNetSegmentation(path)
    expected = contents(dataset)
    assert contents(pickle.loads(pickle.dumps(dataset))) == expected


def replace(key, data):
    def damage(path):
        with h5py.File(path, "r+") as file:
            del file[key]
            if data is not None:
                file[key] = data

    return damage


def cut_cells(path):
    with h5py.File(path, "r+") as file:
        kept = file["value/gt"][:2]
        del file["value/gt"]
        file["value/gt"] = kept


def point(entry, data):
    """Point the image or the mask of entry 1, or the cell around that mask, to other data."""

    def damage(path):
        with h5py.File(path, "r+") as file:
            file["new"] = data
            masks = file["value/gt"]
            node, index = {
                "img": (file["value/img"], (1, 0)),
                "cell": (masks, (1, 0)),
                "mask": (file[masks[1, 0]], (0, 0)),
            }[entry]
            node[index] = file["new"].ref

    return damage


def null_reference(path):
    with h5py.File(path, "r+") as file:
        file["value/img"][1, 0] = h5py.Reference()


def flip_chunk(path):
    with h5py.File(path, "r+") as file:
        chunk = file["#refs#/img1"].id.get_chunk_info(0)
        where = chunk.byte_offset
    content = bytearray(path.read_bytes())
    content[where : where + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)


FILE_DAMAGE = {
    "missing": (lambda p: p.unlink(), "no such file", "BENCH_DATA"),
    "text": (lambda p: p.write_text("<html>"), "not a MATLAB v7.3", "Download it again"),
    "empty": (lambda p: p.write_bytes(b""), "not a MATLAB v7.3", "Download it again"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:3000]), "not a MATLAB v7.3", "Download it again"),
    "v5": (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file, Platform: PCWIN".ljust(600)), "v5", "'-v7.3'"),
    "no images": (replace("value/img", None), "/value/img is None", "published"),
    "no masks": (replace("value/gt", None), "/value/gt is None", "published"),
    "no cells": (replace("value/img", np.zeros((3, 1))), "/value/img is", "published"),
    "fewer masks": (cut_cells, "/value/img has 3 entries and /value/gt 2", "Download the file again"),
}  # fmt: skip
ENTRY_DAMAGE = {
    "grey": (point("img", np.zeros((4, 7), np.uint8)), "(4, 7)", "expected an image (3, W, H)"),
    "not transposed": (point("img", np.zeros((7, 4, 3), np.uint8)), "(7, 4, 3)", "(3, W, H)"),
    "float image": (point("img", np.zeros((3, 4, 7))), "float64", "uint8"),
    "mask rank": (point("mask", np.zeros((4, 7, 1), np.uint8)), "(4, 7, 1)", "a mask (W, H)"),
    "mask size": (point("mask", np.zeros((4, 6), np.uint8)), "(4, 6)", "a mask (W, H)"),
    "mask values": (
        point("mask", np.full((4, 7), 255, np.uint8)),
        "the mask holds other values",
        "of 0 and 1",
    ),
    "no cell": (point("cell", np.zeros((1, 1))), "cannot be read", "write that entry anew"),
    "null": (null_reference, "cannot be read", "write that entry anew"),
    "bad chunk": (flip_chunk, "cannot be read", "Download the file again"),
}


@pytest.mark.parametrize(("damage", "names", "remedy"), FILE_DAMAGE.values(), ids=FILE_DAMAGE)
def test_damaged_file_is_an_error_at_once(path, damage, names, remedy):
    damage(path)
    with pytest.raises(BenchError) as error:
        ImageNetSegmentation(path)
    assert str(error.value).startswith(str(path))
    assert names in str(error.value)
    assert remedy in str(error.value)


@pytest.mark.parametrize(("damage", "names", "remedy"), ENTRY_DAMAGE.values(), ids=ENTRY_DAMAGE)
def test_damaged_entry_is_an_error_on_access(path, damage, names, remedy):
    damage(path)
    dataset = ImageNetSegmentation(path)
    with pytest.raises(BenchError) as error:
        dataset[1]
    assert f"{path}: entry 1: " in str(error.value)
    assert names in str(error.value)
    assert remedy in str(error.value)
    assert dataset[2].image.size == (6, 6)


def test_real_masks_cover_the_published_share_of_upright_images(real_data):
    folder = real_data / "imagenet_segmentation"
    dataset = ImageNetSegmentation(folder)
    with (folder / "index.csv").open() as file:
        fractions = [float(row["foreground_fraction"]) for row in csv.DictReader(file)]
    assert len(dataset) == len(fractions)
    for i in range(0, len(dataset), 10):
        sample = dataset[i]
        assert sample.mask.shape == sample.image.size[::-1]
        assert sample.mask.mean() == pytest.approx(fractions[i], abs=1e-12)
