"""One sample explained, with the embedded models unless a test needs others."""

import io
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import bench  # noqa: F401
from bench.config import build, method_section
from bench.data import ImageSample, TextSample
from bench.embedded.images import draw
from bench.embedded.reviews import reviews
from bench.errors import BenchError
from bench.explain import ImageExplainer, TextExplainer, explain_image, explain_text
from bench.explain.cli import main
from bench.explain.explanation import save
from bench.models.classes import classes_of, find
from bench.runner.explain import explain, with_prefix_tokens
from bench.tasks import Explanations
from metrics import average_precision, token_f1
from tests.support.tiny_images import OPTIONS
from tests.support.tiny_texts import write_model

pytestmark = pytest.mark.numerical

DIGIT = 7
COMPARED = ["transformer_attribution", "raw_attention", "rollout", "gradcam", "lrp", "partial_lrp"]
LONG = "a good film " * 300


class Column:
    """A method of a user's own: all relevance lies in one column of pixels."""

    def __init__(self, column: int):
        self.column = column

    def __call__(self, forward, inputs, target=None):
        relevance = torch.zeros(len(inputs), *inputs.shape[-2:])
        relevance[:, :, self.column] = 1
        return relevance


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(draw(np.random.default_rng(5), "heldout", DIGIT, (240, 200)).pixels)


@pytest.fixture(scope="module")
def review():
    return next(iter(reviews(seed=9, count=1)))


@pytest.fixture
def photo(picture, tmp_path):
    picture.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Run in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments, capsys) -> str:
    """What a user's mistake is answered with."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err
    return err


def is_blank(file) -> bool:
    return np.asarray(Image.open(file).convert("L"), dtype=float).std() < 20


# What is computed


def scored(explainer, method: str, sample, target: int) -> dict:
    """What the task of an explainer measures of a method's map of a sample, as the benchmark does."""
    config, model = explainer.config, explainer.model
    settings, numbers = config["task"]["inputs"], range(len(model.classes))
    section = build_section(method, config)
    batch = model.batch([model.preparation(settings)(sample)], settings)
    built = with_prefix_tokens(build("method", section), model, section)
    explained = torch.tensor([target])
    maps = explain(built, model, batch, explained, numbers)
    columns = {}
    for _, measurement in build("task", config["task"], description={"_target_"}).measurements():
        columns |= measurement.measure(Explanations(model, batch, numbers, explained, maps))
    return columns


def build_section(method: str, config) -> dict:
    protocol = f"protocol={config['protocol']['name']}"
    return method_section(method, [f"task={config['task']['name']}", protocol])


@pytest.mark.parametrize(
    ("protocol", "methods"),
    [
        ("paper", ["rollout", "lrp"]),  # one that knows no sign, and one whose maps are of pixels
        ("clean", ["transformer_attribution"]),
        *(pytest.param(protocol, None, marks=pytest.mark.slow) for protocol in ("paper", "clean")),
    ],
)
def test_a_map_is_the_one_that_segmentation_scores(picture, protocol, methods):
    explainer = ImageExplainer(methods=methods, overrides=[f"protocol={protocol}", "device=cpu"])
    explanation = explainer(picture)
    assert set(explanation.maps) >= set(methods or COMPARED)
    assert "lrp" not in explanation.maps or explanation.maps["lrp"].min() < 0
    mask = np.zeros(picture.size[::-1], dtype=bool)
    mask[50:130, 40:160] = True
    sample = ImageSample("a", picture, DIGIT, mask)
    seen = explainer.model.preparation(explainer.settings)(sample).mask[None]
    for method, ours in explanation.maps.items():
        theirs = scored(explainer, method, sample, explanation.explained.index)["average_precision"]
        if (
            ours.min() < 0
        ):  # shown with its sign, and cut where the hundredth of its pixels would hide the others
            whole = explanation.relevance[method].astype(float)
            shown = (whole / np.quantile(np.abs(whole), 0.99)).clip(-1, 1)
            np.testing.assert_allclose(ours, shown, rtol=1e-4, atol=1e-6)
            ours = (whole - whole.min()) / (whole.max() - whole.min())
        ours = average_precision(torch.from_numpy(ours).float()[None], seen)
        assert ours.tolist() == pytest.approx(theirs, abs=1e-4)


def test_words_are_scored_as_token_f1_scores_them(review):
    explainer = TextExplainer(methods=None, overrides=["device=cpu"])
    explanation = explainer(" ".join(review.words), target=review.label)
    assert list(explanation.maps) == COMPARED
    rationale = np.arange(len(review.words)) % 3 == 0
    sample = TextSample("a", review.words, review.label, rationale)
    ks = explainer.config["protocol"]["token_f1"]["k"]
    for method, ours in explanation.maps.items():
        theirs = scored(explainer, method, sample, review.label)
        f1 = token_f1(torch.from_numpy(ours)[None], torch.from_numpy(rationale)[None], ks)
        assert f1.f1.tolist() == theirs["token_f1"]
        assert len(ours) == theirs["visible"][0]


def test_the_classes_are_those_of_the_model(picture):
    explanation = ImageExplainer(methods=["rollout"])(picture)
    assert explanation.explained.index == explanation.top[0][0].index == DIGIT
    assert explanation.explained.name == "seven"
    assert sum(explanation.probabilities) == pytest.approx(1)
    probabilities = [probability for _, probability in explanation.top]
    assert probabilities == sorted(explanation.probabilities, reverse=True)[: len(probabilities)]


def test_another_target_gives_another_map_of_a_method_that_depends_on_it(picture):
    explainer = ImageExplainer()
    other = explainer(picture, target="three")
    assert (other.explained.index, other.probability) == (3, other.probabilities[3])
    assert not np.allclose(
        other.maps["transformer_attribution"], explainer(picture).maps["transformer_attribution"]
    )


def test_a_model_of_ones_own_brings_its_size_and_numbers_for_classes(root, picture):
    explainer = ImageExplainer(
        "vit_tiny_patch16_224",
        overrides=[OPTIONS],
        checkpoint=root / "tiny.safetensors",
    )
    explanation = explainer(picture, target=2)
    assert explanation.maps["transformer_attribution"].shape == (32, 32)
    assert str(explanation.explained) == "class 2 (2)"
    assert len(explanation.top) == 3


def test_a_text_model_may_be_a_directory():
    suite = TextExplainer()
    own = TextExplainer(suite.config["model"]["path"])
    text = "a good film with a dull plot"
    np.testing.assert_array_equal(*(e(text).maps["transformer_attribution"] for e in (suite, own)))


def test_a_text_model_may_have_any_classes_and_take_shorter_texts(tmp_path):
    labels = ("entailment", "neutral", "contradiction")
    folder = write_model(tmp_path / "a {text} model, it's 'ü' #1", labels)
    explainer = TextExplainer(str(folder), ["rollout"], overrides=["protocol.token_f1.max_length=16"])
    explanation = explainer("good film " * 20, target="Contradiction")
    assert [c.name for c in explanation.classes] == list(labels)
    assert (explanation.explained.index, len(explanation.probabilities)) == (2, 3)
    assert explanation.seen == 14
    with pytest.raises(BenchError, match="no such class; similar ones: neutral"):
        explainer("good", target="neutrl")


def test_the_settings_of_the_protocol_reach_texts():
    seen = [
        TextExplainer(methods=["rollout"], overrides=[f"protocol.token_f1.max_length={length}"])(LONG).seen
        for length in (32, 64)
    ]
    assert 0 < seen[0] < seen[1] <= 62


# Classes

IMAGENET = SimpleNamespace(modality="image", classes=[str(number) for number in range(1000)])
REVIEWS = SimpleNamespace(modality="text", classes=["NEG", "POS"])


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("0", 0), (999, 999), ("n01440764", 0), ("Tench", 0), ("tinca tinca", 0), ("golden retriever", 207)],
)
def test_imagenet_classes_go_by_number_wnid_and_name(wanted, index):
    assert find(classes_of(IMAGENET, {}), wanted).index == index


def test_texts_have_two_classes():
    classes = classes_of(REVIEWS, {})
    assert [find(classes, name).index for name in ("neg", "POS", "positive", "0")] == [0, 1, 1, 0]


def test_classes_are_called_what_the_model_or_the_data_set_calls_them():
    own = SimpleNamespace(modality="image", classes=["tabby, tabby cat", "tench"])
    assert find(classes_of(own, {}), "tabby cat").index == 0
    nameless = SimpleNamespace(modality="image", classes=["0", "1", "2"])
    assert [c.name for c in classes_of(nameless, {}, ["square", "circle", "star"])][1] == "circle"
    assert [str(c) for c in classes_of(nameless, {})][1] == "class 1 (1)"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("1000", r"target 1000: the model has classes 0 to 999"),
        ("goldfsh", r"no such class; similar ones: goldfish \(1, n01443537\)"),
        ("retriever", r"no such class; similar ones: .*golden retriever"),
        ("crane", r"several classes have this name.*crane \(134, n02012849\), crane \(517, n03126707\)"),
        ("qqqqqqqq", "no such class; similar ones: none"),
        ("", "no such class"),
    ],
)
def test_an_unknown_class_is_answered_with_similar_ones(wanted, message):
    with pytest.raises(BenchError, match=message):
        find(classes_of(IMAGENET, {}), wanted)


# The command line


def test_an_image_becomes_a_picture_beside_it(photo, capsys):
    before = photo.read_bytes()
    assert main([str(photo)]) == 0
    written = photo.with_name("photo_explanation.png")
    assert not is_blank(written)
    assert photo.read_bytes() == before
    out = capsys.readouterr().out
    assert str(written) in out
    assert re.search(r"explained: seven \(7, n00000007\)", out)


def test_the_same_explanation_is_written_with_the_same_bytes(photo, tmp_path):
    explainer = ImageExplainer(methods=["rollout"])
    twice = [explainer(photo) for _ in range(2)]
    for suffix in ("png", "svg", "pdf", "html"):
        files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for explanation, file in zip(twice, files, strict=True):
            save(explanation, file)
        assert files[0].read_bytes() == files[1].read_bytes(), suffix


def test_all_methods_make_a_grid(photo, capsys):
    assert main([str(photo), "--all-methods", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["methods"] == COMPARED
    assert not is_blank(record["output"])
    assert main([str(photo), "--method", "rollout", "--output", str(photo.with_name("one.png"))]) == 0
    grid, one = (Image.open(file) for file in (record["output"], photo.with_name("one.png")))
    assert grid.width > one.width
    assert grid.height > 1.4 * one.height


def test_json_tells_classes_and_files(photo, capsys):
    assert main([str(photo), "--method", "rollout,raw_attention", "--target", "n00000003", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["methods"] == ["rollout", "raw_attention"]
    assert record["explained"].items() >= {"index": 3, "wnid": "n00000003", "name": "three"}.items()
    assert record["top"][0]["index"] == DIGIT
    assert 0 <= record["explained"]["probability"] < 0.5 < record["top"][0]["probability"] <= 1
    assert record["output"] == str(photo.with_name("photo_explanation.png"))


def test_json_has_the_relevance_on_the_grid_of_the_method(photo, capsys):
    assert main([str(photo), "--method", "rollout,lrp", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    shapes = {name: np.shape(relevance) for name, relevance in record["relevance"].items()}
    assert shapes == {"rollout": (14, 14), "lrp": (224, 224)}
    explained = ImageExplainer(methods=["rollout"])(photo)
    assert record["relevance"]["rollout"] == pytest.approx(explained.relevance["rollout"], rel=1e-5)
    assert np.min(record["relevance"]["lrp"]) < 0  # with its sign, and not scaled to 1
    assert np.max(record["relevance"]["rollout"]) < 1


def test_json_has_the_relevance_of_each_word(here, capsys):
    assert main(["--text", "a good film", "--method", "rollout", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["seen"] == ["a", "good", "film"]
    assert len(record["relevance"]["rollout"]) == 3
    assert "some hundred words" in record["note"]


def test_what_the_default_model_knows_is_said(photo, capsys):
    assert main([str(photo), "--method", "rollout"]) == 0
    out, err = capsys.readouterr()
    assert "model: 6-block ViT trained on drawn digits, 10 classes" in out
    assert "note: this model knows drawn digits, zero to nine alone" in err
    assert "--model vit_base_patch16_224" in err


def test_pictures_of_two_models_do_not_replace_each_other_and_of_two_methods_are_said_to(photo, root, capsys):
    other = [
        "--model",
        "vit_tiny_patch16_224",
        "--checkpoint",
        str(root / "tiny.safetensors"),
        "--set",
        OPTIONS,
    ]
    assert main([str(photo), "--method", "rollout"]) == 0
    assert main([str(photo), "--method", "rollout", *other, "--set", "protocol.images.size=32"]) == 0
    assert "replaced" not in capsys.readouterr().err
    pictures = sorted(file.name for file in photo.parent.glob("*_explanation*"))
    assert pictures == ["photo_explanation.png", "photo_explanation_vit_tiny_patch16_224_tiny.png"]
    assert main([str(photo), "--method", "rollout"]) == 0
    assert "replaced" not in capsys.readouterr().err  # the same explanation again
    assert main([str(photo), "--method", "raw_attention"]) == 0
    assert "photo_explanation.png: replaced another explanation" in capsys.readouterr().err
    assert main([str(photo.parent), "--method", "rollout"]) == 0  # none of these is explained in turn
    assert len(list(photo.parent.glob("*_explanation*"))) == 2


def test_a_folder_is_explained_image_by_image_and_not_twice(photo, capsys):
    folder = photo.parent
    Image.open(photo).convert("RGB").save(folder / "second.JPEG")
    (folder / "notes.txt").write_text("no image")
    for _ in range(2):
        assert main([str(folder), "--method", "rollout", "--json"]) == 0
        records = json.loads(capsys.readouterr().out)
        assert [record["input"] for record in records] == [str(photo), str(folder / "second.JPEG")]
    written = {file.name for file in folder.iterdir()} - {"photo.png", "second.JPEG", "notes.txt"}
    assert written == {"photo_explanation.png", "second_explanation.png"}


def test_outputs_go_to_a_folder_that_is_made(photo, tmp_path):
    assert main([str(photo), "--method", "rollout", "--output", str(tmp_path / "new" / "deep")]) == 0
    assert not is_blank(tmp_path / "new" / "deep" / "photo_explanation.png")


def test_a_damaged_image_does_not_stop_the_others(photo, capsys):
    broken = photo.with_name("broken.jpg")
    broken.write_text("no image")
    assert main([str(photo.parent), "--method", "rollout"]) == 2
    captured = capsys.readouterr()
    assert f"error: {broken}: cannot be decoded" in captured.err
    assert "photo_explanation.png" in captured.out
    assert not photo.with_name("broken_explanation.png").exists()


def test_a_page_stands_alone(photo):
    page = photo.with_name("why.html")
    assert main([str(photo), "--all-methods", "--output", str(page)]) == 0
    text = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert text.count("<img ") == text.count("data:image/") == 1 + len(COMPARED)
    assert len(re.findall('alt="[^"]+"', text)) == 1 + len(COMPARED)
    assert "seven" in text


def test_a_text_becomes_a_page(here, capsys):
    assert main(["--text", "a <b>good</b> film & a great cast", "--target", "pos"]) == 0
    text = (here / "explanation.html").read_text()
    assert "&lt;b&gt;good&lt;/b&gt;</span>" in text
    assert len(re.findall(r'<span style="background:#\w{6};color:#\w{6}"', text)) == 7
    assert "explained: POS (1)" in capsys.readouterr().out


def test_lines_of_standard_input_become_pages_of_their_own(here, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a good film\n\n  a bad film \n"))
    assert main(["-", "--method", "rollout", "--output", "pages", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [record["input"] for record in records] == ["a good film", "a bad film"]
    assert [record["output"] for record in records] == [
        "pages/explanation_1.html",
        "pages/explanation_2.html",
    ]
    assert "bad</span>" in (here / "pages" / "explanation_2.html").read_text()


def test_a_text_that_is_too_long_says_that_it_was_cut(here, capsys):
    assert main(["--text", LONG, "--method", "rollout"]) == 0
    note = re.search(r"the model saw the first (\d+) of its 900 words", capsys.readouterr().out)
    page = (here / "explanation.html").read_text()
    assert note.group() in page
    assert page.count('class="unseen"') == 900 - int(note.group(1)) > 300


def test_a_method_of_ones_own_takes_its_settings(photo, capsys):
    own = f"{Column.__module__}.Column"
    assert main([str(photo), "--method", own, "--set", "+method.column=3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["methods"] == ["Column"]
    relevance = ImageExplainer(methods=[own], overrides=["+method.column=3"])(photo).maps["Column"]
    assert (relevance.argmax(axis=1) == 3).all()


def test_settings_reach_the_method(photo):
    first, last = (
        ImageExplainer(overrides=[f"method.start_layer={i}"])(photo).maps["transformer_attribution"]
        for i in (0, -1)
    )
    assert not np.allclose(first, last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to explain"),
        (["missing.jpg"], "missing.jpg: no such file"),
        (["notes.txt"], "notes.txt: cannot be decoded"),
        (["empty"], "empty: no images in this folder"),
        (["photo.png", "--method", "xyz"], "'xyz': there is no such method; expected one of agcam"),
        (["photo.png", "--method", "rolout"], "'rolout': there is no such method; did you mean rollout"),
        (["photo.png", "--method", "oracle"], "no such method"),
        (["photo.png", "--method", "no.such.Method"], "no.such.Method cannot be imported"),
        (["photo.png", "--model", "no_such_model"], "timm has no model 'no_such_model'"),
        (["photo.png", "--target", "eleven"], "no such class; similar ones: seven"),
        (["photo.png", "--target", "10"], "classes 0 to 9"),
        (["photo.png", "--set", "method.start_layer=99"], "start_layer=99"),
        (["photo.png", "--set", "protocol=best"], "protocol"),
        (
            ["photo.png", "--checkpoint", "x.pth"],
            "checkpoint x.pth: the model of the suite embedded has its own",
        ),
        (
            ["photo.png", "--model", "vit_tiny_patch16_224", "--checkpoint", "x.pth"],
            "checkpoint x.pth: no such file",
        ),
        (["photo.png", "--output", "photo.png"], "is the input itself"),
        (["photo.png", "--output", "a.doc"], "a.doc: cannot be written; expected a folder or .png"),
        (["photo.png", "other/photo.jpg", "--output", "a.png"], "there are 2 samples; name a folder"),
        (["photo.png", "other/photo.jpg", "--output", "all"], "would both be written to all"),
        (["photo.png", "--output", "file"], "file: is a file"),
        (["photo.png", "--output", "file/a.png"], "file/a.png: cannot be written"),
        (["photo.png", "--text", "good"], "images and texts have different models"),
        (["--text", "good", "--output", "a.png"], "expected a folder or .html"),
        (["--text", " "], "it has no words"),
        (["--text", "good", "--target", "seven"], "no such class"),
        (["--text", "good", "--model", "./nowhere"], "there is no directory ./nowhere"),
        (["--text", "good", "--checkpoint", "x.pth"], "is for images"),
        (["-"], "no text on standard input"),
    ],
)
def test_mistakes_are_answered_in_a_line(arguments, message, photo, here, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (here / "notes.txt").write_text("no image")
    (here / "file").write_text("")
    (here / "empty").mkdir()
    (here / "other").mkdir()
    Image.open(photo).convert("RGB").save(here / "other" / "photo.jpg")
    before = photo.read_bytes()
    assert message in refused(arguments, capsys)
    assert photo.read_bytes() == before
    assert not list(here.rglob("*explanation*"))


def test_it_is_a_command_of_bench():
    done = subprocess.run(
        [sys.executable, "-m", "bench", "explain", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--all-methods" in done.stdout
    assert "hydra" not in done.stdout.lower()


# In a notebook


def test_a_figure_comes_from_one_line_and_is_not_left_open(picture):
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    figure = explain_image(picture, "seven", method=["rollout", "lrp"])
    assert isinstance(figure, Figure)
    assert [axis.get_title() for axis in figure.axes][:3] == ["image", "rollout", "LRP"]
    assert plt.get_fignums() == []


def test_a_text_shows_itself_in_a_notebook():
    explanation = explain_text("a good film", method="rollout")
    assert explanation._repr_html_().count('<span style="background') == 3
    assert explanation.words == ["a", "good", "film"]


def test_a_real_image_gets_its_name(real_data):
    file = sorted((real_data / "imagenet" / "val" / "n01443537").iterdir())[0]
    explanation = ImageExplainer("small_real", overrides=[f"paths.data={real_data}"])(file)
    assert "goldfish (1, n01443537)" in [str(c) for c, _ in explanation.top]
