"""What is done, running, failed and missing, and how long the rest will take."""

import json
import subprocess
import sys

import pytest

from bench import status as status_module
from bench.locks import claimed
from bench.run import run
from bench.status import Line, main, status
from bench.store import Cell
from tests.test_faults import interrupted


@pytest.fixture
def overrides(configure, tmp_path, monkeypatch):
    """Those of the tiny cells; the experiments sweep over three methods."""
    config = configure("segmentation", "method=rollout")
    cells = [configure("segmentation", f"method={name}") for name in ("rollout", "lrp", "gradcam")]
    monkeypatch.setattr(status_module, "swept", lambda experiment, others: cells)
    return ["task=segmentation", f"paths.results={config['paths']['results']}"]


def states(lines):
    return {line.method: line.state for line in lines}


def test_states_and_counts(configure, overrides):
    assert states(status(overrides)) == {"rollout": "missing", "lrp": "missing", "gradcam": "missing"}
    run(configure("segmentation", "method=gradcam"))
    with claimed(Cell(configure("segmentation", "method=lrp")).lock_file("0-of-1"), wait=False):
        lines = status(overrides)
    assert states(lines) == {"rollout": "missing", "lrp": "running", "gradcam": "done"}
    assert lines[-1].state == "done"
    assert (lines[-1].done, lines[-1].samples) == (4, 4)
    assert lines[-1].per_second > 0
    with pytest.raises(Exception, match="start_layer"):
        run(configure("segmentation", "method=rollout", "method.start_layer=9"))
    assert states(status(overrides))["rollout"] == "missing"  # that was another cell
    with pytest.raises(Exception, match="cuda:77"):
        run(configure("segmentation", "method=rollout", "device=cuda:77"))
    failed = next(line for line in status(overrides) if line.method == "rollout")
    assert failed.state == "failed"
    assert "cuda:77" in failed.note


def test_a_cell_that_was_stopped(configure, overrides):
    config = interrupted(configure)
    line = next(line for line in status(overrides) if line.state != "missing")
    assert (line.state, line.done, line.samples) == ("stopped", 2, 4)
    assert line.note == "2 of 4 samples are missing"
    assert line.seconds_left == pytest.approx(2 / line.per_second)
    with claimed(Cell(config).lock_file("0-of-1"), wait=False):
        assert next(line for line in status(overrides) if line.done == 2).state == "running"


def test_a_cell_of_which_nothing_is_saved_yet_is_running_however_it_is_cut(configure, overrides):
    with claimed(Cell(configure("segmentation", "method=lrp")).lock_file("3-of-4"), wait=False):
        assert states(status(overrides))["lrp"] == "running"


def test_estimates_come_from_cells_of_the_same_method_or_else_of_any():
    def line(method, state="missing", **known):
        return Line(method, "segmentation", method, "predicted", state, **known)

    done = [
        line("lrp", "done", done=100, samples=100, per_second=2.0, seconds_left=0.0),
        line("rollout", "done", done=100, samples=100, per_second=10.0, seconds_left=0.0),
        line("rollout", "done", done=100, samples=100, per_second=20.0, seconds_left=0.0),
    ]
    same, other = line("rollout"), line("gradcam")
    elsewhere = Line("x", "perturbation", "rollout", "predicted", "missing")
    status_module._estimate([*done, same, other, elsewhere])
    assert same.seconds_left == pytest.approx(100 / 15)
    assert other.seconds_left == pytest.approx(100 / 10)
    assert elsewhere.seconds_left is None


def test_the_command_prints_a_table_or_json(configure, overrides, capsys):
    run(configure("segmentation", "method=gradcam"))
    capsys.readouterr()
    main(overrides)
    printed = capsys.readouterr().out
    assert "| done " in printed
    assert "2 missing, 1 done; left: " in printed
    main([*overrides, "--json"])
    assert {line["state"] for line in json.loads(capsys.readouterr().out)} == {"missing", "done"}


def test_the_cells_of_a_suite_are_known_before_any_is_run(tmp_path):
    command = [sys.executable, "-m", "bench.status", "--json", f"paths.results={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = json.loads(done.stdout)
    assert {line["task"] for line in lines} == {"perturbation", "segmentation", "token_f1"}
    assert {line["state"] for line in lines} == {"missing"}
    assert sum(line["task"] == "perturbation" for line in lines) == 2 * 7 + 3
    assert not list(tmp_path.iterdir())
