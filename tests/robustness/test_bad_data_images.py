"""However an ImageNet folder is damaged, a run ends in one line that names the file."""

import json
import shutil

import pytest

from bench.data import ImageNet
from bench.runner.cell import run
from tests.support.commands import ended
from tests.support.damage import JPEG, PNG, encoded, flipped, jpeg_bomb, png_bomb
from tests.support.refusals import read_all, refused
from tests.support.stored_rows import kept
from tests.support.tiny_images import WNIDS

FIRST = f"{WNIDS[0]}/{WNIDS[0]}_0.JPEG"


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
CONTENT = {
    "JPEG: one byte": JPEG[:1],
    "JPEG: start marker alone": JPEG[:2],
    "JPEG: cut in its tables": JPEG[:100],
    "JPEG: cut after its headers": JPEG[: JPEG.index(b"\xff\xda") + 4],
    "JPEG: cut near the end": JPEG[:-50],
    "JPEG: zeros for its headers": bytes(300) + JPEG[300:],
    "JPEG: claims 65,000 × 65,000 pixels": jpeg_bomb(),
    "PNG: cut in half": PNG[: len(PNG) // 2],
    "PNG: header damaged": flipped(PNG, 20),
    "PNG: pixels damaged": flipped(PNG, len(PNG) // 2),
    "PNG: claims 60,000 × 60,000 pixels": png_bomb(),
    "zeros": bytes(5000),
    "a GIF": encoded("GIF"),
    "a TIFF": encoded("TIFF"),
    "PostScript": POSTSCRIPT,
}


def put(name: str, content: bytes):
    def damage(root):
        (root / "val" / name).write_bytes(content)

    return damage


def folder_for_an_image(root):
    (root / "val" / FIRST).unlink()
    (root / "val" / FIRST).mkdir()


def dangling_link(root):
    (root / "val" / FIRST).unlink()
    (root / "val" / FIRST).symlink_to(root / "gone.JPEG")


def file_for_the_split(root):
    shutil.rmtree(root / "val")
    (root / "val").write_text("nothing")


def hide_classes(root):
    for wnid in WNIDS:
        (root / "val" / wnid).rename(root / "val" / f".{wnid}")


def no_images_in_a_class(root):
    for file in (root / "val" / WNIDS[1]).iterdir():
        file.rename(file.with_suffix(".txt"))


IMAGE = {name: (put(FIRST, content), rf"{FIRST}: cannot be decoded") for name, content in CONTENT.items()}
IMAGE["a folder for an image"] = (folder_for_an_image, rf"{FIRST}: cannot be decoded")
IMAGE["a link to nothing"] = (dangling_link, rf"{FIRST}: cannot be decoded")
FOLDER = {
    "split is a file": (file_for_the_split, r"imagenet/val: no such folder.*BENCH_DATA"),
    "split is missing": (lambda root: (root / "val").rename(root / "test"), r"val: no such folder"),
    "no class folder": (hide_classes, r"imagenet/val: empty"),
    "no image in a class": (no_images_in_a_class, rf"{WNIDS[1]}: empty class folder"),
    "image beside the classes": (put("stray.JPEG", JPEG), r"stray\.JPEG: an image outside a class folder"),
}


def index_of(**classes) -> bytes:
    return json.dumps({key.strip("_"): value for key, value in classes.items()}).encode()


CLASS_INDEX = {
    "empty file": b"",
    "empty list": b"[]",
    "no classes": b"{}",
    "null": b"null",
    "number": b"3",
    "text": b'"n00000001"',
    "cut": index_of(_0=["n00000001"])[:-4],
    "not UTF-8": '{"0": ["é"]}'.encode("latin-1"),
    "nested without end": b'{"0": ' + b"[" * 100_000,
    "class without names": index_of(_0=[], _1=["n00000002"]),
    "class is text": index_of(_0="n00000001", _1="n00000002", _2="n00000003"),
    "class is a number": index_of(_0=[1], _1=[2], _2=[3]),
    "class occurs twice": index_of(_0=[WNIDS[0]], _1=[WNIDS[1]], _2=[WNIDS[2]], _3=[WNIDS[0]]),
    "labels from 1": index_of(_1=[WNIDS[0]], _2=[WNIDS[1]], _3=[WNIDS[2]]),
}
INDEX = {
    f"class_index.json: {name}": (
        put("../class_index.json", content),
        r"class_index\.json: expected .* Mend it",
    )
    for name, content in CLASS_INDEX.items()
}
INDEX["class_index.json: fewer classes"] = (
    put("../class_index.json", index_of(_0=[WNIDS[0]], _1=[WNIDS[1]])),
    rf"'{WNIDS[2]}' is no class",
)
DAMAGE = IMAGE | FOLDER | INDEX


@pytest.fixture
def imagenet(root, tmp_path):
    return shutil.copytree(root / "imagenet", tmp_path / "imagenet")


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_folder(imagenet, damage, expected):
    damage(imagenet)
    with refused(expected):
        read_all(ImageNet(imagenet))


def test_other_classes_than_the_models(configure, imagenet, tmp_path):
    more = index_of(_0=[WNIDS[0]], _1=[WNIDS[1]], _2=[WNIDS[2]], _3=["n00000004"])
    (imagenet / "class_index.json").write_bytes(more)
    with refused("model: it has 3 classes, but the data set has 4"):
        run(configure("perturbation", f"dataset.path={imagenet}"))
    assert not kept(tmp_path / "results")


def test_the_command_line_names_a_damaged_image(root, imagenet, tmp_path, monkeypatch, capsys):
    put(FIRST, png_bomb())(imagenet)
    given = ("model=embedded/image", "method=rollout", "dataset=imagenet", f"dataset.path={imagenet}")
    code, said = ended(monkeypatch, capsys, *given, f"paths.results={tmp_path / 'results'}")
    assert code == 2
    assert f"{FIRST}: cannot be decoded" in said
