"""What ``make speed`` is made of; no time is asserted."""

import sys
from pathlib import Path

import pytest
import torch

from bench.errors import BenchError
from tests.speed import __main__ as speed
from tests.speed import cells
from tests.speed import profile as profile_module
from tests.speed.board import board
from tests.speed.explaining import (
    METHODS,
    PASS,
    Plain,
    create,
    explaining,
    hours,
    memory,
    of_type,
    pixels,
    several_classes,
)
from tests.speed.reference import reference
from tests.speed.scoring import imputation, removal, scoring
from tests.speed.timing import HEAD, Line, ratios
from tests.support.small_models import make_vit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    """Small models in the place of those of timm."""
    for module in ("explaining", "cells", "reference", "profile", "scoring", "__main__"):
        monkeypatch.setattr(
            f"tests.speed.{module}.create", lambda architecture, device: make_vit().to(device)
        )


def test_a_bound_is_kept_or_missed_by_the_median():
    assert Line("x", [1, 2, 9], bound=2).holds
    assert not Line("x", [1, 3, 9], bound=2).holds
    assert Line("x", [1, 3, 9], bound=3, at_least=True).holds
    assert not Line("x", [1, 2, 9], bound=3, at_least=True).holds
    assert Line("x", [5]).holds
    assert Line("x", [1, 3, 9], bound=2).cells()[4:7] == ["3.00 F", "1.00 – 9.00", "≤ 2 **missed**"]
    assert len(Line("x", [5]).cells()) == len(HEAD)


def test_subject_and_unit_take_turns():
    calls = []
    values, _ = ratios(lambda: calls.append("subject"), lambda: calls.append("unit"), 3, CPU)
    assert calls == ["subject", "unit"] + ["subject", "unit"] * 3
    assert len(values) == 3


def test_every_method_is_measured_in_every_type_it_has():
    lines = list(explaining("vit_base_patch16_224", [2, 1], 1, CPU))
    assert {line.what for line in lines} == {*METHODS, PASS}
    measured = {(line.what, line.type, line.batch) for line in lines}
    # in float32 all and the plain pass, in float64 those of relevance and it, in mixed precision those of relevance
    assert len(lines) == len(measured) == 2 * ((1 + 6) + (1 + 3) + 3)
    assert all(line.values[0] > 0 for line in lines)


def test_only_the_usual_type_is_bounded():
    lines = list(explaining("vit_base_patch16_224", [8, 1], 1, CPU))
    bounds = {(line.what, line.type): line.bound for line in lines if line.batch == 8}
    assert {pair: bound for pair, bound in bounds.items() if bound is not None} == {
        ("transformer attribution", "mixed"): 6.0,
        ("LRP", "mixed"): 6.5,
        ("partial LRP", "mixed"): 2.5,
        ("GradCAM", "float32"): 1.6,
        ("raw attention", "float32"): 1.1,
        ("rollout", "float32"): 1.1,
    }
    assert all(line.bound is None for line in lines if line.batch == 1)
    assert all(line.bound is None for line in explaining("deit_tiny_patch16_224", [8], 1, CPU))


def test_the_unit_is_a_plain_pass_in_float32_whatever_the_type_of_the_line(monkeypatch):
    units = []
    monkeypatch.setattr(
        "tests.speed.explaining.ratios", lambda subject, unit, n, device: units.append(unit) or ([1.0], 1.0)
    )
    list(explaining("vit_base_patch16_224", [2], 1, CPU))
    (unit,) = set(units)
    assert (unit.type, len(unit.images)) == ("float32", 8)


def test_the_floor_is_float32_with_the_forward_pass_of_float64(monkeypatch):
    costs = iter([1.0, 4.5, 4.6, 1.2, 1.1, 1.0, 1.1, 2.0, 9.0, 9.0, 2.2, 6.0, 5.0, 2.5])
    monkeypatch.setattr("tests.speed.explaining.ratios", lambda *_: ([next(costs)], 1.0))
    notes = {(line.what, line.type): line.note for line in explaining("vit_base_patch16_224", [8], 1, CPU)}
    assert notes["transformer attribution", "mixed"].endswith("floor 5.50 F, +0.50 F")
    assert notes["LRP", "mixed"].endswith("floor 5.60 F, -0.60 F")
    assert "floor" not in notes["LRP", "float64"]


def test_the_hours_of_the_paper_follow_from_the_costs():
    def line(what, type_, seconds):
        return Line(what, [1.0], type=type_, batch=8, seconds=seconds)

    costs = [line(PASS, t, 0.1) for t in ("float64", "float32")]
    costs += [line(name, "float64", 0.5) for name, method in METHODS.items() if hasattr(method, "dtype")]
    costs += [line(name, "mixed", 0.3) for name, method in METHODS.items() if hasattr(method, "dtype")]
    costs += [line(name, "float32", 0.2) for name in METHODS]
    in_float64, in_float32, in_mixed = hours(costs)
    # 19 passes for each of 11 cells, one for the random map; two maps of four methods, one of the two others
    assert in_float64.median == pytest.approx(50_000 * (209 * 0.1 + 6 * 0.5 + 2 * 0.2 + 2 * 0.2 + 0.1) / 3600)
    assert in_mixed.median == pytest.approx(50_000 * (209 * 0.1 + 6 * 0.3 + 2 * 0.2 + 2 * 0.2 + 0.1) / 3600)
    assert in_float32.median == pytest.approx(50_000 * (209 * 0.1 + 6 * 0.2 + 4 * 0.2 + 0.1) / 3600)


@pytest.mark.parametrize("type_", ["float64", "float32", "bfloat16"])
def test_the_unit_is_a_plain_pass_in_the_type(type_):
    model = make_vit()
    logits = Plain(model, pixels(model, 2, CPU), type_)()
    assert logits.dtype == {"float64": torch.float64, "float32": torch.float32}.get(type_, torch.bfloat16)
    assert next(model.parameters()).dtype == torch.float32
    assert of_type(METHODS["rollout"], "float64") is None
    assert of_type(METHODS["LRP"], "mixed, tf32").dtype == "mixed"


def test_several_classes_are_compared_with_one(monkeypatch):
    targets = []
    monkeypatch.setitem(METHODS, "transformer attribution", lambda f, x, target=None: targets.append(target))
    assert several_classes("deit_tiny_patch16_224", 1, CPU).batch == 1
    assert {None if t is None else tuple(t.shape) for t in targets} == {None, (1, 10)}


def test_memory_that_is_not_there_is_not_tried(monkeypatch):
    peaks = {"float64": 8e9, "mixed": 5e9, "float32": 4e9}
    monkeypatch.setattr(
        "tests.speed.explaining._in_a_process", lambda _, model, batch, type_, device: peaks[type_]
    )
    monkeypatch.setattr("tests.speed.explaining.Memory.free", lambda self: 10e9)
    *lines, share = memory("vit_base_patch16_224", (8, 32), CPU)
    assert [line.batch for line in lines] == [8, 32] * 3
    assert lines[0].median == 8
    assert lines[1].note == "not tried: it would take about 32 GB"
    assert (share.median, share.bound, share.holds) == (5 / 8, 0.6, False)


def test_scoring_is_compared_with_scikit_learn():
    lines = {line.what: line for line in scoring(1, {"a": 1.0})}
    assert set(lines) == {
        "average precision",
        "counts of pixels",
        "token F1",
        "scoring of a segmentation cell",
        "scoring of a localisation cell",
    }
    assert all(line.values[0] > 0 for line in lines.values())
    assert {lines[f"scoring of a {task} cell"].bound for task in ("segmentation", "localisation")} == {5.0}


def test_metrics_are_measured_in_the_passes_that_they_must_make():
    line = removal("deit_tiny_patch16_224", 1, CPU)
    assert line.values[0] > 0.1
    assert line.bound == 1.10


def test_the_imputation_of_an_image_has_a_bound_in_seconds():
    line = imputation(1, CPU)
    assert (line.unit, line.bound) == ("s", 0.2)
    assert line.values[0] > 0


def test_the_map_that_costs_nothing_and_the_repeated_images(root, tmp_path):
    assert cells.brightness(None, torch.ones(2, 3, 4, 4), None).shape == (2, 4, 4)
    repeated = cells.Repeated(root / "imagenet", 25)
    assert len({repeated[i].id for i in range(25)}) == len(repeated) == 25
    photographs = cells._Photographs(cells.photographs(tmp_path, 2))
    assert [s.image.size for s in (photographs[0], photographs[1])] == [(500, 375)] * 2


def test_a_perturbation_cell_is_measured_in_its_passes(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "create", create)
    line = cells.perturbation("vit_tiny_patch16_224", 2, 2, 1, CPU, tmp_path)
    assert len(line.values) == 1
    assert min(line.values) > 0.1
    assert line.bound == 1.10


def test_long_cells_are_compared_with_short_ones(tmp_path):
    line = cells.scaling(1, (1, 2), tmp_path)
    assert line.values[0] > 0


def test_the_board_is_timed(tmp_path):
    (line,) = board(1, tmp_path, methods=4, models=2, samples=40)
    assert line.what == "board of 4 methods, 2 models, 20 metrics, 40 samples"
    assert line.values[0] > 0
    assert line.note.startswith("page of")


def test_the_page_is_measured_in_seconds_of_cpu(monkeypatch, tmp_path):
    monkeypatch.setattr(cells, "REPORTED", 4)
    monkeypatch.setattr("tests.support.many_methods.COUNT", 2)
    line = cells.report(1, tmp_path)
    assert line.values[0] > 0
    assert (line.unit, line.bound) == ("s of CPU", 60.0)
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_start_is_measured_in_both_tasks(tmp_path):
    lines = list(cells.start(1, tmp_path))
    assert [line.what for line in lines] == [
        "start to the first sample, perturbation",
        "start to the first sample, token_f1",
    ]


FAKE = {
    "baselines/__init__.py": "",
    "baselines/ViT/__init__.py": "",
    "baselines/ViT/ViT_LRP.py": """
from torch import nn
def vit_base_patch16_224(pretrained):
    assert not pretrained
    return nn.Linear(1, 1)
""",
    "baselines/ViT/ViT_explanation_generator.py": """
class LRP:
    calls = []
    def __init__(self, model):
        self.model = model
    def generate_LRP(self, image, method, index):
        assert image.cuda().shape[0] == 1
        self.calls.append(method)
""",
}


@pytest.fixture
def forget_baselines():
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "baselines"]:
        del sys.modules[name]


def test_a_checkout_of_the_reference_adds_its_lines(tmp_path, forget_baselines):
    for name, text in FAKE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    lines = list(reference(tmp_path, "vit_base_patch16_224", 1, CPU))
    assert [line.what.split(",")[0] for line in lines] == [
        "transformer attribution",
        "LRP",
        "partial LRP",
        "rollout",
    ]
    assert str(tmp_path) not in sys.path


def test_a_folder_without_the_reference_is_named(tmp_path, forget_baselines):
    with pytest.raises(BenchError, match=f"REFERENCE={tmp_path}: it cannot be imported"):
        list(reference(tmp_path, "vit_base_patch16_224", 1, CPU))


@pytest.mark.parametrize(("median", "code"), [(1.0, 0), (3.0, 1)])
def test_the_guard_says_by_its_exit_code_whether_bounds_hold(monkeypatch, tmp_path, capsys, median, code):
    monkeypatch.setattr(speed, "lines", lambda *_: iter([Line("a thing", [median], bound=2)]))
    monkeypatch.setattr(sys, "argv", ["speed", "--output", str(tmp_path), "--device", "cpu"])
    with pytest.raises(SystemExit) as exit_:
        speed.main()
    assert exit_.value.code == code
    printed = capsys.readouterr()
    assert ("missed: a thing" in printed.err) == bool(code)
    assert Path(tmp_path / "cpu.md").read_text() in printed.out


def test_bad_arguments_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["speed", "--repetitions", "0"])
    with pytest.raises(SystemExit):
        speed.main()
    assert "1 or more" in capsys.readouterr().err


def test_the_profile_names_five_operations(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["profile", "--batch", "1", "--device", "cpu"])
    profile_module.main()
    printed = capsys.readouterr().out.splitlines()
    assert sum("calls" in line for line in printed) == 5
