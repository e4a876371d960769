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
import pytest
import torch

from bench.config import PROJECT
from bench.data import ImageNet
from bench.runner.cell import run
from tests.support.cells import cells_of, finished, rows_of

pytestmark = pytest.mark.numerical

RELEVANCE = ("transformer_attribution", "lrp")
METHODS = (*RELEVANCE, "gradcam", "random")


def bytes_of(config) -> dict[str, bytes]:
    """The files of rows of a run, made anew, by their kind."""
    run(config | {"rerun": True})
    return files_of(config)


def files_of(config) -> dict[str, bytes]:
    """The files of rows of a finished run, by their kind."""
    return {kind: cells_of(config)[kind].rows_file.read_bytes() for kind in finished(config)}


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
        "import bench, json, sys; from bench.runner.cell import run; "
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
    assert files_of(config) == here


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [("batch_size=1",), ("batch_size=9", "num_workers=2"), ("batch_size=5",)])
def test_how_a_cell_is_run_changes_no_hit_and_no_metric(configure, method, how):
    # In mixed precision maps move with the shapes, by 1e-5 of their norm and less, so near ties may swap.
    exact = ("method.dtype=float64",) if method in RELEVANCE else ()
    choice = ("perturbation", f"method={method}", "explained=target", *exact)
    reference = run(config := configure(*choice))
    kinds = ("predictions", "masking")
    before = [rows_of(config, kind) for kind in kinds]
    assert run(configure(*choice, *how, "rerun=true")) == pytest.approx(reference, abs=1e-5)
    for kind, rows in zip(kinds, before, strict=True):
        again = rows_of(config, kind)
        assert list(again) == list(rows)
        for column in rows:
            assert again[column].map(str).equals(rows[column].map(str))


class Lottery:
    """A method that draws from every source of randomness, and says that it is not reproducible."""

    reproducible = False

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
    own = ("perturbation", "method=custom", "method._target_=tests.runner.test_determinism.Lottery")
    first = bytes_of(configure(*own))
    random.seed(None)
    np.random.seed(None)  # noqa: NPY002
    torch.seed()
    assert bytes_of(configure(*own)) == first
    other = bytes_of(configure(*own, "seed=1"))
    assert other["maps"] != first["maps"]
    assert other["masking"] != first["masking"]


def test_what_is_drawn_for_a_map_does_not_depend_on_what_was_kept(configure, tmp_path):
    """A method that draws, with a measurement that asks it twice for each sample: in one pass, or in two."""
    own = ("segmentation", "method=custom", "method._target_=tests.runner.test_determinism.Lottery")
    at_once = configure(*own, "+metric=class_similarity", f"paths.results={tmp_path / 'once'}")
    run(at_once)
    run(configure(*own))
    later = configure(*own, "+metric=class_similarity")
    run(later)
    expected, found = files_of(at_once), files_of(later)
    assert expected.keys() == {"maps", "mask_overlap", "class_comparison"}
    assert found == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_seeds_cover_data_sets_that_draw(configure, workers):
    own = (
        "perturbation",
        "method=gradcam",
        "dataset._target_=tests.runner.test_determinism.NoisyNames",
        f"num_workers={workers}",
    )
    drawn = bytes_of(configure(*own))
    ids = rows_of(configure(*own))["id"]
    assert ids.str.partition(" ")[2].nunique() == len(ids)  # no two workers draw the same
    random.seed(None)
    np.random.seed(None)  # noqa: NPY002
    torch.seed()
    assert bytes_of(configure(*own)) == drawn
