"""Weights & Biases: what is logged, in which group, and that its failure ends nothing."""

import threading
import time

import pytest

from bench.errors import BenchError
from bench.runner import tracking
from bench.runner.cell import run
from bench.store.files import is_claimed
from tests.support.cells import cell_of, finished

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """As if logging had never failed in this process."""
    monkeypatch.setattr(tracking, "_failed", False)


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
    assert finished(config) == {"maps", "mask_overlap"}
    said = capsys.readouterr().err
    assert said.count("wandb failed") == 1
    assert "wandb failed (no connection); the cell's results are kept" in said


def test_after_a_failure_nothing_more_is_tried(configure, monkeypatch, capsys):
    """A server that is down would cost each cell of a sweep as long again."""
    tried = []

    def init(**arguments):
        tried.append(arguments["name"])
        raise wandb.errors.CommError("no connection")

    monkeypatch.setattr(wandb, "init", init)
    for method in ("rollout", "raw_attention"):
        assert run(configure("segmentation", f"method={method}", "wandb.mode=online")) is not None
    assert len(tried) == 1
    assert capsys.readouterr().err.count("wandb failed") == 1


def test_a_server_that_never_answers_is_waited_for_in_vain_for_a_short_time_only(
    configure, monkeypatch, capsys
):
    """And meanwhile no other process waits: the cell is finished and free."""
    never, free = threading.Event(), []
    config = configure("segmentation", "method=rollout", "wandb.mode=online")
    lock = cell_of(config).lock_file("0-of-1")

    def init(**_):
        free.append((finished(config) == {"maps", "mask_overlap"}) and not is_claimed(lock))
        never.wait(60)

    monkeypatch.setattr(tracking, "PATIENCE", 0.5)
    monkeypatch.setattr(wandb, "init", init)
    assert run(config)["map"] > 0
    never.set()
    assert free == [True]
    assert "wandb failed (no answer in 1.0 seconds)" in capsys.readouterr().err
