"""What ``make precision`` is made of."""

import sys
from argparse import Namespace

import pytest
import torch

from methods import LRP, TransformerAttribution
from tests.speed import precision
from tests.speed.precision import MOST, WAYS, Row, deviations, measure, missed, moved, quantiles, rows

CPU = torch.device("cpu")


def test_deviations_are_of_each_sample():
    exact = torch.tensor([[3.0, 4.0], [30.0, 40.0], [0.0, 0.0], [0.0, 0.0]])
    maps = torch.tensor([[3.0, 9.0], [30.0, 40.0], [0.0, 0.0], [0.0, 1.0]])
    assert deviations(maps, exact) == [1.0, 0.0, 0.0, float("inf")]


def test_quantiles_tell_the_worst():
    assert quantiles([0.01] * 8 + [0.2, 0.5]) == "1 % / 23 % / 50 %"
    assert quantiles([1e-6, 2e-6, 3.4e-6]) == "2e-06 / 3e-06 / 3e-06"
    assert quantiles([846.08]) == "84,608 % / 84,608 % / 84,608 %"
    assert quantiles([]) == "–"


def test_every_pixel_moves_as_far_as_rounding_can_move_it():
    pixels = torch.rand(2, 3, 8, 8) + 0.1
    found = moved(pixels)
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        (found / pixels.double() - 1).abs(), torch.full_like(found, 6e-8), rtol=1e-6, atol=0
    )
    assert torch.equal(found, moved(pixels))


def test_mixed_precision_is_far_closer_than_float32(configure):
    methods = {"transformer attribution": TransformerAttribution(start_layer=0), "LRP": LRP()}
    attribution, lrp = measure(configure("perturbation", "limit=3"), methods, WAYS, CPU)
    assert (attribution.method, lrp.method) == ("transformer attribution", "LRP")
    for row in (attribution, lrp):
        assert {way: len(values) for way, values in row.deviations.items()} == dict.fromkeys(WAYS, 3)
        assert 0 < max(row.deviations["mixed"]) < MOST
        assert max(row.deviations["float64, input moved"]) > 0
    assert 10 * max(lrp.deviations["mixed"]) < max(lrp.deviations["float32"])
    assert missed([attribution, lrp]) == []


def test_what_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "SUITES", ("small_real",))
    options = Namespace(data=tmp_path, images=2, lrp_images=2, checkpoint=None)
    (row,) = rows(options, WAYS, CPU)
    assert row.reason.startswith("not run: ")
    assert str(tmp_path) in row.reason
    assert row.reason in precision.table([row], WAYS)


@pytest.mark.parametrize(("worst", "code"), [(1e-5, 0), (2e-4, 1), (float("nan"), 1)])
def test_the_exit_code_says_whether_mixed_precision_holds(monkeypatch, tmp_path, capsys, worst, code):
    row = Row("a model", "images", "LRP", {"float32": [0.5], "mixed": [worst]})
    monkeypatch.setattr(precision, "rows", lambda *_: iter([row]))
    file = tmp_path / "precision.md"
    monkeypatch.setattr(sys, "argv", ["precision", "--device", "cpu", "--output", str(file)])
    with pytest.raises(SystemExit) as exit_:
        precision.main()
    assert exit_.value.code == code
    assert "| a model | images | LRP | 1 | 50 % / 50 % / 50 % |" in file.read_text()
    assert ("missed: LRP on a model" in capsys.readouterr().err) == bool(code)
