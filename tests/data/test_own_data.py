"""Data of one's own by YAML: the examples of the page Own data, and what is refused."""

import json
import pickle
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench.catalogue import PROJECT
from bench.config import build, configuration
from bench.data import ImageFolder, ImageTable, TextFile, TextTable
from tests.support.refusals import refused

PAGE = (PROJECT / "docs" / "own_data.md").read_text()
IMAGES = ("cat/1", "dog/1", "dog/2")
SIZE = (32, 30)  # width, height


def block(marker: str) -> str:
    """The block of code of the page that has this in it."""
    (found,) = [text for text in re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL) if marker in text]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the files that the page shows."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(IMAGES):
        pixels = np.full((SIZE[1], SIZE[0], 3), 40 * place, dtype=np.uint8)
        mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
        mask[place : place + 5, 2:7] = 1
        for file, array in ((f"pets/{name}.jpg", pixels), (f"masks/{name}.png", mask)):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(tmp_path / file)
    (tmp_path / "boxes.csv").write_text(block("image,x0,y0,x1,y1\ncat"))
    (tmp_path / "reviews.jsonl").write_text(block('"mood": "cheerful"'))
    jpeg = (tmp_path / "pets/cat/1.jpg").read_bytes()
    photos = pa.array([{"bytes": jpeg, "path": None}] * 2)
    columns = {
        "photo": photos,
        "species": ["dog", "cat"],
        "objects": [[[0, 0, 4, 5]], [[1, 1, 3, 3], [8, 8, 9, 9]]],
    }
    pq.write_table(pa.table(columns), tmp_path / "pets.parquet")
    texts = {"review": ["so dull", "a joy"], "sentiment": ["NEG", "POS"], "evidence": [[0, 1], [1, 1]]}
    pq.write_table(pa.table(texts), tmp_path / "movies.parquet")
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    for name, content in re.findall(r"```yaml\n# conf/dataset/(\w+)\.yaml\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / "conf" / "dataset" / f"{name}.yaml").write_text(content)
    return tmp_path


def made(name: str, task: str):
    """The data set of a YAML of the page, as a run would build it, after a way through a loader process."""
    config = configuration(["--config-dir", "conf", f"task={task}", f"dataset={name}"])
    assert config["dataset"]["name"] == name
    return pickle.loads(pickle.dumps(build("dataset", config["dataset"])))


def test_images_with_masks(folder):
    data = made("pets", "segmentation")
    assert list(data.ids) == list(IMAGES)
    assert data.classes == ("cat", "dog", "hamster")
    assert data.labels == [0, 1, 1]
    for place, sample in enumerate(data[i] for i in range(len(data))):
        expected = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
        expected[place : place + 5, 2:7] = True
        assert np.array_equal(sample.mask, expected)
        assert (sample.image.size, sample.label, sample.id) == (SIZE, data.labels[place], IMAGES[place])
    assert {file.name for file in data.files} == {"1.jpg", "2.jpg", "1.png", "2.png"}


def test_images_with_boxes(folder):
    data = made("boxed", "segmentation")
    assert data.classes == ("cat", "dog")
    expected = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    expected[0:12, 0:12] = True
    expected[8:30, 16:30] = True
    assert np.array_equal(data[1].mask, expected)
    assert data[0].mask.sum() == 16 * 14


def test_texts_with_rationales(folder):
    data = made("reviews", "token_f1")
    assert data.classes == ("calm", "cross", "cheerful")
    assert data.labels == [2, 1]
    assert data[0].words == ["what", "a", "lovely", "day"]
    assert data[0].rationale.tolist() == [False, False, True, False]
    assert data[1].rationale.tolist() == [True, True, True, False]


def test_tables_by_the_names_of_columns(folder):
    texts = made("movies_hf", "token_f1")
    assert texts.classes == ("NEG", "POS")
    assert (texts[0].words, texts[0].label, texts[0].rationale.tolist()) == (["so", "dull"], 0, [False, True])
    images = made("pets_hf", "segmentation")
    assert images.labels == [1, 0]
    assert images[0].mask.sum() == 20
    assert images[1].mask.sum() == 5
    assert images[1].image.size == SIZE


def test_a_run_on_images_of_ones_own(folder, root):
    """What a mask is worth is the same as in any other data set: the oracle finds all of it."""
    from bench.runner.cell import run
    from tests.support.tiny_images import OPTIONS

    (folder / "pets" / "cat").rename(folder / "flat")
    (folder / "flat.csv").write_text("image,x0,y0,x1,y1\n1,4,4,20,18\n")
    summary = run(
        configuration(
            [
                *("--config-dir", "conf", "task=segmentation", "dataset=boxed", "dataset.path=flat"),
                *("dataset.boxes=flat.csv", "model=timm", "model.architecture=vit_tiny_patch16_224", OPTIONS),
                *(
                    f"model.checkpoint={root / 'tiny.safetensors'}",
                    "protocol.images.size=32",
                    "method=oracle",
                ),
                *(f"paths.results={folder / 'results'}", "device=cpu"),
            ]
        )
    )
    assert summary["pixel_accuracy"] == pytest.approx(100)


def test_images_without_classes_have_no_labels(folder):
    (folder / "pets" / "cat").rename(folder / "flat")
    data = ImageFolder("flat")
    assert (data.ids, data.labels, data.classes) == (["1"], [None], None)
    assert data.one_file_per_sample
    assert data[0].mask is None


def test_images_that_are_refused(folder):
    with refused(r"nothing: no such folder"):
        ImageFolder("nothing")
    with refused(r"pets/dog: no such class; expected one of cat, fish"):
        ImageFolder("pets", classes=["cat", "fish"])
    with refused(r"both given"):
        ImageFolder("pets", masks="masks", boxes="boxes.csv")
    with refused(r"it lies in dataset.path"):
        ImageFolder(".", masks="masks")
    (folder / "masks" / "dog" / "2.png").unlink()
    with refused(r"no mask for 1 of 3 images; expected dog/2\.png"):
        ImageFolder("pets", masks="masks")
    Image.new("L", (3, 4)).save(folder / "masks" / "dog" / "2.png")
    with refused(r"dog/2\.png: 3 × 4 pixels; expected 32 × 30"):
        ImageFolder("pets", masks="masks")[2]
    for rows, message in {
        "cat/1,0,0,4,4\n": r"no box for 2 of 3 images, such as dog/1",
        "fish/1,0,0,4,4\n": r"line 2: KeyError\('fish/1'\)",
        "cat/1,0,0,4,\n": r"line 2: ValueError",
    }.items():
        (folder / "boxes.csv").write_text(f"image,x0,y0,x1,y1\n{rows}")
        with refused(message):
            ImageFolder("pets", boxes="boxes.csv")
    (folder / "boxes.csv").write_text("image,x0,y0,x1,y1\ncat/1,4,0,4,4\ndog/1,0,0,40,4\ndog/2,0,0,4,4\n")
    for place in (0, 1):
        with refused(r"is empty or not within its 32 × 30 pixels"):
            ImageFolder("pets", boxes="boxes.csv")[place]
    (folder / "pets" / "stray.jpg").write_bytes((folder / "pets" / "cat" / "1.jpg").read_bytes())
    with refused(r"stray\.jpg: beside class folders"):
        ImageFolder("pets")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: .*; expected a JSON object"),
        ("[1]", r"line 2: expected a JSON object, got list"),
        ({"text": "a b", "label": "x"}, r"line 2: no 'rationale' among text, label"),
        ({"text": "a b", "label": "x", "rationale": [1]}, r"a rationale of 1 numbers up to 1 for 2 words"),
        ({"text": "a b", "label": "x", "rationale": [0, 2]}, r"numbers up to 2 for 2 words"),
        ({"text": "a b", "label": "x", "rationale": [[1, 3]]}, r"\[1, 3\] is no span of its 2 words"),
        ({"text": "a b", "label": "x", "rationale": "b"}, r"the rationale is 'b'"),
        ({"text": "  ", "label": "x", "rationale": []}, r"a text without words"),
        ({"text": 3, "label": "x", "rationale": []}, r"the text is int; expected a string"),
        ({"text": "a b", "label": 7, "rationale": []}, r"labels that are no names \(7\)"),
    ],
)
def test_texts_that_are_refused(tmp_path, line, message):
    good = {"text": "a b", "label": "y", "rationale": [0, 1]}
    lines = [json.dumps(good), line if isinstance(line, str) else json.dumps(line)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    with refused(message):
        TextFile(tmp_path / "texts.jsonl")[1]


def test_labels_by_number_need_names(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "a", "label": 1, "n": "x"}\n{"text": "b", "label": 0, "n": "x"}\n')
    data = TextFile(file, rationale=None, classes=["no", "yes"])
    assert (data.labels, data.classes) == ([1, 0], ("no", "yes"))
    assert not data[0].rationale.any()
    with refused(r"two texts have one n"):
        TextFile(file, rationale=None, id="n", classes=["no", "yes"])


def test_tables_that_are_refused(folder):
    with refused(r"no column 'words'"):
        TextTable("movies.parquet", text="words", label="sentiment")
    with refused(r"the label 'POS' is no class"):
        TextTable("movies.parquet", text="review", label="sentiment", classes=["NEG", "GOOD"])
    with refused(r"no image; expected a column of datasets\.Image"):
        ImageTable("pets.parquet", image="species", label=None)[0]
