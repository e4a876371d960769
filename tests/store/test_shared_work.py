"""What takes many passes and is the same for all methods is computed by one process of several at once."""

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bench.runner.cell import run
from bench.store.files import claimed
from bench.tasks import SubsetDrops
from tests.support.cells import cells_of, finished, rows_of

METRIC = "task.metrics.faithfulness_correlation"
OWN = {"maps", "subset_sums"}


@dataclass(frozen=True)
class Counted(SubsetDrops):
    """The drops, slowly, with a line in a file for each sample."""

    log: str = ""

    def measure(self, explanations):
        with Path(self.log).open("a") as log:
            log.writelines(f"{name}\n" for name in explanations.batch.ids)
        time.sleep(0.3)
        return super().measure(explanations)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def correlated(configure, log):
    """A cell with the faithfulness correlation as its one metric."""

    def correlated(method, *more):
        config = configure(
            "faithfulness",
            f"method={method}",
            "protocol.subsets.sizes=[2,20]",
            "protocol.subsets.subsets=[6,2]",
            f"{METRIC}.reads.subset_drops._target_=tests.store.test_shared_work.Counted",
            f"+{METRIC}.reads.subset_drops.log={log}",
            *more,
        )
        task, name = config["task"], METRIC.rpartition(".")[2]
        return config | {"task": task | {"metrics": {name: task["metrics"][name]}}}

    return correlated


def work(config, answer):
    torch.set_num_threads(1)
    answer.put(run(config) is not None)


def at_once(configs):
    """Run each in a process of its own, all at the same time: whether each gave its metrics."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["bench.runner.cell", "bench.models.image", "timm"])
    answer = processes.Queue()
    every = [processes.Process(target=work, args=(config, answer)) for config in configs]
    for process in every:
        process.start()
    found = [answer.get(timeout=120) for _ in every]
    for process in every:
        process.join()
    return found


def test_one_computes_and_the_others_wait(correlated, log, one_thread):
    configs = [correlated(method, "on_busy=wait") for method in ("rollout", "raw_attention", "random")]
    assert all(at_once(configs))
    assert len(log.read_text().split()) == 9  # images, each once
    for config in configs:
        assert finished(config) == {*OWN, "subset_drops"}
        assert len(rows_of(config, "subset_drops")) == 9


def test_methods_do_their_own_first_and_leave_what_another_process_is_at(correlated, log, capsys):
    config = correlated("rollout")
    with claimed(cells_of(config)["subset_drops"].lock_file("0-of-1"), wait=False):
        assert run(config) is None
        assert finished(config) == OWN
        assert not log.exists()
        assert "left to process" in capsys.readouterr().err
    assert not [cell for cell in cells_of(config).values() if cell.failure()]  # to be left is not to fail
    assert run(config) is not None
    assert finished(config) == {*OWN, "subset_drops"}


def test_shards_compute_their_own_samples_of_it(correlated, log, one_thread):
    configs = [
        correlated(method, "shards=2", f"shard={shard}", "batch_size=2", "on_busy=wait")
        for method in ("rollout", "random")
        for shard in range(2)
    ]
    at_once(configs)
    assert len(log.read_text().split()) == 9
    assert finished(configs[0]) == finished(configs[2]) == {*OWN, "subset_drops"}
