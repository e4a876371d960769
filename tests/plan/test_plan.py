"""What a sweep needs, before it runs."""

import json

import pytest

from bench.plan import speed
from bench.plan.needs import Sizes, cells_of, needs
from bench.plan.program import main
from bench.runner.costs import Shape
from tests.support.refusals import refused
from tests.support.tiny_images import OPTIONS

BASE = Shape(tokens=197, blocks=12, width=768, pixels=224 * 224)


@pytest.fixture
def tiny(root, tmp_path):
    """The command line of the tiny images."""
    return [
        *("dataset=imagenet_segmentation", "model=timm", "model.architecture=vit_tiny_patch16_224", OPTIONS),
        *("protocol.images.size=32", f"model.checkpoint={root / 'tiny.safetensors'}", f"paths.data={root}"),
        *(f"paths.results={tmp_path / 'results'}", "device=cpu", "batch_size=4"),
    ]


def planned(capsys, *arguments):
    main([*arguments, "--json"])
    return {(one["model"], one["task"]): one for one in json.loads(capsys.readouterr().out)}


def test_the_papers_suite_is_planned_without_its_models_and_data(tmp_path, capsys):
    found = planned(capsys, "suite=paper", f"paths.data={tmp_path}", "rate=1000")
    table1 = found["ViT-B/16", "Perturbation AUC"]
    assert table1["samples"] == 50_000
    # Table 1: 11 cells, and three parts of the ablation; 18 masked passes of an image each, and its prediction.
    assert table1["maps"] == 14 * 50_000
    assert table1["measuring"] == (14 * 18 + 1) * 50_000
    assert table1["hours"] == pytest.approx(table1["plain_passes"] / 1000 / 3600)
    assert found["ViT-B/16", "Segmentation"]["samples"] == 4276
    assert found["BERT-base fine-tuned on movies", "Token F1"]["samples"] == 199


def test_twice_the_speed_takes_half_the_hours(tmp_path, capsys):
    slow, fast = (
        planned(capsys, "suite=paper", "task=segmentation", f"paths.data={tmp_path}", f"rate={rate}")
        for rate in (10, 20)
    )
    for key in slow:
        assert slow[key]["hours"] == pytest.approx(2 * fast[key]["hours"])


def test_the_number_of_samples_may_be_given(tmp_path, capsys):
    arguments = ("suite=paper", "task=segmentation", f"paths.data={tmp_path}", "rate=1")
    (few,), (many,) = (planned(capsys, *arguments, f"samples={count}").values() for count in (100, 300))
    assert many["maps"] == 3 * few["maps"]
    (limited,) = planned(capsys, *arguments, "samples=300", "subset=100").values()
    assert limited["maps"] == few["maps"]


def test_explanations_that_tasks_share_are_made_once(tmp_path):
    arguments = ["suite=paper", f"paths.data={tmp_path}", "experiment=localisation"]
    alone = needs(
        list(cells_of([*arguments, "task=localisation"])), Sizes(10), {"vit_base_patch16_224": BASE}
    )
    both = list(cells_of([*arguments, "task=segmentation,localisation"]))
    first, second = needs(both, Sizes(10), {"vit_base_patch16_224": BASE})
    assert first.cost.maps == alone[0].cost.maps
    assert second.cost.maps == 0


def test_a_model_at_hand_is_timed(tiny, capsys, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.05)
    main(["task=segmentation", *tiny, "--methods", "--measure"])
    shown = capsys.readouterr().out
    assert "plain forward passes per second (batches of 4 on cpu)" in shown
    assert "transformer attribution" in shown
    assert "a map costs what it took here" in shown


def test_the_size_of_a_model_is_found_by_running_it(tiny, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.01)
    (config, *_) = cells_of(["task=segmentation", *tiny])
    machine = speed.machine_of(config, rate=None)
    assert (machine.shape.tokens, machine.shape.blocks, machine.shape.pixels) == (17, 2, 1024)
    assert machine.rate > 0


def test_a_model_that_is_not_at_hand_is_stood_in_for(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.01)
    small = "model.expected_shape={tokens: 5, blocks: 1, width: 64}"
    (config, *_) = cells_of(["suite=paper", "task=token_f1", f"paths.data={tmp_path}", small, "batch_size=1"])
    machine = speed.machine_of(config, rate=None)
    assert machine.model is None
    assert "not at hand: timed on an encoder of the same size" in machine.note


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rate=0"], "rate=0: expected a number above 0"),
        (["samples=many"], "samples=many: expected a number above 0"),
        (["experiment=tabel1", "rate=1"], "did you mean table1"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with refused(message):
        main(["suite=paper", "task=segmentation", *arguments])


def test_data_of_unknown_size_are_asked_for(tmp_path):
    with refused("say how many samples there are: samples=1000"):
        main(
            [
                "suite=paper",
                "task=segmentation",
                "dataset=imagenet_segmentation",
                f"paths.data={tmp_path}",
                "rate=1",
            ]
        )
