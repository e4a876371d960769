"""Batches that fit: halved when memory runs out, doubled while there is room; and the maps that are kept."""

import pandas as pd
import pytest
import torch

import methods
from bench.errors import BenchError
from bench.runner.batches import BatchSize, evaluated
from bench.runner.cell import run
from bench.runner.resources import Memory, is_out_of_memory
from bench.tasks import MaskOverlap
from tests.support.cells import finished, record_of, rows_of

pytestmark = pytest.mark.numerical


class Room:
    """Memory in which ``most`` samples fit."""

    def __init__(self, most):
        self.most, self.size, self.released = most, None, 0

    def has_room_for_twice(self):
        return 2 * self.size.size <= self.most

    def release(self):
        self.released += 1


def in_batches(samples, most, size, grows=False, chunk=8):
    """The sizes in which samples went through memory for ``most`` of them, and the samples in their order."""
    sizes = []
    memory = Room(most)
    batch_size = memory.size = BatchSize(size, memory, grows)

    def evaluate(batch):
        if len(batch) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")
        sizes.append(len(batch))
        return list(batch)

    chunks = iter([samples[i : i + chunk] for i in range(0, len(samples), chunk)])
    results = evaluated(evaluate, chunks, batch_size, across=True)
    return sizes, [sample for result in results for sample in result]


@pytest.mark.parametrize("chunk", [1, 3, 8, 50])
def test_every_sample_goes_through_once_and_in_order(chunk):
    samples = list(range(30))
    assert in_batches(samples, most=100, size=8, chunk=chunk) == ([8, 8, 8, 6], samples)


def test_a_sample_that_is_missing_moves_no_other_into_another_batch():
    batches = []

    def evaluate(batch):
        batches.append(batch)

    list(evaluated(evaluate, iter([[0, 1, 2, 3], [4, 6, 7], [], [8, 9]]), BatchSize(4, Room(9))))
    assert batches == [[0, 1, 2, 3], [4, 6, 7], [8, 9]]


def test_a_batch_that_does_not_fit_is_halved_until_it_does(capsys):
    samples = list(range(21))
    sizes, order = in_batches(samples, most=3, size=8)
    assert order == samples
    assert sizes == [2] * 10 + [1]
    assert capsys.readouterr().err.count("out of memory: going on with batch_size=") == 2


def test_the_batch_size_that_is_found_is_the_largest_that_fits():
    samples = list(range(64))
    sizes, order = in_batches(samples, most=17, size=1, grows=True)
    assert order == samples
    assert sizes == [1, 2, 4, 8, 16, 16, 16, 1]


def test_one_sample_that_does_not_fit_is_an_error():
    with pytest.raises(BenchError, match=r"out of memory with a single sample \(CUDA out of memory"):
        in_batches([1, 2, 3], most=0, size=2)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    def evaluate(batch):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        list(evaluated(evaluate, iter([[1, 2]]), BatchSize(2, Room(9))))


def test_torch_says_that_memory_ran_out_on_the_cpu_in_words_that_are_known():
    with pytest.raises(RuntimeError) as e:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(e.value)


def test_there_is_room_for_little_and_none_for_more_than_the_machine_has(monkeypatch):
    memory = Memory(torch.device("cpu"))
    monkeypatch.setattr(memory, "peak", lambda: memory.before + 2**20)
    assert memory.has_room_for_twice()
    monkeypatch.setattr(memory, "peak", lambda: memory.before + 2**50)
    assert not memory.has_room_for_twice()


def test_the_peak_is_that_of_what_comes():
    held = torch.ones(2**26)  # 256 MiB
    before = Memory(torch.device("cpu")).peak()
    del held
    memory = Memory(torch.device("cpu"))
    assert memory.peak() < before - 2**27
    torch.ones(2**26)
    assert memory.peak() > memory.before + 2**27


class Hungry(methods.RawAttention):
    """A method that cannot take more than two samples at once."""

    def __call__(self, forward, inputs, target=None):
        if len(inputs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().__call__(forward, inputs, target)


def test_a_cell_survives_a_lack_of_memory_with_the_same_rows(configure):
    plain = configure("segmentation", "method=raw_attention", "batch_size=2")
    run(plain)
    own = "method._target_=tests.runner.test_batches.Hungry"
    hungry = configure("segmentation", "method=raw_attention", own)
    run(hungry)
    assert finished(hungry) == finished(plain) == {"maps", "mask_overlap"}
    for kind in ("maps", "mask_overlap"):  # in the end the batches are the same
        pd.testing.assert_frame_equal(rows_of(plain, kind), rows_of(hungry, kind), check_exact=True)
    assert record_of(hungry)["batch_size"] == 2


class Greedy(methods.GradCAM):
    """A method that says that its maps depend on the class, and explains the first one always."""

    def __call__(self, forward, inputs, target=None):
        return super().__call__(forward, inputs, torch.zeros_like(target))


class Scarce(MaskOverlap):
    """A measurement for which memory runs out with more than one sample."""

    def measure(self, explanations):
        if len(explanations.batch.ids) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().measure(explanations)


def test_a_batch_that_is_tried_again_is_checked_again(configure):
    own = ("method=gradcam", "method._target_=tests.runner.test_batches.Greedy")
    reads = "task.metrics.map.reads.mask_overlap._target_=tests.runner.test_batches.Scarce"
    config = configure("segmentation", *own, "batch_size=4", reads)
    run(config)
    assert record_of(config, "maps")["batch_size"] == 1
    assert record_of(config, "maps")["checks"]["notes"] == [
        "the maps of two classes are the same, of a method whose maps depend on the class"
    ]


@pytest.mark.parametrize("task", ["perturbation", "segmentation"])
def test_a_batch_size_that_is_found_gives_the_same_rows(configure, task):
    rows = []
    for size in ("4", "auto"):
        config = configure(task, "method=rollout", f"batch_size={size}", "rerun=true")
        run(config)
        rows.append(rows_of(config))
    pd.testing.assert_frame_equal(*rows, rtol=1e-5)
    record = record_of(config)
    assert record["batch_size"] > 1
    assert record["peak_memory_bytes"] > 2**20


def test_bad_batch_sizes_are_named(configure):
    with pytest.raises(BenchError, match=r"batch_size=some: expected a whole number, 1 or more, or auto"):
        run(configure("segmentation", "method=rollout", "batch_size=some"))
