"""A sweep looks at its cells before it computes any: what is stored, what does not fit, what the rest costs."""

import pytest

from bench.runner import sweep
from bench.runner.cell import run
from bench.runner.preflight import Preflight
from bench.runner.settings import check
from tests.support.refusals import refused
from tests.support.sweeps import measured, started


@pytest.fixture
def look():
    return Preflight().look


def test_a_cell_that_is_left_has_a_cost_that_grows_with_its_samples(configure, look):
    few, many = (look(configure("perturbation", "method=gradcam", f"limit={n}")) for n in (2, 6))
    assert few.left
    assert few.refused is None
    assert many.cost == pytest.approx(3 * few.cost)
    dearer = look(configure("perturbation", "method=integrated_gradients", "limit=2"))
    assert dearer.cost > few.cost


def test_a_shard_costs_its_part(configure, look):
    whole = look(configure("perturbation", "method=gradcam"))
    shard = look(configure("perturbation", "method=gradcam", "shards=3", "shard=1"))
    assert shard.cost == pytest.approx(whole.cost / 3)


def test_what_is_stored_makes_no_job(configure, look, capsys):
    config = configure("segmentation", "method=rollout")
    run(config)
    capsys.readouterr()
    assert not look(config).left
    assert "done already" in capsys.readouterr().out
    assert look(configure("segmentation", "method=rollout", "rerun=true")).left


@pytest.mark.parametrize(
    ("task", "settings", "reason"),
    [
        ("perturbation", ["method=oracle"], "no annotation of what is relevant"),
        ("segmentation", ["method=rollout", "explained=target"], "no annotated classes"),
        ("perturbation", ["method=globenc"], "method: "),
        ("perturbation", ["method=rollout", "method.start_layer=7"], "start_layer=7"),
        ("localisation", ["method=rollout", "dataset=imagenet"], "mask"),
        ("perturbation", ["method=rollout", "batch_size=0"], "batch_size=0"),
        (
            "sanity",
            ["method=integrated_gradients"],
            "a map takes about 100 passes, and task=sanity allows 20",
        ),
        ("perturbation", ["method=rollout", "paths.data=/nowhere"], "/nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(configure, look, task, settings, reason):
    verdict = look(configure(task, *settings))
    assert not verdict.left
    assert reason in verdict.refused


def test_looking_keeps_nothing(configure, look, tmp_path):
    assert look(configure("perturbation", "method=rollout")).left
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_method_that_is_refused_for_one_task_is_tried_for_the_others(configure, look):
    assert look(configure("perturbation", "method=oracle")).refused
    assert look(configure("segmentation", "method=oracle")).refused is None


def test_a_setting_decides_and_is_checked(configure):
    with refused("on_refusal=sometimes: expected skip, stop or later"):
        check(configure("perturbation", "method=rollout", "on_refusal=sometimes"))


def test_how_far_a_sweep_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(sweep.VARIABLE, "")
    sweep.begin()
    now = [100.0]
    monkeypatch.setattr(sweep.time, "time", lambda: now[0])
    sweep.begin_jobs(["method=cheap", "method=dear", "method=last"], [1.0, 3.0, 8.0])
    now[0] = 110.0
    assert sweep.done(0, 9.5) == (
        "1 of the sweep's 3 cells done after 0:00:10, about 0:01:50 left; the slowest so far: method=cheap (0:00:10)"
    )
    now[0] = 140.0
    said = sweep.done(1, 30.0)
    assert "2 of the sweep's 3 cells done after 0:00:40, about 0:01:20 left" in said
    assert said.endswith("method=dear (0:00:30)")
    assert "left" not in sweep.done(2, 20.0)
    sweep.end_jobs()
    assert sweep.done(2, 1.0) is None  # not a sweep that is known
    assert not list(tmp_path.glob("outputs/sweeps/*"))


def test_refused_cells_are_said_before_and_after_and_the_others_run(root, tmp_path):
    done = started(tmp_path, root, "method=rollout,globenc,raw_attention")
    assert done.returncode == 2
    before, _, after = done.stderr.partition("2 of the sweep's 2 cells done")
    assert "1 of the sweep's 3 cells cannot be computed and are left out" in before
    *_, heading, reason = after.strip().splitlines()
    assert heading == "1 of the sweep's cells were refused before it started:"
    assert "method=globenc: method: " in reason
    assert reason in before
    assert measured(tmp_path) == 2


def test_a_sweep_may_stop_for_what_does_not_fit(root, tmp_path):
    done = started(tmp_path, root, "method=rollout,globenc", "on_refusal=stop")
    assert done.returncode == 2
    assert "nothing was run" in done.stderr
    assert measured(tmp_path) == 0


def test_a_sweep_of_stored_cells_has_no_jobs(configure, root, tmp_path):
    run(configure("segmentation", "method=rollout"))
    done = started(tmp_path, root, "method=rollout", "batch_size=4")
    assert done.returncode == 0
    assert "done already" in done.stdout
    assert "cells done after" not in done.stderr
