"""ImageNet from folders and from Hugging Face `datasets`, on small files in the real formats."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from bench.data import HuggingFaceImages, ImageNet
from bench.data.imagenet import read_classes
from bench.errors import BenchError

TENCH, WHISTLE, TISSUE = "n01440764", "n04579432", "n15075141"  # labels 0, 902 and 999 of 1000
FILES = {3: TENCH, 1: TISSUE, 2: WHISTLE, 4: TENCH}  # by the number in the file's name


def name_of(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}"


def save_image(path, seed: int, mode: str = "RGB") -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def root(tmp_path):
    for number, wnid in FILES.items():
        save_image(tmp_path / "imagenet" / "val" / wnid / f"{name_of(number)}.JPEG", number)
    return tmp_path / "imagenet"


@pytest.fixture
def parquet(root, tmp_path):
    """As the hub stores it: bytes in the rows, the wnid in the name; several row groups and files."""
    import datasets

    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=[f"class {i}" for i in range(1000)])
    )
    ranks = {TENCH: 0, WHISTLE: 902, TISSUE: 999}
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    for part, numbers in enumerate([(3, 1, 2), (4,)]):
        rows = {"image": [], "label": [ranks[FILES[n]] for n in numbers]}
        for n in numbers:
            content = (root / "val" / FILES[n] / f"{name_of(n)}.JPEG").read_bytes()
            rows["image"].append({"bytes": content, "path": f"{name_of(n)}_{FILES[n]}.JPEG"})
        table = pa.table(rows, schema=features.arrow_schema)
        pq.write_table(table, folder / f"validation-0000{part}-of-00002.parquet", row_group_size=2)
    return folder.parent


def contents(dataset) -> dict[str, tuple[int, bytes]]:
    return {sample.id: (sample.label, sample.image.tobytes()) for sample in dataset}


def test_labels_rank_the_wnid_among_all_classes_and_samples_follow_file_names(root):
    dataset = ImageNet(root)
    assert dataset.ids == [name_of(n) for n in (1, 2, 3, 4)]
    assert [dataset[i].label for i in range(len(dataset))] == dataset.labels == [999, 902, 0, 0]
    assert len(dataset.classes) == 1000
    assert dataset.classes == sorted(dataset.classes)
    assert dataset[-1].id == name_of(4)
    assert dataset[0].mask is None


def test_class_index_of_the_folder_replaces_the_thousand_classes(root):
    (root / "class_index.json").write_text(
        json.dumps({"0": [TISSUE, "tissue"], "1": [TENCH], "2": [WHISTLE]})
    )
    assert ImageNet(root).labels == [0, 2, 1, 1]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_jpeg_becomes_rgb_at_its_stored_size(root, mode):
    save_image(root / "val" / TENCH / f"{name_of(0)}.jpg", 5, mode)
    image = ImageNet(root)[0].image
    assert (image.mode, image.size) == ("RGB", (30, 20))


def test_ids_carry_the_wnid_where_file_names_repeat(root):
    save_image(root / "val" / TISSUE / f"{name_of(3)}.JPEG", 9)
    ids = ImageNet(root).ids
    assert f"{TENCH}/{name_of(3)}.JPEG" in ids
    assert f"{TISSUE}/{name_of(3)}.JPEG" in ids
    assert len(set(ids)) == 5


def test_huggingface_parquet_is_the_same_and_is_not_copied(root, parquet, datasets_cache):
    expected = contents(ImageNet(root))
    assert contents(HuggingFaceImages(parquet, "validation")) == expected
    single = HuggingFaceImages(parquet / "data" / "validation-00000-of-00002.parquet", "validation")
    assert single.ids == [name_of(n) for n in (3, 1, 2)]
    assert contents(single).items() <= expected.items()
    written = [file for file in datasets_cache.rglob("*") if file.is_file() and file.stat().st_size]
    assert written == []


@pytest.mark.parametrize("wnids", [{TENCH, TISSUE}, {TISSUE}], ids=["two classes", "one class"])
def test_huggingface_imagefolder_is_the_same_with_few_classes(root, wnids, datasets_cache):
    for number, wnid in FILES.items():
        if wnid not in wnids:
            (root / "val" / wnid / f"{name_of(number)}.JPEG").unlink()
    for wnid in set(FILES.values()) - wnids:
        (root / "val" / wnid).rmdir()
    assert contents(HuggingFaceImages(root, "validation")) == contents(ImageNet(root))


def test_huggingface_saved_folder_and_integer_labels(root, tmp_path, parquet, datasets_cache):
    import datasets

    rows = datasets.load_dataset("parquet", data_dir=str(parquet), split="validation")
    rows = rows.cast_column("label", datasets.Value("int64"))
    rows.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict(validation=rows).save_to_disk(tmp_path / "saved_splits")
    expected = contents(ImageNet(root))
    assert contents(HuggingFaceImages(tmp_path / "saved", "validation")) == expected
    assert contents(HuggingFaceImages(tmp_path / "saved_splits", "validation")) == expected


def test_huggingface_hub_name_downloads_only_the_files_asked_for(root, parquet, monkeypatch, datasets_cache):
    import datasets

    def hub(path, split, data_files, verification_mode):
        assert (path, split, data_files) == ("someone/imagenet", "validation", {split: "data/validation-*"})
        return datasets.Dataset.from_parquet([str(file) for file in sorted(parquet.rglob("*.parquet"))])

    monkeypatch.setattr(datasets, "load_dataset", hub)
    dataset = HuggingFaceImages("someone/imagenet", "validation", data_files="data/validation-*")
    assert contents(dataset) == contents(ImageNet(root))


def test_huggingface_rows_without_names_are_numbered(parquet, tmp_path):
    file = tmp_path / "nameless.parquet"
    table = pq.read_table(parquet / "data" / "validation-00000-of-00002.parquet")
    images = [{**image, "path": None} for image in table["image"].to_pylist()]
    pq.write_table(table.set_column(0, table.field(0), pa.array(images, table.field(0).type)), file)
    assert HuggingFaceImages(file, "dev").ids == [f"dev_{row:08d}" for row in range(3)]


@pytest.mark.parametrize("kind", ["folder", "parquet", "imagefolder"])
def test_works_in_loader_processes_and_pickles(kind, root, parquet, datasets_cache):
    dataset = {
        "folder": lambda: ImageNet(root),
        "parquet": lambda: HuggingFaceImages(parquet),
        "imagefolder": lambda: HuggingFaceImages(root),
    }[kind]()
    expected = contents(dataset)
    loader = DataLoader(dataset, batch_size=3, num_workers=2, collate_fn=list)
    assert contents(sample for batch in loader for sample in batch) == expected
    assert contents(pickle.loads(pickle.dumps(dataset))) == expected


def truncate(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def first(root):
    return root / "val" / TISSUE / f"{name_of(1)}.JPEG"


def clear(folder) -> None:
    for file in folder.iterdir():
        file.unlink()


FOLDER_DAMAGE = {
    "missing root": (
        lambda root: root.rename(root.parent / "elsewhere"),
        "val: no such folder",
        "BENCH_DATA",
    ),
    "no class": (lambda root: (root / "val" / "tench").mkdir(), "'tench' is no class", "rename it"),
    "unknown wnid": (lambda root: (root / "val" / "n00000001").mkdir(), "n00000001", "class_index.json"),
    "empty class": (lambda root: clear(root / "val" / TENCH), TENCH, "Fill it or remove it"),
    "flat": (
        lambda root: first(root).rename(root / "val" / "a.JPEG"),
        "a.JPEG: an image outside",
        "one folder per class",
    ),
    "broken index": (lambda root: (root / "class_index.json").write_text("{"), "class_index.json", "Mend it"),
    "gap in index": (
        lambda root: (root / "class_index.json").write_text('{"1": ["n01440764"]}'),
        "class_index.json",
        "Mend it",
    ),
}
FILE_DAMAGE = {
    "truncated": (truncate, f"{name_of(1)}.JPEG: cannot be decoded", "Copy the file again"),
    "no image": (lambda file: file.write_text("<html>"), f"{name_of(1)}.JPEG", "Copy the file again"),
    "empty": (lambda file: file.write_bytes(b""), f"{name_of(1)}.JPEG", "Copy the file again"),
    "vanished": (lambda file: file.unlink(), f"{name_of(1)}.JPEG", "Copy the file again"),
}


@pytest.mark.parametrize(("damage", "names", "remedy"), FOLDER_DAMAGE.values(), ids=FOLDER_DAMAGE)
def test_damaged_folder_is_an_error_at_once(root, damage, names, remedy):
    damage(root)
    with pytest.raises(BenchError) as error:
        ImageNet(root)
    assert names in str(error.value)
    assert remedy in str(error.value)


def test_empty_split_is_an_error(root):
    (root / "train").mkdir()
    with pytest.raises(BenchError, match=r"train: empty; expected .* Unpack"):
        ImageNet(root, "train")


@pytest.mark.parametrize(("damage", "names", "remedy"), FILE_DAMAGE.values(), ids=FILE_DAMAGE)
def test_damaged_file_is_an_error_on_access(root, damage, names, remedy):
    dataset = ImageNet(root)
    damage(first(root))
    with pytest.raises(BenchError) as error:
        dataset[0]
    assert names in str(error.value)
    assert remedy in str(error.value)
    assert dataset[1].label == 902


def write(path, rows: dict) -> None:
    pq.write_table(pa.table(rows), path)


IMAGE = {"bytes": b"\xff\xd8 cut", "path": "cut.JPEG"}
PARQUET_DAMAGE = {
    "no parquet": (lambda f: f.write_text("PAR1 is not enough"), "rows.parquet", "Expected a Parquet file"),
    "no column": (lambda f: write(f, {"picture": [IMAGE], "label": [0]}), "no column 'image'", "Rename"),
    "no rows": (lambda f: write(f, {"image": pa.array([]), "label": pa.array([])}), "empty", "another split"),
    "no struct": (lambda f: write(f, {"image": [b"x"], "label": [0]}), "column 'image'", "datasets.Image()"),
    "no label": (lambda f: write(f, {"image": [IMAGE], "label": [-1]}), "label -1", "Choose a split"),
    "text label": (lambda f: write(f, {"image": [IMAGE], "label": ["cat"]}), "label 'cat'", "Choose a split"),
    "cut image": (lambda f: write(f, {"image": [IMAGE], "label": [0]}), "row 0, cut.JPEG", "Copy the file"),
    "no image": (lambda f: write(f, {"image": [None, IMAGE], "label": [0, 0]}), "no image", "Download"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "names", "remedy"), PARQUET_DAMAGE.values(), ids=PARQUET_DAMAGE)
def test_damaged_parquet_is_an_error(tmp_path, damage, names, remedy):
    file = tmp_path / "rows.parquet"
    damage(file)
    with pytest.raises(BenchError) as error:
        HuggingFaceImages(file)[0]
    assert "rows.parquet" in str(error.value)
    assert names in str(error.value)
    assert remedy in str(error.value)


def test_damage_inside_a_parquet_file_is_an_error_on_access(parquet):
    file = parquet / "data" / "validation-00000-of-00002.parquet"
    dataset = HuggingFaceImages(file)
    truncate(file)
    with pytest.raises(BenchError, match=r"validation-00000-of-00002.parquet: row group 0 .* Copy it again"):
        dataset[0]


def test_huggingface_classes_must_be_classes(tmp_path, datasets_cache):
    for animal in ("cat", "dog"):
        save_image(tmp_path / "pets" / "val" / animal / f"{animal}.png", 1)
    with pytest.raises(BenchError, match=r"'cat' is no class; expected .*wnids.* Rename"):
        HuggingFaceImages(tmp_path / "pets")


def test_huggingface_split_that_is_missing(root, parquet, datasets_cache):
    import datasets

    with pytest.raises(BenchError, match="no split 'val'; it has validation"):
        HuggingFaceImages(parquet, "val")
    with pytest.raises(BenchError, match="'validation'"):
        HuggingFaceImages(root, "val")
    rows = datasets.load_dataset("parquet", data_dir=str(parquet), split="validation")
    datasets.DatasetDict(test=rows).save_to_disk(root.parent / "saved")
    with pytest.raises(BenchError, match="saved: no split 'val'; it has test"):
        HuggingFaceImages(root.parent / "saved", "val")


@pytest.mark.parametrize("path", ["/nowhere/imagenet", "nowhere", "some/rows.parquet", "conf/imagenet"])
def test_huggingface_local_path_that_is_missing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()  # so conf/imagenet is a path and not the name of a data set
    with pytest.raises(BenchError, match=f"{path}: no such file or folder.*BENCH_DATA"):
        HuggingFaceImages(path)


def test_huggingface_hub_that_cannot_be_reached(monkeypatch, datasets_cache):
    import datasets
    import huggingface_hub

    with pytest.raises(BenchError, match=r"someone/imagenet \(split validation\).*Hub"):
        HuggingFaceImages("someone/imagenet")  # offline, and not in the cache
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    huggingface_hub.close_session()
    with pytest.raises(BenchError, match=r"127\.0\.0\.1:9.*cannot be.*hf download.*HF_HUB_OFFLINE=1"):
        HuggingFaceImages("someone/imagenet")
    huggingface_hub.close_session()


def test_real_validation_images(real_data):
    dataset = ImageNet(real_data / "imagenet")
    assert dataset.ids == sorted(file.stem for file in (real_data / "imagenet" / "val").glob("*/*.JPEG"))
    shipped = read_classes(real_data)  # no class_index.json at the root
    assert shipped == dataset.classes
    for position in range(0, len(dataset), 40):
        sample = dataset[position]
        assert sample.image.mode == "RGB"
        assert (real_data / "imagenet" / "val" / shipped[sample.label] / f"{sample.id}.JPEG").is_file()


def test_real_validation_images_as_imagefolder(real_data, datasets_cache):
    folder, table = ImageNet(real_data / "imagenet"), HuggingFaceImages(real_data / "imagenet")
    assert dict(zip(table.ids, table.labels, strict=True)) == dict(
        zip(folder.ids, folder.labels, strict=True)
    )
    sample = table[0]
    assert sample.image.tobytes() == folder[folder.ids.index(sample.id)].image.tobytes()
