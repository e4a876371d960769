"""Every metric of ``conf/metric`` on input that leaves little to measure: a defined value, or one clear message.

A metric that is added there is tested here by itself. Which numbers are undefined is written down: an undefined number
is NaN and counts no sample.
"""

import re
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import bench
import bench.tasks
from bench.config import DESCRIPTION, PROJECT, build, configuration
from bench.data import ImageSample
from bench.errors import BenchError
from bench.runner.cell import Plan, run
from tests.support.tiny_images import OPTIONS, TINY
from tests.support.tiny_texts import text_configuration
from tests.support.tiny_texts import write as write_texts

pytestmark = pytest.mark.numerical

METRICS = sorted(path.stem for path in (PROJECT / "conf" / "metric").glob("*.yaml"))
SMALL = (
    *("protocol.robustness.draws=1", "protocol.sanity.seeds=[0]"),
    *("protocol.subsets.sizes=[2,8]", "protocol.subsets.subsets=[6,4]"),
    *(
        "task.metrics.faithfulness_correlation.chosen=[8]",
        "task.metrics.faithfulness_rank_correlation.chosen=[8]",
        "task.metrics.infidelity.chosen=[8]",
    ),
    *(
        "protocol.perturbation.scores.hits=[label,predicted]",
        "protocol.token_f1.scores.rationale=[document,visible]",
    ),
)
CORRELATIONS = ("faithfulness_correlation", "faithfulness_rank_correlation", "sensitivity_n")
COMPARED = ("class_similarity", "parameter_randomisation", "parameter_randomisation_all")
POSITIVE = ("energy", "energy_over_chance")
IN_MASKS = (
    *POSITIVE,
    "pointing_game",
    "pointing_game_tolerant",
    "rank_accuracy",
    "roc_auc",
    "top_k_intersection",
)
OF_TWO_CLASSES = ("class_sensitivity", "class_similarity")
OF_MASKS = ("pixel_accuracy", "map", "miou", "class_sensitivity")

# What is given, as a section of the configuration, a key and its value.
CONSTANT, ZEROS, NEGATIVE, NAN = (
    ("method", "numbers", kind) for kind in ("constant", "zeros", "negative", "nan")
)
OUTSIDE = ("dataset", "mask", "outside")
ONE_CLASS = ("model", "classes", 1)


def none_of(*names):
    return dict.fromkeys(names, 0)


# By modality and input: which numbers are undefined, and on how many of the three samples they are defined. All others
# are defined on all. What cannot be measured there at all is left out, and refused with a message (below).
LEFT_OUT = {OUTSIDE: OF_MASKS, ONE_CLASS: OF_TWO_CLASSES}
UNDEFINED = {
    ("image", None): {},
    ("image", CONSTANT): none_of(*CORRELATIONS, *COMPARED),
    ("image", ZEROS): none_of(
        *CORRELATIONS, *COMPARED, *POSITIVE, "max_sensitivity", "average_sensitivity", "saco"
    ),
    ("image", NEGATIVE): none_of(*POSITIVE),
    ("image", ("dataset", "mask", "empty")): dict.fromkeys(IN_MASKS, 2),
    ("image", ("dataset", "mask", "full")): {"roc_auc": 2, "energy_over_chance": 2},
    ("image", OUTSIDE): dict.fromkeys(IN_MASKS, 2),
    ("image", ONE_CLASS): none_of(*CORRELATIONS, "infidelity", "normalised_aopc"),
    ("text", None): {},
    ("text", CONSTANT): none_of(*COMPARED, "tau_leave_one_out"),
    ("text", ZEROS): none_of(*COMPARED, "tau_leave_one_out"),
    ("text", NEGATIVE): {},
}


@dataclass(frozen=True)
class Given:
    """The same numbers for every sample, whatever the model and the class.

    Args:
        numbers: ``constant``, ``zeros``, ``negative`` (different numbers below 0), ``distinct`` (above) or ``nan``.
    """

    version: ClassVar[int] = 1

    numbers: str = "distinct"

    def __call__(self, forward, inputs, target):
        shape = inputs["input_ids"].shape if isinstance(inputs, dict) else (len(inputs), 17)
        rising = torch.arange(1.0, shape[1] + 1) / 1000
        row = {
            "constant": torch.full_like(rising, 0.25),
            "zeros": torch.zeros_like(rising),
            "negative": -rising,
            "distinct": rising,
            "nan": rising.where(rising != rising[2], torch.nan),
        }[self.numbers]
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
def composed(root, tmp_path_factory):
    """The configuration of a cell with all metrics of a modality, but for those that cannot be measured there."""
    texts = write_texts(tmp_path_factory.mktemp("texts"))
    of_one_class = tmp_path_factory.mktemp("model") / "one.safetensors"
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **(TINY | {"num_classes": 1}))
    save_file(model.state_dict(), of_one_class)

    @cache  # to put so many choices together takes long
    def whole(modality):
        task = {"image": "localisation", "text": "plausibility"}[modality]
        own = re.findall(
            r"/metric@task\.metrics\.(\w+)", (PROJECT / "conf" / "task" / f"{task}.yaml").read_text()
        )
        added = ",".join(name for name in METRICS if name not in own)
        settings = (
            f"task={task}",
            f"+metric={added}",
            "method=custom",
            f"method._target_={__name__}.Given",
            *SMALL,
        )
        if modality == "text":
            return text_configuration(texts, tmp_path_factory.getbasetemp(), *settings)
        return configuration(
            [
                *(*settings, f"dataset._target_={__name__}.Pictures", "~dataset.path"),
                *(
                    "model=timm",
                    "model.architecture=vit_tiny_patch16_224",
                    OPTIONS,
                    "protocol.images.size=32",
                ),
                *(f"model.checkpoint={root / 'tiny.safetensors'}", "device=cpu"),
            ]
        )

    def composed(modality, given=None, left_out=()):
        config = deepcopy(whole(modality))
        config["paths"]["results"] = str(tmp_path_factory.mktemp("results"))
        section, key, value = given or ("method", "numbers", "distinct")
        if (section, key) == ("model", "classes"):
            config["model"]["checkpoint"] = str(of_one_class)
            config["model"]["options"]["num_classes"] = value
        else:
            config[section][key] = value
        metrics = {name: each for name, each in of_modality(config, modality).items() if name not in left_out}
        return config | {"task": config["task"] | {"metrics": metrics}}

    return composed


def of_modality(config, modality):
    """The sections of the metrics whose measurements are of a modality or of both.

    Groups are few, so that all of their orders are gone through.
    """
    chosen = {}
    for name, section in config["task"]["metrics"].items():
        reads = {key: dict(read) for key, read in section["reads"].items()}
        if "aopc_bounds" in reads:
            reads = {key: read | {"groups": 4} for key, read in reads.items()}
            reads["aopc_bounds"]["width"] = None
        if all(build("measurement", read).modality in (None, modality) for read in reads.values()):
            chosen[name] = {**section, "reads": reads}
    return chosen


@pytest.fixture(scope="module")
def outcome(composed):
    """What all metrics of a modality make of some input: the statistics, and the metrics. Each input is run once."""

    @cache
    def outcome(modality, given):
        config = composed(modality, given, LEFT_OUT.get(given, ()))
        run(config)
        plan = Plan.of(config)
        rows = [cell.result().rows for _, cell in plan.measured]
        statistics = plan.task.statistics(dict(zip(plan.task.measured_names(), rows, strict=True)))
        return statistics, plan.task.built_metrics()

    return outcome


@pytest.mark.parametrize(("modality", "given"), UNDEFINED)
def test_every_number_is_in_its_range_or_undefined(outcome, modality, given):
    statistics, built = outcome(modality, given)
    lacking = {}
    for (name, k), statistic in statistics.items():
        least, greatest = built[name].range
        assert np.isnan(statistic.value) == (statistic.count == 0), (name, k)
        assert statistic.count == 0 or least - 1e-6 <= statistic.value <= greatest + 1e-6, (
            name,
            k,
            statistic.value,
        )
        if statistic.count < 3:
            lacking[name] = statistic.count
    lacking.pop("class_sensitivity", None)  # it hangs on the classes that a model of random weights predicts
    assert lacking == UNDEFINED[modality, given]


def test_no_setting_of_a_measurement_is_taken_for_a_description():
    """Keys such as ``order`` describe a choice to readers: a setting of that name would be ignored without a word."""
    measurements = [
        each for each in vars(bench.tasks).values() if hasattr(each, "measure") and is_dataclass(each)
    ]
    assert len(measurements) > 15
    for each in measurements:
        assert not {field.name for field in fields(each)} & DESCRIPTION, each


def test_no_metric_is_left_out(outcome):
    """Each has been measured on images or on texts."""
    measured = {name for modality in ("image", "text") for name, _ in outcome(modality, None)[0]}
    assert measured == set(METRICS)


@pytest.mark.parametrize(
    ("modality", "given", "named"),
    [
        ("image", NAN, r"NaN or infinite relevance for a, b, c"),
        ("text", NAN, r"NaN or infinite relevance for"),
        ("image", ONE_CLASS, r"it has one class, so there is no other to explain"),
        ("image", OUTSIDE, r"segmentation needs masks|needs two objects"),
        ("image", ("dataset", "label", None), r"no class"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_one_message(composed, modality, given, named):
    with pytest.raises(BenchError, match=named):
        run(composed(modality, given))
