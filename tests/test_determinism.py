"""The same command gives the same bytes; how it is run does not change what is measured.

Bytes are compared only where machine, libraries, number of threads and the shapes of batches are the same.
"""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bench.config import PROJECT
from bench.data import ImageNet
from bench.run import run
from bench.store import Cell

pytestmark = pytest.mark.numerical

METHODS = ("transformer_attribution", "lrp", "gradcam", "random")


def bytes_of(config) -> bytes:
    run(config | {"rerun": True})
    return Cell(config).rows_file.read_bytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["perturbation", "segmentation"])
def test_the_same_cell_twice_is_the_same_to_the_byte(configure, task, method):
    config = configure(task, f"method={method}", "protocol=clean", "protocol.images.size=32")
    assert bytes_of(config) == bytes_of(config)


def test_another_process_writes_the_same_bytes(configure):
    """Whatever Python's hash seed is."""
    config = configure("segmentation", "method=lrp")
    here = bytes_of(config)
    code = (
        "import bench, json, sys; from bench.run import run; "
        "run(json.load(sys.stdin) | {'rerun': True, 'num_workers': 1})"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(config),
        text=True,
        check=True,
        cwd=PROJECT,
        env=os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert Cell(config).rows_file.read_bytes() == here


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [("batch_size=1",), ("batch_size=9", "num_workers=2"), ("batch_size=5",)])
def test_how_a_cell_is_run_changes_no_hit_and_no_metric(configure, method, how):
    choice = ("perturbation", f"method={method}", "explained=target")
    reference = run(configure(*choice))
    rows = pd.read_parquet(Cell(configure(*choice)).rows_file)
    assert run(configure(*choice, *how, "rerun=true")) == pytest.approx(reference, abs=1e-5)
    again = pd.read_parquet(Cell(configure(*choice)).rows_file)
    # Classes exactly: the logits of the two best are 3e-3 of their deviation apart or more, in every step.
    for column in ("id", "predicted", "positive_predictions", "negative_predictions"):
        assert again[column].map(str).equals(rows[column].map(str))


class Lottery:
    """A method that draws from every source of randomness."""

    def __call__(self, forward, inputs, target=None):
        drawn = random.random() + np.random.random(17) + torch.rand(len(inputs), 17).numpy()  # noqa: NPY002
        return torch.from_numpy(drawn)


class NoisyNames(ImageNet):
    """A data set that draws from every source of randomness, in whatever process reads it."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        draws = (random.random(), np.random.random(), torch.rand(()).item())  # noqa: NPY002
        return replace(sample, id=f"{sample.id} {draws}")


def test_seeds_cover_methods_that_draw(configure):
    own = ("perturbation", "method=custom", "method._target_=tests.test_determinism.Lottery")
    first = bytes_of(configure(*own))
    random.seed(None)
    np.random.seed(None)  # noqa: NPY002
    torch.seed()
    assert bytes_of(configure(*own)) == first
    assert bytes_of(configure(*own, "seed=1")) != first


@pytest.mark.parametrize("workers", [0, 2])
def test_seeds_cover_data_sets_that_draw(configure, workers):
    own = (
        "perturbation",
        "method=gradcam",
        "dataset._target_=tests.test_determinism.NoisyNames",
        f"num_workers={workers}",
    )
    drawn = bytes_of(configure(*own))
    ids = pd.read_parquet(Cell(configure(*own)).rows_file)["id"]
    assert ids.str.partition(" ")[2].nunique() == len(ids)  # no two workers draw the same
    random.seed(None)
    np.random.seed(None)  # noqa: NPY002
    torch.seed()
    assert bytes_of(configure(*own)) == drawn
