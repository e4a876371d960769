"""Every metric of ``conf/metric`` on input that leaves little to measure: a defined value, or one clear message.

A metric that is added there is tested here by itself. Which numbers are undefined is written down: an undefined number
is NaN and counts no sample.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import bench  # noqa: F401
from bench.config import PROJECT, build, configuration
from bench.data import ImageSample
from bench.errors import BenchError
from bench.runner.cell import Plan, run
from tests.support.tiny_images import OPTIONS
from tests.support.tiny_texts import text_configuration
from tests.support.tiny_texts import write as write_texts

pytestmark = pytest.mark.numerical

METRICS = sorted(path.stem for path in (PROJECT / "conf" / "metric").glob("*.yaml"))
SMALL = (
    *("protocol.robustness.draws=1", "protocol.sanity.seeds=[0]"),
    *("protocol.subsets.sizes=[2,20]", "protocol.subsets.subsets=[6,4]"),
)
SUBSETS = {"faithfulness_correlation", "faithfulness_rank_correlation", "sensitivity_n"}
LOCALISATION = {
    *("pointing_game", "pointing_game_tolerant", "energy", "energy_over_chance"),
    *("rank_accuracy", "roc_auc", "top_k_intersection"),
}


@dataclass(frozen=True)
class Given:
    """The same numbers for every sample, whatever the model and the class.

    Args:
        kind: ``constant``, ``zeros``, ``negative`` (different numbers below 0), ``distinct`` (above) or ``nan``.
    """

    version: ClassVar[int] = 1

    kind: str = "distinct"

    def __call__(self, forward, inputs, target):
        shape = inputs["input_ids"].shape if isinstance(inputs, dict) else (len(inputs), 17)
        rising = torch.arange(1.0, shape[1] + 1) / shape[1]
        row = {
            "constant": torch.full_like(rising, 0.25),
            "zeros": torch.zeros_like(rising),
            "negative": -rising,
            "distinct": rising,
            "nan": rising.where(rising < 1, torch.nan),
        }[self.kind]
        return row.expand(*shape)


class Pictures:
    """Three pictures of noise with a mask each, the first of the given kind.

    Args:
        mask: ``half``, ``empty`` (no pixel), ``full`` or ``outside`` (boxes, the first outside the picture).
        label: None where there are no annotated classes.
    """

    version = 1
    classes = None

    def __init__(self, mask: str = "half", label: int | None = 0):
        self.mask, self.label = mask, label
        self.ids = ["a", "b", "c"]

    def __len__(self):
        return 3

    def __getitem__(self, index):
        pixels = np.random.default_rng(index).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), dtype=bool)
        mask[:, :16] = True
        boxes = None
        if self.mask == "outside":
            boxes = [(40.0, 40.0, 50.0, 60.0)] if index == 0 else [(0.0, 0.0, 16.0, 32.0)]
        elif index == 0 and self.mask != "half":
            mask[:] = self.mask == "full"
        given = (
            {"mask": None, "boxes": boxes} if boxes else {"mask": mask, "other_label": 1, "other_mask": ~mask}
        )
        return ImageSample(self.ids[index], Image.fromarray(pixels), self.label, **given)


@pytest.fixture(scope="module")
def outcome(root, tmp_path_factory):
    """What all metrics of a modality make of some input: the statistic and the range of each, run once."""
    texts = write_texts(tmp_path_factory.mktemp("texts"))

    def composed(modality, *overrides):
        results = tmp_path_factory.mktemp("results")
        method = ("method=custom", f"method._target_={__name__}.Given")
        if modality == "text":
            every = (*method, f"+metric={','.join(METRICS)}", *SMALL, *overrides)
            return text_configuration(texts, results, "task=plausibility", *every)
        return configuration(
            [
                *("task=localisation", f"+metric={','.join(METRICS)}"),
                *(f"dataset._target_={__name__}.Pictures", "~dataset.path"),
                *("model=timm", "model.architecture=vit_tiny_patch16_224", OPTIONS),
                *(f"model.checkpoint={root / 'tiny.safetensors'}", "protocol.images.size=32", "device=cpu"),
                *(f"paths.data={root}", f"paths.results={results}", *method, *SMALL, *overrides),
            ]
        )

    @cache
    def outcome(modality, *overrides):
        config = composed(modality, *overrides)
        config = config | {"task": config["task"] | {"metrics": of_modality(config, modality)}}
        run(config)
        plan = Plan.of(config)
        rows = [cell.result().rows for _, cell in plan.measured]
        statistics = plan.task.statistics(dict(zip(plan.task.measured_names(), rows, strict=True)))
        return statistics, plan.task.built_metrics()

    return outcome


def of_modality(config, modality):
    """The sections of the metrics whose measurements are of a modality or of both; groups are few, so that all
    orders are gone through."""
    chosen = {}
    for name, section in config["task"]["metrics"].items():
        reads = {key: dict(read) for key, read in section["reads"].items()}
        for read in reads.values():
            read |= {"groups": 4} if "aopc_bounds" in reads and "groups" in read else {}
            read |= {"width": None} if "width" in read else {}
        if all(build("measurement", read).modality in (None, modality) for read in reads.values()):
            chosen[name] = {**section, "reads": reads}
    return chosen


# By modality and input: what is undefined for some sample. All else is defined for all three.
UNDEFINED = {}


@pytest.mark.parametrize(("modality", "overrides"), UNDEFINED)
def test_every_number_is_in_its_range_or_undefined(outcome, modality, overrides):
    statistics, built = outcome(modality, *overrides)
    lacking = {}
    for (name, k), statistic in statistics.items():
        least, greatest = built[name].range
        value = statistic.value
        assert statistic.count < 3 or np.isfinite(value), (name, k)
        assert np.isnan(value) or least - 1e-6 <= value <= greatest + 1e-6, (name, k, value)
        assert np.isnan(value) == (statistic.count == 0), (name, k)
        if statistic.count < 3:
            lacking[name] = statistic.count
    assert lacking == UNDEFINED[modality, overrides]


def test_no_metric_is_left_out(outcome):
    """Each has been measured on images or on texts."""
    measured = {name for modality in ("image", "text") for name, _ in outcome(modality)[0]}
    assert measured == set(METRICS)
