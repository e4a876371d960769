"""What is of the user's own is checked before a run: the examples pass, and each fault is found by its check."""

import re
import shutil
import sys

import pytest

from bench.catalogue import PROJECT
from bench.check.__main__ import main
from bench.check.program import findings
from bench.errors import BenchError

FAULTS = '''
import numpy as np
import torch
from PIL import Image

from bench.data import ImageSample
from metrics import Metric, Statistic


class Faulty:
    """Changes its inputs, leaves gradients behind, takes any number for a class."""

    def __call__(self, forward, inputs, target=None):
        logits = forward(inputs)
        target = target % logits.shape[1]
        logits.gather(1, target[:, None]).sum().backward()
        inputs += 1e-3
        return inputs.mean(dim=1)


class Centred:
    """Centres maps over the batch."""

    class_specific = False

    def __call__(self, forward, inputs, target=None):
        maps = inputs.mean(dim=1)
        return maps - maps.mean(dim=0)


class NotFinite:
    def __call__(self, forward, inputs, target=None):
        return inputs.mean(dim=1) / 0


class Wrong:
    """Returns no map at all."""

    def __call__(self, forward, inputs, target=None):
        return forward(inputs)


class Nothing:
    """Forgets to return."""

    def __call__(self, forward, inputs, target=None):
        forward(inputs)


class Crash:
    def __call__(self, forward, inputs, target=None):
        return {}["weights"]


class OfOthers(Metric):
    """Compares each sample with all others, and says that it is a share."""

    columns = ("correct", "labelled")
    measurements = ("mask_overlap",)

    def statistics(self, columns):
        correct = np.asarray(columns["correct"], float)
        return {0: Statistic.mean(2 + correct - correct.mean())}


class Drawn:
    """Images that are others at every reading, with wrong labels."""

    classes = ("a", "b")

    def __init__(self):
        self.ids, self.labels = ["x", "y", "y"], [0, 1, 2]

    def __len__(self):
        return 3

    def __getitem__(self, index):
        pixels = np.random.randint(0, 255, (8, 8, 3)).astype(np.uint8)
        return ImageSample(self.ids[index], Image.fromarray(pixels), self.labels[index], None)


class Masks(Drawn):
    """Masks of another size than the images."""

    def __init__(self):
        self.ids, self.labels = ["x", "y", "z"], [0, 1, 1]

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return ImageSample(sample.id, sample.image, sample.label, np.zeros((4, 4), bool))


class Noisy(torch.nn.Module):
    """Never the same logits."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 10)

    def forward(self, x):
        return self.layer(x.mean(dim=(2, 3))) + torch.rand(len(x), 10)


def noisy():
    return Noisy()
'''
YAML = "_target_: faults.{}\nname: {}\ntitle: faulty\nlimit: null\n"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    """A folder with the examples of the page Extending, and with faults."""
    for group, names in {"metric": ["my_metric"], "method": ["my_method"], "dataset": ["my_images"]}.items():
        (tmp_path / "conf" / group).mkdir(parents=True)
        for name in names:
            shutil.copy(PROJECT / "docs" / "extending" / f"{name}.py", tmp_path)
            shutil.copy(PROJECT / "docs" / "extending" / f"{name}.yaml", tmp_path / "conf" / group)
            monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "faults.py").write_text(FAULTS)
    for name in ("Drawn", "Masks"):
        (tmp_path / "conf" / "dataset" / f"{name}.yaml").write_text(YAML.format(name, name))
    monkeypatch.delitem(sys.modules, "faults", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)


def found(*arguments: str) -> dict[str, tuple[bool | None, str]]:
    """By the name of each check whether it passed, and what it says."""
    return {one.check: (one.passed, one.text) for one in findings(["--config-dir", "conf", *arguments])}


def failed(*arguments: str) -> dict[str, str]:
    return {name: text for name, (passed, text) in found(*arguments).items() if passed is False}


def test_the_method_of_the_page_passes(capsys):
    main(["--config-dir", "conf", "method=my_method", "task=segmentation", "limit=2"])
    out = capsys.readouterr().out
    assert "\n0 of " in out
    for words in ("my_method on images", "(2, 224, 224) for 2 samples", "1 forward passes per sample"):
        assert words in out


def test_a_method_is_checked_on_images_and_on_texts():
    subjects = {one.subject for one in findings(["method=rollout", "limit=2"])}
    assert subjects == {"method rollout on images", "method rollout on texts"}


def test_faults_of_a_method_are_found_each_by_its_check():
    problems = failed("method._target_=faults.Faulty", "task=segmentation", "limit=2")
    assert {"leaves the inputs", "leaves the model", "wrong class"} <= problems.keys()
    assert "class 10 of 10 classes gives a map" in problems["wrong class"]
    problems = failed("method._target_=faults.Centred", "task=segmentation", "limit=2")
    assert problems.keys() == {"verified"}
    assert "misses the check 'alone'" in problems["verified"]


def test_a_map_must_be_finite_and_a_map():
    assert "finite" in failed("method._target_=faults.NotFinite", "task=segmentation", "limit=2")
    assert "shape" in failed("method._target_=faults.Wrong", "task=segmentation", "limit=2")


def test_a_method_that_returns_nothing_is_no_method_without_faults():
    assert failed("method._target_=faults.Nothing", "task=segmentation", "limit=2") == {
        "maps": "it returned NoneType; expected a torch.Tensor"
    }


def test_an_error_of_a_method_is_named_with_its_line():
    line = FAULTS.splitlines().index('        return {}["weights"]') + 1
    assert failed("method._target_=faults.Crash", "task=segmentation", "limit=2") == {
        "maps": f"KeyError: 'weights' (faults.py, line {line})"
    }


def test_the_method_of_the_tutorial_passes(tmp_path):
    """On images and on texts."""
    page = (PROJECT / "docs" / "tutorials" / "own_method.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# mine.py\n(.*?)```", page, flags=re.DOTALL)
    (tmp_path / "mine_of_the_tutorial.py").write_text(code)
    made = findings(["method._target_=mine_of_the_tutorial.Mine", "limit=2"])
    assert not made.failed
    assert {one.subject for one in made} == {"method Mine on images", "method Mine on texts"}
    assert {"shape", "alone", "gradient", "wrong class"} <= {one.check for one in made}


def test_a_metric_of_the_page_passes_and_one_of_other_samples_does_not():
    assert not failed("metric=my_metric", "limit=2")
    problems = failed("metric._target_=faults.OfOthers", "limit=3")
    assert problems.keys() == {"formula: OfOthers"}
    assert "outside its range 0 to 1" in problems["formula: OfOthers"]
    assert "depend on the other samples" in problems["formula: OfOthers"]


def test_a_data_set_of_the_page_passes_and_faults_are_named():
    result = found("dataset=my_images")
    assert all(passed is not False for passed, _ in result.values())
    assert result["samples"][1].startswith("6 were read")
    problems = failed("dataset=Drawn")
    assert problems.keys() == {"ids", "labels", "in processes"}
    masks = failed("dataset=Masks")
    assert masks.keys() == {"sample 0", "sample 1", "sample 2"}
    assert "its mask is not boolean of shape (8, 8)" in masks["sample 0"]


def test_a_model_that_is_not_the_same_twice():
    problems = failed(
        "model=torch", "model._target_=faults.noisy", "model.grid=[1,1]", "model.prefix_tokens=0"
    )
    assert {"again", "alone"} <= problems.keys()


def test_a_failed_check_is_the_exit_code(capsys):
    with pytest.raises(SystemExit, match="1"):
        main(["--config-dir", "conf", "dataset=Masks"])
    assert "3 of " in capsys.readouterr().out
    with pytest.raises(BenchError, match="name what to check"):
        main(["limit=2"])
