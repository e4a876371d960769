"""What data sets state of themselves, and the digest that tells one from another wherever it lies."""

import json
import os
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from bench.data import (
    Eraser,
    HuggingFaceImages,
    ImageNet,
    ImageNetSegmentation,
    ImageSample,
    Limited,
    Movies,
    TextSample,
)
from bench.store.digests import cached_digest, content_digest
from tests.support.refusals import read_all, refused
from tests.support.tiny_images import WNIDS
from tests.support.tiny_texts import write_movies

HEX = set("0123456789abcdef")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def settle(folder: Path) -> None:
    """Give all files a time long past: files of a moment ago are not remembered."""
    for number, file in enumerate(sorted(folder.rglob("*"))):
        os.utime(file, (10**9 + number, 10**9 + number))


@pytest.fixture
def imagenet(root, tmp_path) -> Path:
    folder = shutil.copytree(root / "imagenet", tmp_path / "data" / "imagenet")
    settle(folder)
    return folder


@pytest.fixture
def mat(root, tmp_path) -> Path:
    file = shutil.copy(root / "imagenet_segmentation" / "gtsegs_ijcv.mat", tmp_path / "gtsegs_ijcv.mat")
    os.utime(file, (10**9, 10**9))
    return file


@pytest.fixture
def parquet(imagenet, tmp_path) -> Path:
    """Three images of which the table holds two and names one."""
    files = ImageNet(imagenet).files
    cells = [{"bytes": file.read_bytes(), "path": file.name} for file in files[:2]]
    cells.insert(1, {"bytes": None, "path": str(files[2])})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(cells, kind), "label": [0, 1, 2]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1)
    return tmp_path / "rows.parquet"


@pytest.fixture
def opens(monkeypatch) -> Counter:
    """How often each file's content is opened."""
    counted, opened = Counter(), Path.open

    def count(self, *args, **kwargs):
        counted[self.name] += 1
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", count)
    return counted


def test_what_the_readers_state(imagenet, mat, parquet, tmp_path, datasets_cache):
    folder = ImageNet(imagenet)
    assert [file.stem for file in folder.files] == folder.ids
    assert folder.one_file_per_sample
    assert ImageNetSegmentation(mat).files == ImageNetSegmentation(mat.parent).files == [mat]
    table = HuggingFaceImages(parquet)
    assert table.files == [parquet, folder.files[2]]
    assert not table.one_file_per_sample
    as_folder = HuggingFaceImages(imagenet)
    assert dict(zip(as_folder.ids, as_folder.files, strict=True)) == dict(
        zip(folder.ids, folder.files, strict=True)
    )
    assert as_folder.one_file_per_sample
    movies = Movies(write_movies(tmp_path / "movies"))
    assert movies.classes == ("NEG", "POS")
    assert movies.labels == [sample.label for sample in movies]
    assert movies.files == [
        tmp_path / "movies" / name for name in ("test.jsonl", "docs/a", "docs/b", "docs/c")
    ]
    for dataset in (folder, table, as_folder, movies, ImageNetSegmentation(mat)):
        assert dataset.version == 1


def test_tables_of_texts_state_their_files(tmp_path, datasets_cache):
    import datasets

    rows = {"review": ["a joy", "a bore"], "label": [1, 0], "evidences": [["joy"], ["bore"]]}
    pq.write_table(pa.table(rows), tmp_path / "test.parquet")
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    from_parquet, saved = Movies(tmp_path / "test.parquet"), Movies(tmp_path / "saved")
    assert from_parquet.files == [tmp_path / "test.parquet"]
    assert saved.files == sorted((tmp_path / "saved").glob("*.arrow"))
    assert from_parquet.labels == saved.labels == [1, 0]


def test_limited_states_the_same_of_fewer_samples(imagenet, tmp_path):
    whole = ImageNet(imagenet)
    part = Limited(whole, [7, 2, -1])
    assert len(part) == 3
    assert part.ids == [whole.ids[i] for i in (7, 2, 8)] == [sample.id for sample in part]
    assert part.labels == [whole.labels[i] for i in (7, 2, 8)] == [sample.label for sample in part]
    assert part.files == [whole.files[i] for i in (7, 2, 8)]
    assert part.classes == whole.classes
    assert part.version == whole.version
    movies = Movies(write_movies(tmp_path / "movies"))
    assert Limited(movies, [0]).files == movies.files  # the split lies in one file
    twice = Limited(part, [2, 0])
    assert twice.ids == [whole.ids[i] for i in (8, 7)]
    assert twice.files == [whole.files[i] for i in (8, 7)]
    with pytest.raises(IndexError):
        Limited(whole, [9])
    loader = DataLoader(pickle.loads(pickle.dumps(part)), num_workers=1, collate_fn=list)
    assert [sample.id for batch in loader for sample in batch] == part.ids


class Made:
    """A data set of one's own, which states its ids alone."""

    def __init__(self, samples):
        self.samples = samples
        self.ids = [sample.id for sample in samples]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def picture(seed=0, size=(4, 6), label=1, mask=None, name="a"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return ImageSample(name, Image.fromarray(pixels), label, mask)


def text(words=("a", "joy"), label=0, rationale=(False, True), query_words=0, name="b"):
    return TextSample(name, list(words), label, np.array(rationale), query_words)


def test_limited_states_nothing_that_the_whole_does_not(opens):
    part = Limited(Made([picture(), text()]), [1])
    assert part.ids == ["b"]
    assert part.files == []
    for name in ("labels", "classes", "version"):
        assert not hasattr(part, name)
    assert content_digest(part) == content_digest(Made([text()])) != content_digest(Made([picture()]))


def test_the_digest_is_the_one_that_is_documented(imagenet):
    import hashlib

    dataset = ImageNet(imagenet)
    content = {
        "ids": dataset.ids,
        "labels": dataset.labels,
        "files": [hashlib.sha256(file.read_bytes()).hexdigest() for file in dataset.files],
    }
    expected = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert content_digest(dataset) == expected


def one_byte(folder):
    file = ImageNet(folder).files[4]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def swap(folder):
    first, second = ImageNet(folder).files[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def swap_names(folder):
    """Content and times move with the inodes; the names stay."""
    first, second = ImageNet(folder).files[:2]
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)


def other_class(folder):
    file = ImageNet(folder).files[0]
    file.rename(folder / "val" / WNIDS[2] / file.name)


def other_label(folder):
    index = {str(place): [wnid] for place, wnid in enumerate(reversed(WNIDS))}
    (folder / "class_index.json").write_text(json.dumps(index))


def other_name(folder):
    file = ImageNet(folder).files[0]
    file.rename(file.with_name("another.JPEG"))


def one_byte_under_the_same_time(folder):
    file = ImageNet(folder).files[4]
    stat = file.stat()
    one_byte(folder)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


CHANGES = [
    one_byte,
    one_byte_under_the_same_time,
    swap,
    swap_names,
    other_class,
    other_label,
    other_name,
    lambda folder: ImageNet(folder).files[0].unlink(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_content_has_another_digest(imagenet, change):
    before = content_digest(ImageNet(imagenet))
    assert cached_digest(ImageNet(imagenet)) == before
    change(imagenet)
    assert cached_digest(ImageNet(imagenet)) is None
    assert content_digest(ImageNet(imagenet)) != before


def test_place_times_names_of_folders_and_other_files_do_not_matter(imagenet, tmp_path):
    before = content_digest(ImageNet(imagenet))
    (imagenet / "README").write_text("read me")
    (imagenet / "val" / WNIDS[0] / "README").write_text("read me")
    assert content_digest(ImageNet(imagenet)) == before
    for file in ImageNet(imagenet).files:
        os.utime(file)
    assert content_digest(ImageNet(imagenet)) == before
    moved = imagenet.rename(tmp_path / "elsewhere")
    assert content_digest(ImageNet(moved)) == before
    assert content_digest(ImageNet(shutil.copytree(moved, tmp_path / "copied"))) == before


def test_moved_tables_and_splits_are_the_same(mat, tmp_path):
    movies = write_movies(tmp_path / "movies")
    before = content_digest(Movies(movies)), content_digest(ImageNetSegmentation(mat))
    (movies / "README").write_text("read me")
    (movies / "val.jsonl").write_text("another split")
    (movies / "docs" / "d").write_text("a document that the split does not name")
    moved = movies.rename(tmp_path / "moved"), mat.rename(tmp_path / "moved.mat")
    assert (content_digest(Movies(moved[0])), content_digest(ImageNetSegmentation(moved[1]))) == before
    assert content_digest(Eraser(moved[0], "test")) == before[0]
    (moved[0] / "docs" / "b").write_text("bad film w1 w2 w3 w4 w5 good plots")
    assert content_digest(Movies(moved[0])) != before[0]


def test_images_of_an_image_folder_count_wherever_it_lies(imagenet, tmp_path, datasets_cache):
    before = content_digest(HuggingFaceImages(imagenet))
    moved = shutil.copytree(imagenet, tmp_path / "copied")
    assert content_digest(HuggingFaceImages(moved)) == before
    one_byte(moved)
    assert content_digest(HuggingFaceImages(moved)) != before


def test_images_that_a_table_only_names_count(parquet):
    before = content_digest(HuggingFaceImages(parquet))
    named = HuggingFaceImages(parquet).files[1]
    named.write_bytes(named.read_bytes() + b"\0")
    assert content_digest(HuggingFaceImages(parquet)) != before


def test_an_image_without_bytes_is_not_looked_for_elsewhere(parquet, imagenet, tmp_path):
    """Empty bytes are no image; a file of that name is not part of the data set's files."""
    cell = {"bytes": b"", "path": str(ImageNet(imagenet).files[0])}
    pq.write_table(pa.table({"image": [cell], "label": [0]}), tmp_path / "empty.parquet")
    with refused("row 0 has no image"):
        read_all(HuggingFaceImages(tmp_path / "empty.parquet"))


MASK = np.zeros((4, 6), dtype=bool)
DIFFERENT = {
    "pixels": [picture(0), picture(1)],
    "size": [picture(0, (4, 6)), picture(0, (6, 4))],
    "label": [picture(label=1), picture(label=None)],
    "mask": [picture(mask=MASK), picture(mask=~MASK), picture()],
    "mode": [picture(), ImageSample("a", picture().image.convert("L"), 1, None)],
    "tensor": [ImageSample("a", fill(3, 4, 6), 1, None) for fill in (torch.zeros, torch.ones)],
    "words": [text(("a", "joy")), text(("ajoy", ""))],
    "rationale": [text(), text(rationale=(True, True))],
    "query": [text(), text(query_words=1)],
    "id": [text(), text(name="c")],
}  # fmt: skip


@pytest.mark.parametrize("samples", DIFFERENT.values(), ids=DIFFERENT)
def test_data_sets_without_files_are_told_apart_by_their_samples(samples, cache):
    digests = [content_digest(Made([sample])) for sample in samples]
    assert len(set(digests)) == len(samples)
    assert digests == [content_digest(Made([sample])) for sample in samples]
    assert cached_digest(Made(samples[:1])) is None
    assert not cache.exists()


def test_samples_of_an_unknown_kind_need_files():
    class Sound:
        id, label = "a", 0

    with refused("sample a has neither image nor words.*state its files"):
        content_digest(Made([Sound()]))


def test_a_warm_cache_reads_no_content(imagenet, opens):
    told = []
    dataset = ImageNet(imagenet)
    names = {file.name for file in dataset.files}
    assert cached_digest(dataset) is None
    assert not names & set(opens)
    before = content_digest(dataset, lambda *state: told.append(state))
    assert told == [(done, 9) for done in range(1, 10)]
    assert {name: opens[name] for name in names} == dict.fromkeys(names, 1)
    opens.clear()
    told.clear()
    assert cached_digest(dataset) == content_digest(dataset, lambda *state: told.append(state)) == before
    assert not names & set(opens)
    assert not told


def test_progress_without_files():
    told = []
    content_digest(Made([picture(), text()]), lambda *state: told.append(state))
    assert told == [(1, 2), (2, 2)]


def test_files_of_a_moment_ago_are_not_remembered(imagenet):
    os.utime(ImageNet(imagenet).files[3])
    assert content_digest(ImageNet(imagenet))
    assert cached_digest(ImageNet(imagenet)) is None


def test_files_that_change_while_they_are_read_are_not_remembered(imagenet):
    dataset = ImageNet(imagenet)

    def change(done, total):
        if done == total:
            dataset.files[0].write_bytes(b"other")
            os.utime(dataset.files[0], (10**9, 10**9))

    content_digest(dataset, change)
    assert cached_digest(dataset) is None


def damaged(content: bytes) -> bytes:
    return (b"0" if content[:1] != b"0" else b"1") + content[1:]


@pytest.mark.parametrize("damage", [damaged, lambda content: b"", lambda content: b"\xff" * 99])
def test_a_damaged_cache_is_as_good_as_empty(imagenet, cache, damage):
    before = content_digest(ImageNet(imagenet))
    (entry,) = (cache / "digests").iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    assert cached_digest(ImageNet(imagenet)) is None
    assert content_digest(ImageNet(imagenet)) == before
    assert cached_digest(ImageNet(imagenet)) == before


def test_an_entry_of_another_data_set_is_not_believed(imagenet, cache):
    content_digest(ImageNet(imagenet))
    (entry,) = (cache / "digests").iterdir()
    content = entry.read_bytes()
    one_byte(imagenet)
    settle(imagenet)
    after = content_digest(ImageNet(imagenet))
    (other,) = set((cache / "digests").iterdir()) - {entry}
    other.write_bytes(content)
    assert cached_digest(ImageNet(imagenet)) is None
    assert content_digest(ImageNet(imagenet)) == after


def test_a_cache_that_cannot_be_written_fails_no_run(imagenet, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "cache"))
    digest = content_digest(ImageNet(imagenet))
    assert set(digest) <= HEX
    assert len(digest) == 64
    assert cached_digest(ImageNet(imagenet)) is None


def test_where_the_cache_lies(imagenet, tmp_path, monkeypatch):
    monkeypatch.delenv("BENCH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    content_digest(ImageNet(imagenet))
    assert list((tmp_path / "home/.cache/transformer-explanation-bench/digests").iterdir())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    content_digest(ImageNet(imagenet))
    assert list((tmp_path / "xdg/transformer-explanation-bench/digests").iterdir())


def test_a_missing_file_is_named(imagenet):
    dataset = ImageNet(imagenet)
    dataset.files[0].unlink()
    with refused(rf"{dataset.files[0].name}: cannot be read \(No such file"):
        content_digest(dataset)
    assert cached_digest(dataset) is None
