"""The examples of the page Extending run, are tabled, and are in status and report: nothing else is touched."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.config import configuration, quoted
from bench.runner.cell import run as run_cell

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLES = PROJECT / "docs" / "extending"
GROUPS = {
    "my_method": "method",
    "my_metric": "metric",
    "my_task": "task",
    "my_images": "dataset",
    "my_texts": "dataset",
    "my_model": "model",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch, capsys):
    """A folder of the user's own, outside the project, with a program that brings examples there and runs."""
    folder = tmp_path / "own files (mine)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    for name in (*GROUPS, "accurate"):  # of another test's folder
        monkeypatch.delitem(sys.modules, name, raising=False)

    def bring(*names: str) -> None:
        for name in names:
            shutil.copy(EXAMPLES / f"{name}.py", folder)
            target = folder / "conf" / GROUPS[name] / f"{name}.yaml"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(EXAMPLES / f"{name}.yaml", target)

    def run(program: str, *arguments: str) -> str:
        """What a program prints, run in this process: most of the time of another would be imports."""
        given = ["--config-dir", "conf", *arguments, *run.where]
        capsys.readouterr()
        if program == "bench":
            run_cell(configuration(given))
        else:
            importlib.import_module(program).main(given)
        return capsys.readouterr().out

    run.bring, run.folder = bring, folder
    run.where = [f"paths.results={quoted(folder / 'results')}", f"paths.data={quoted(folder)}"]
    return run


def test_the_commands_of_the_page(own):
    """As a user types them, each in a process of its own."""
    own.bring("my_method")
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    for module, *arguments in (
        ("bench", "task=segmentation", "method=my_method", "limit=2"),
        ("bench.tables", "table=segmentation", "limit=2"),
    ):
        command = [sys.executable, "-m", module, "--config-dir", "conf", *arguments, *own.where]
        done = subprocess.run(
            command, cwd=own.folder, capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "gradient × input" in done.stdout


def lines_of(run, *arguments: str) -> list[dict]:
    return [
        line
        for line in json.loads(run("bench.status.__main__", *arguments, "--json"))
        if line["state"] == "done"
    ]


def page_of(run, *arguments: str) -> str:
    run("bench.report.__main__", *arguments, "samples=0", "curves=0")
    return (run.folder / "results" / "embedded" / "report" / "index.html").read_text()


def test_a_method(own):
    own.bring("my_method")
    own("bench", "task=segmentation", "method=my_method", "limit=2")
    chosen = ("table=segmentation", "limit=2")
    assert "gradient × input" in own("bench.tables.__main__", *chosen)
    assert any(line["method"] == "my_method" for line in lines_of(own, "task=segmentation", "limit=2"))
    assert "gradient × input" in page_of(own, "limit=2")


def test_a_measurement_and_a_metric(own):
    own.bring("my_metric")
    own("bench", "task=segmentation", "method=rollout", "limit=2", "+metric=my_metric")
    table = own("bench.tables.__main__", "table=segmentation", "limit=2", "+metric=my_metric")
    assert "Concentration" in table
    kinds = {line["kind"] for line in lines_of(own, "task=segmentation", "limit=2", "+metric=my_metric")}
    assert kinds == {"mask_overlap", "concentration"}
    assert "Concentration" in page_of(own, "limit=2", "+metric=my_metric")


def test_a_metric_of_columns_that_are_there_without_a_file(own):
    own.bring("my_metric")
    (own.folder / "accurate.py").write_text(
        "from metrics import PixelAccuracy\n"
        "class Accurate(PixelAccuracy):\n"
        "    measurements = ('mask_overlap',)\n"
    )
    own("bench", "task=segmentation", "method=rollout", "limit=2", "metric._target_=accurate.Accurate")
    table = own("bench.tables.__main__", "table=segmentation", "limit=2", "metric._target_=accurate.Accurate")
    assert "Accurate" in table


def test_a_task(own):
    own.bring("my_task")
    own("bench", "task=my_task", "method=rollout", "limit=2")
    assert "Pointing game ↑" in own("bench.tables.__main__", "table=my_task", "limit=2")
    assert [line["kind"] for line in lines_of(own, "task=my_task", "limit=2")] == ["pointing"]
    assert "Pointing game" in page_of(own, "limit=2")


@pytest.mark.slow
def test_status_finds_a_task_without_its_name(own):
    own.bring("my_task")
    own("bench", "task=my_task", "method=rollout", "limit=2")
    assert any(line["kind"] == "pointing" for line in lines_of(own, "limit=2"))


@pytest.mark.slow  # the test of a model of one's own has these images in table, status and page, too
def test_a_data_set_of_images(own):
    own.bring("my_images")
    own("bench", "task=segmentation", "dataset=my_images", "method=rollout")
    chosen = ("task=segmentation", "dataset=my_images")
    assert "bright squares" in own("bench.tables.__main__", *chosen)
    assert lines_of(own, *chosen)[0]["samples"] == 6
    assert "bright squares" in page_of(own, "dataset=my_images")


def test_a_data_set_of_texts_with_three_labels(own):
    from tests.extending.three_moods import write_classifier, write_moods

    own.bring("my_texts")
    write_moods(own.folder / "moods.jsonl")
    write_classifier(own.folder / "classifier")
    model = ("model=transformers", "model.path=classifier", "dataset=my_texts")
    chosen = ("task=token_f1", "protocol.token_f1.max_length=32", *model)
    own("bench", "method=rollout", *chosen)
    own("bench", "method=gradcam", *chosen)
    table = own("bench.tables.__main__", *chosen)
    assert "made-up moods" in table
    assert "GradCAM" in table
    assert {line["samples"] for line in lines_of(own, *chosen)} == {6}
    assert "made-up moods" in page_of(own, *chosen[1:])


def test_a_model_that_is_not_of_timm(own):
    own.bring("my_model", "my_images")
    model = ("model=my_model", "dataset=my_images")
    own("bench", "task=segmentation", "method=rollout", *model)
    own("bench", "task=perturbation", "method=raw_attention", *model)
    table = own("bench.tables.__main__", "table=segmentation", *model)
    assert {line["samples"] for line in lines_of(own, "task=perturbation", *model)} == {6}
    page = page_of(own, *model)
    for title in ("plain torch", "bright squares"):
        assert title in table
        assert title in page


def test_a_model_of_ones_own_is_explained_as_the_library_explains_it(own):
    """The kept map is the method's own on the same module, and not of some other place or class."""
    import pandas as pd

    from methods import Rollout

    own.bring("my_model", "my_images")
    own("bench", "task=segmentation", "method=rollout", "model=my_model", "dataset=my_images")
    (file,) = (own.folder / "results/embedded/cells/maps").glob("*.parquet")
    kept = torch.tensor(pd.read_parquet(file)["map"].tolist())

    from my_images import Squares
    from my_model import make_model

    from bench.models.preprocessing import ImageSettings

    model, data = make_model().eval(), Squares()
    settings = ImageSettings(size=224, resize="squash", interpolation="bilinear")
    images = torch.stack([(settings.pixels(data[i].image, None) - 0.5) / 0.5 for i in range(len(data))])
    torch.testing.assert_close(kept, Rollout()(model, images).float(), rtol=1e-4, atol=1e-7)
