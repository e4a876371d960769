import hashlib
import json
import os
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

import bench  # noqa: F401  (before timm: it mends torchvision)
from bench.embedded import CHECKPOINTS, VIT, images, make, reviews
from bench.errors import BenchError

pytestmark = pytest.mark.numerical

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A small data root: a few of everything, in the real layout."""
    root = tmp_path_factory.mktemp("data") / "embedded"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(make.CLASSIFICATION, "count", 20)
        patch.setitem(make.SEGMENTATION, "count", 6)
        patch.setattr(make, "REVIEWS", {split: {"seed": 1, "count": 4} for split in ("train", "val", "test")})
        return make.ensure(root)


def checksum(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


# Images


def test_a_picture_depends_only_on_its_seed_and_index():
    few, many = list(images.heldout(5, 3)), list(images.heldout(5, 8))
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(a.mask, b.mask)
    assert not np.array_equal(few[0].pixels, next(images.heldout(6, 1)).pixels)


def test_mask_is_exactly_where_the_digit_is_more_than_half_opaque(monkeypatch):
    """On black, a pixel is the digit's colour times its opacity, so the mask can be read off the picture."""
    photographed = list(images.heldout(5, 20))
    monkeypatch.setattr(images, "DIMMED", (0.0, 0.0))
    alone = 0
    for picture, on_black in zip(photographed, images.heldout(5, 20), strict=True):
        assert np.array_equal(picture.mask, on_black.mask)
        light = on_black.pixels.sum(2, dtype=float)
        assert (light[picture.mask] >= 0.49 * light[picture.mask].max()).all()
        if picture.other_label is None:
            opacity = light / light.max()
            clear = np.abs(opacity - 0.5) > 0.01  # a colour is rounded to whole grey levels
            assert np.array_equal(picture.mask[clear], (opacity > 0.5)[clear])
            alone += 1
    assert alone >= 5


def test_the_second_digit_is_smaller_of_another_class_and_apart():
    drawn = list(images.heldout(5, 60))
    pairs = [p for p in drawn if p.other_label is not None]
    assert 15 < len(pairs) < 45
    for picture in pairs:
        assert picture.other_label != picture.label
        assert not (picture.mask & picture.other_mask).any()
        assert 0 < _height(picture.other_mask) < 0.65 * _height(picture.mask)
    for picture in drawn:
        assert 0.03 < picture.mask.mean() < 0.3
        assert picture.mask.shape == picture.pixels.shape[:2]
    assert {p.label for p in drawn} == set(range(10))


def _height(mask: np.ndarray) -> int:
    rows = np.flatnonzero(mask.any(1))
    return int(rows[-1] - rows[0] + 1)


def test_heldout_digits_and_photographs_are_not_those_of_training():
    for train, heldout in zip(images._digits("train"), images._digits("heldout"), strict=True):
        assert len(heldout) >= 30
        assert not {d.tobytes() for d in train} & {d.tobytes() for d in heldout}
    whole = load_sample_images().images
    for train, heldout, photograph in zip(
        images._strips("train"), images._strips("heldout"), whole, strict=True
    ):
        assert np.array_equal(np.concatenate([train, heldout], axis=1), photograph)


def test_imagenet_folder_has_the_real_layout(root):
    classes = json.loads((root / "imagenet" / "class_index.json").read_text())
    assert classes["3"] == ["n00000003", "three"]
    assert list(classes) == [str(digit) for digit in range(10)]
    files = sorted((root / "imagenet" / "val").glob("*/*.JPEG"))
    assert len(files) == 20
    for number, picture in enumerate(images.heldout(make.CLASSIFICATION["seed"], 20), start=1):
        wnid = classes[str(picture.label)][0]
        path = root / "imagenet" / "val" / wnid / f"embedded_val_{number:08d}.JPEG"
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            difference = np.asarray(image, float) - picture.pixels
        assert np.abs(difference).mean() < 6


def test_mat_file_has_the_real_layout(root):
    path = root / "imagenet_segmentation" / "gtsegs_ijcv.mat"
    assert path.read_bytes()[:19] == b"MATLAB 7.3 MAT-file"
    with h5py.File(path) as file:
        assert file["value/img"].shape == file["value/gt"].shape == (6, 1)
        sizes = set()
        for index, picture in enumerate(images.heldout(make.SEGMENTATION["seed"], 6)):
            pixels = file[file["value/img"][index, 0]]
            cell = file[file["value/gt"][index, 0]]
            assert cell.shape == (1, 1)
            mask = file[cell[0, 0]]
            height, width = picture.mask.shape
            assert (pixels.shape, pixels.dtype) == ((3, width, height), np.uint8)
            assert (mask.shape, mask.dtype) == ((width, height), np.uint8)
            assert np.array_equal(pixels[...].transpose(2, 1, 0), picture.pixels)
            assert np.array_equal(mask[...].T, picture.mask)
            sizes.add((width, height))
    assert any(width != height for width, height in sizes)


# Reviews


def test_a_review_depends_only_on_its_seed_and_index():
    assert list(reviews.reviews(5, 3)) == list(islice(reviews.reviews(5, 50), 3))
    assert next(reviews.reviews(5, 1)) != next(reviews.reviews(6, 1))


def test_label_is_the_clear_majority():
    for review in reviews.reviews(5, 200):
        votes = sum(1 if opinion.positive else -1 for opinion in review.opinions)
        assert abs(votes) >= 2
        assert review.label == (votes > 0)
        assert 60 <= len(review.words) <= 300
        assert len(review.evidence) > len(review.opinions) / 2


def test_every_opinion_says_what_it_is_marked_as():
    """Polarity read back from the words alone: praise or blame, turned around by a negation."""
    praise, blame = {*reviews.PRAISE, *reviews.LIKED}, {*reviews.BLAME, *reviews.DISLIKED}
    denials = {"not", "never", "hardly", "far", "but", "nobody", "nothing", "no"}
    for review in reviews.reviews(5, 200):
        words = review.words
        outside = list(words)
        for opinion in review.opinions:
            said = words[opinion.start : opinion.end]
            loaded = [word for word in said if word in praise | blame]
            assert len(loaded) == 1, said
            assert (loaded[0] in praise) != bool(denials & set(said)) if opinion.positive else True
            assert (loaded[0] in blame) != bool(denials & set(said)) if not opinion.positive else True
            outside[opinion.start : opinion.end] = ["<opinion>"] * len(said)
        assert not {*reviews.LIKED, *reviews.DISLIKED} & set(outside)
        assert sum(o.end - o.start for o in review.opinions) == outside.count("<opinion>")


def test_no_single_word_decides():
    drawn = list(reviews.reviews(5, 1000))
    labels = np.array([review.label for review in drawn], bool)
    texts = [set(review.words) for review in drawn]
    vocabulary = sorted(set.union(*texts))
    present = np.array([[word in text for word in vocabulary] for text in texts])
    agreement = (present == labels[:, None]).mean(0)
    best = np.maximum(agreement, 1 - agreement).max()
    assert 0.5 < best < 0.6


def test_movies_folder_has_the_layout_of_eraser(root):
    folder = root / "movies"
    assert sorted(path.name for path in folder.iterdir()) == [
        "docs",
        "test.jsonl",
        "train.jsonl",
        "val.jsonl",
    ]
    for line, review in zip((folder / "test.jsonl").open(), reviews.reviews(1, 4), strict=True):
        annotation = json.loads(line)
        text = (folder / "docs" / annotation["annotation_id"]).read_text()
        assert [sentence.split(" ") for sentence in text.split("\n")] == review.sentences
        assert annotation["classification"] == ("POS" if review.label else "NEG")
        (group,) = annotation["evidences"]
        spans = [(evidence["start_token"], evidence["end_token"]) for evidence in group]
        assert spans == [(o.start, o.end) for o in review.opinions if o.positive == review.label]
        for evidence in group:
            said = text.split()[evidence["start_token"] : evidence["end_token"]]
            assert evidence["text"] == " ".join(said)
            assert evidence["docid"] == annotation["annotation_id"]


# The data root


def test_making_again_gives_the_same_bytes(root, tmp_path, monkeypatch):
    monkeypatch.setitem(make.CLASSIFICATION, "count", 20)
    monkeypatch.setitem(make.SEGMENTATION, "count", 6)
    monkeypatch.setattr(
        make, "REVIEWS", {split: {"seed": 1, "count": 4} for split in ("train", "val", "test")}
    )
    assert checksum(make.ensure(tmp_path / "again")) == checksum(root)
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_complete_data_is_left_alone(root, monkeypatch):
    monkeypatch.setattr(make, "_write", lambda _: pytest.fail("written again"))
    assert make.ensure(root) == root


def test_data_of_another_version_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "_write", _write_marker_only)
    old = tmp_path / "embedded"
    old.mkdir()
    (old / make.MARKER).write_text('{"version": 0}')
    (old / "stale").touch()
    make.ensure(old)
    assert os.listdir(tmp_path) == ["embedded"]
    assert os.listdir(old) == [make.MARKER]


def test_another_job_of_a_sweep_may_be_faster(tmp_path, monkeypatch):
    root = tmp_path / "embedded"

    def write_while_another_does(made: Path) -> None:
        for folder in (made, root):
            _write_marker_only(folder)

    monkeypatch.setattr(make, "_write", write_while_another_does)
    assert make.ensure(root) == root
    assert os.listdir(tmp_path) == ["embedded"]


def test_a_run_that_dies_leaves_nothing(tmp_path, monkeypatch):
    def write_half(root: Path) -> None:
        root.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(make, "_write", write_half)
    with pytest.raises(KeyboardInterrupt):
        make.ensure(tmp_path / "embedded")
    assert os.listdir(tmp_path) == []


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(BenchError, match="not embedded data"):
        make.ensure(tmp_path)
    assert os.listdir(tmp_path) == ["photo.jpg"]


def _write_marker_only(root: Path) -> None:
    root.mkdir()
    (root / make.MARKER).write_text(json.dumps({"version": make.VERSION}))


# The checkpoints


def test_checkpoints_are_small():
    files = [path for path in CHECKPOINTS.rglob("*") if path.is_file()]
    assert {"vit_digits.safetensors", "model.safetensors", "training.json"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) < 6 * MEGABYTE


def test_vit_is_an_unmodified_timm_model_and_knows_heldout_digits():
    import timm
    from timm.models.vision_transformer import VisionTransformer

    model = timm.create_model(**VIT).eval()
    assert type(model) is VisionTransformer
    model.load_state_dict(load_file(CHECKPOINTS / "vit_digits.safetensors"), strict=True)
    drawn = list(images.heldout(**make.CLASSIFICATION))
    squashed = [Image.fromarray(p.pixels).resize((224, 224), Image.Resampling.BILINEAR) for p in drawn]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in squashed])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        predicted = model(pixels.float() / 127.5 - 1).argmax(1).tolist()
    assert np.mean([p == picture.label for p, picture in zip(predicted, drawn, strict=True)]) >= 0.9


def test_bert_is_an_unmodified_transformers_model_and_knows_heldout_reviews():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertForSequenceClassification

    folder = CHECKPOINTS / "bert_reviews"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert type(model) is BertForSequenceClassification
    assert model.config.id2label == {0: "NEG", 1: "POS"}
    assert len(tokenizer) == model.config.vocab_size == len((folder / "vocab.txt").read_text().split())
    assert all(p.dtype == torch.float32 for p in model.parameters())

    drawn = list(reviews.reviews(**make.REVIEWS["test"]))
    encoded = tokenizer([r.words for r in drawn], is_split_into_words=True, padding=True, return_tensors="pt")
    assert tokenizer.unk_token_id not in encoded["input_ids"]
    assert len(encoded.word_ids(0)) > len(set(encoded.word_ids(0))) + 10  # many words are several pieces
    with torch.inference_mode():
        predicted = model(**encoded).logits.argmax(1).tolist()
    assert np.mean([p == r.label for p, r in zip(predicted, drawn, strict=True)]) >= 0.9
