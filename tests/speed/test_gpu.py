"""``make gpu`` on a CPU: all of its parts run, and what they lack is reported; no time is asserted."""

import importlib
import subprocess
import sys
import time
from argparse import Namespace
from zipfile import ZipFile

import pytest
import torch

from tests.speed import gpu, gpu_parts
from tests.speed.carried import carry
from tests.speed.gpu import Section, at_most, run
from tests.support import goldens as known
from tests.support.small_models import make_vit

CPU = torch.device("cpu")
OPTIONS = Namespace(
    data=None,
    images=2,
    model="vit_base_patch16_224",
    batch=2,
    repetitions=1,
    limit=60,
    wheels=gpu.PROJECT / "wheels",
)


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch):
    for module in ("explaining", "gpu_parts"):
        monkeypatch.setattr(
            f"tests.speed.{module}.create", lambda architecture, device: make_vit().to(device)
        )


def found(part, missed=None):
    lines = list(part(OPTIONS, CPU, [] if missed is None else missed))
    return lines, [line for line in lines if line.startswith("|")]


def test_goldens_are_compared_in_every_type(monkeypatch):
    some = ("lrp.predicted", "transformer_attribution.start0.class1", "raw_attention")
    for cases in ("VIT_CASES", "BERT_CASES"):
        monkeypatch.setattr(known, cases, [case for case in getattr(known, cases) if case[0] in some])
    missed = []
    _, rows = found(gpu_parts.goldens, missed)
    assert missed == []
    figures = {row.split(" | ")[0]: sum("e-" in cell for cell in row.split(" | ")) for row in rows[2:]}
    assert figures == {
        "| ViT, lrp.predicted": 2,
        "| ViT, raw_attention": 1,
        "| BERT, transformer_attribution.start0.class1": 2,
        "| BERT, raw_attention": 1,
    }


def test_a_golden_that_is_not_met_is_missed(monkeypatch):
    monkeypatch.setattr(
        known, "VIT_CASES", [known.VIT_CASES[0], ("raw_attention", known.TO_NO_CLASS["rollout.start0"])]
    )
    monkeypatch.setattr(known, "BERT_CASES", [])
    missed = []
    found(gpu_parts.goldens, missed)
    (only,) = missed
    assert only.startswith("ViT, raw_attention: off by")


def test_maps_are_measured_in_passes_of_the_batch():
    lines, rows = found(gpu_parts.maps)
    assert "as long in float64 as in float32" in lines[0]
    assert any("transformer attribution" in row and "| mixed |" in row for row in rows)
    assert all("off by" not in row for row in rows)  # weights are random


def test_slow_float64_is_said_once_with_the_way_out(monkeypatch):
    monkeypatch.setattr(
        gpu_parts, "seconds", lambda call, device: 32.0 if call().dtype == torch.float64 else 1.0
    )
    assert "takes 32.0 times as long" in gpu_parts._factor(CPU)
    assert "method.dtype=float32" in gpu_parts._factor(CPU)
    monkeypatch.setattr(gpu_parts, "seconds", lambda call, device: 1.0)
    assert "method.dtype" not in gpu_parts._factor(CPU)


def test_the_perturbation_test_is_measured_in_its_passes():
    _, rows = found(gpu_parts.perturbation)
    assert [row.split(" | ")[2] for row in rows[2:]] == ["float32", "bfloat16"]
    assert all("images per second" in row for row in rows[2:])


def test_data_that_are_not_there_are_a_row(tmp_path, monkeypatch):
    options = Namespace(**vars(OPTIONS) | {"data": tmp_path})
    monkeypatch.setattr("tests.speed.precision.SUITES", ("small_real",))
    lines = list(gpu_parts.deviations(options, CPU, []))
    assert lines[-1].startswith("| DeiT-Tiny")
    assert "not run:" in lines[-1]
    assert str(tmp_path) in lines[-1]


# --- the program


def test_what_stops_a_part_is_a_reason():
    def needs(*_):
        yield "a line"
        raise ImportError("No module named 'hydra'")

    def breaks(*_):
        raise RuntimeError("CUDA error\nmore")
        yield

    def takes_long(*_):
        yield "a line"
        time.sleep(30)

    def test(part, seconds=30.0):
        gpu_parts.tried = part
        return run("title", "tests.speed.gpu_parts:tried", OPTIONS, CPU, time.monotonic() + seconds)

    missing, broken, late = test(needs), test(breaks), test(takes_long, 0.2)
    assert missing.reason == "not run: No module named 'hydra'; put a wheel of what is missing into wheels/"
    assert not missing.missed
    assert broken.missed == ["title: not run: RuntimeError: CUDA error"]
    assert late.reason == "not run to its end: the 60 seconds were over"
    assert late.lines == ["a line"]
    assert late.text() == "## title\n\na line\n\n*not run to its end: the 60 seconds were over*"
    del gpu_parts.tried


def test_the_limit_holds_for_what_it_surrounds_only():
    with at_most(0.05), pytest.raises(gpu.TimeIsUpError):
        time.sleep(5)
    with at_most(0.05):
        pass
    time.sleep(0.1)


@pytest.mark.parametrize("missed", [[], ["a golden"]])
def test_the_report_has_all_parts(monkeypatch, tmp_path, capsys, missed):
    output = tmp_path / "card.md"
    monkeypatch.setattr(gpu, "run", lambda title, *_: Section(title, ["| a line |"], list(missed)))
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--output", str(output)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as exit_:
        gpu.main()
    assert exit_.value.code == (1 if missed else 0)
    text = output.read_text()
    assert text.startswith("# ")
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(gpu.PARTS)
    assert ("**missed**: a golden" in text) == bool(missed)


def test_a_device_that_is_not_there_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cuda:99", "--output", str(tmp_path / "card.md")])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as exit_:
        gpu.main()
    assert exit_.value.code == 2
    assert "--device cuda:99" in capsys.readouterr().err


def test_missing_packages_come_from_wheels(monkeypatch, tmp_path):
    wheels, scratch = tmp_path / "wheels", tmp_path / "scratch"
    wheels.mkdir()
    scratch.mkdir()
    for name, tag in (
        ("a_package_of_ours", "py3-none-any"),
        ("torch", "py3-none-any"),
        ("compiled", "cp311-cp311-linux"),
    ):
        with ZipFile(wheels / f"{name}-1.0-{tag}.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "VALUE = 7")
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert carry(wheels, scratch) == ["a_package_of_ours"]
    assert importlib.import_module("a_package_of_ours").VALUE == 7
    del sys.modules["a_package_of_ours"]


def test_the_program_starts_without_any_of_our_dependencies():
    """Whatever is missing is for the parts to report."""
    code = "import sys; import tests.speed.gpu; print([m for m in ('torch', 'hydra', 'timm') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=gpu.PROJECT, check=True
    )
    assert done.stdout.strip() == "[]"
