"""Weights & Biases: what is logged, in which group, and that its failure ends nothing."""

import time

import pytest

from bench.errors import BenchError
from bench.run import run
from bench.store import Cell

wandb = pytest.importorskip("wandb")


def test_a_cell_is_logged_offline(configure, wandb_folder):
    run(configure("segmentation", "wandb.mode=offline"))
    (log,) = wandb_folder.glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 60  # a process of wandb's own writes it
    while b"pixel_accuracy" not in log.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert list(log.parent.glob("files/media/table/rows*.json"))


def test_an_unknown_mode_is_named(configure):
    with pytest.raises(BenchError, match=r"wandb\.mode=somewhere"):
        run(configure("segmentation", "wandb.mode=somewhere"))


@pytest.mark.parametrize(
    ("overrides", "sweep", "group"),
    [([], None, "embedded/segmentation"), ([], "an-id", "an-id"), (["wandb.group=mine"], "an-id", "mine")],
)
def test_the_runs_of_a_sweep_are_a_group(configure, monkeypatch, overrides, sweep, group):
    monkeypatch.delenv("BENCH_SWEEP", raising=False)
    if sweep:
        monkeypatch.setenv("BENCH_SWEEP", sweep)
    started = {}

    def init(**arguments):
        started.update(arguments)
        raise wandb.errors.CommError("enough")

    monkeypatch.setattr(wandb, "init", init)
    run(configure("segmentation", "method=rollout", "wandb.mode=offline", *overrides))
    assert started["group"] == group


@pytest.mark.parametrize("fails", ["init", "Table", "Run.log", "Run.finish"])
def test_a_failure_is_said_once_and_the_cell_is_kept(configure, wandb_folder, monkeypatch, capsys, fails):
    def fail(*_, **__):
        raise RuntimeError("no connection\nand more")

    with monkeypatch.context() as broken:
        where, _, name = fails.rpartition(".")
        broken.setattr(getattr(wandb, where) if where else wandb, name, fail)
        config = configure("segmentation", "method=rollout", "wandb.mode=offline")
        assert run(config)["map"] > 0
    assert Cell(config).is_done()
    said = capsys.readouterr().err
    assert said.count("wandb failed") == 1
    assert "wandb failed (no connection); the cell's results are kept" in said
