"""Every configuration file composes, and what it names exists and takes its arguments."""

import inspect
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import ClassVar

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

import bench  # noqa: F401
import methods
from bench.catalogue import CONF, PROJECT, Catalogue
from bench.config import (
    DESCRIPTION,
    build,
    configuration,
    fingerprint,
    flatten,
    method_section,
    resolved,
    swept,
    with_metrics,
)
from bench.errors import BenchError
from bench.models.preprocessing import ImageSettings
from bench.tasks import Masking, MaskOverlap, RationaleOverlap
from metrics import Metric, Statistic

OF_THE_PAPER = ("perturbation", "segmentation", "token_f1")
TASKS = (
    *OF_THE_PAPER,
    "faithfulness",
    "faithfulness_texts",
    "localisation",
    "plausibility",
    "robustness",
    "sanity",
    "faithfulness_decoders",
    "fill_study",
    "orders",
)
METHODS = ("gradcam", "lrp", "partial_lrp", "raw_attention", "rollout", "transformer_attribution")
ALL_BLOCKS = ("transformer_attribution_all_blocks", "rollout_all_blocks")
ABLATIONS = ("without_gradient", "last_block_only", "second_block_only")
REFERENCES = (
    "random",
    "centre",
    "edges",
    "mean_annotation",
    "first_words",
    "inverse_frequency",
    "content_words",
    "oracle",
    "reversed_oracle",
)
OWN_DATA = ("image_folder", "image_table", "text_file", "text_table")  # wherever the user has them
# Nothing of the project's own that explains a model.
NO_METHODS = ("custom", "mean_annotation", "oracle", "reversed_oracle")

composed = cache(lambda *arguments: configuration(arguments))  # putting the files together takes longest


def choices(group: str) -> list[str]:
    folder = CONF / group
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))


def test_there_is_a_file_per_method():
    assert {*METHODS, *ALL_BLOCKS, *ABLATIONS, *REFERENCES, "custom"} <= set(choices("method"))
    targets = {method_section(name, [])["_target_"] for name in choices("method") if name != "custom"}
    offered = {f"methods.{name}" for name in methods.__all__ if hasattr(getattr(methods, name), "passes")}
    assert offered <= targets


def test_methods_have_places_and_titles_of_their_own():
    sections = [method_section(name, []) for name in choices("method") if name != "custom"]
    for key in ("order", "title"):
        assert len({section[key] for section in sections}) == len(sections)


@pytest.mark.parametrize("name", [name for name in choices("method") if name not in NO_METHODS])
def test_a_method_is_built_from_its_file_and_says_what_it_costs(name):
    section = method_section(name, [])
    cost = build("method", section).passes(197, 12)
    assert cost.forward >= (0 if section["kind"] == "floor" else 1)
    assert cost.backward >= 0


def test_tasks_are_found_in_the_order_of_the_paper():
    assert tuple(Catalogue().tables()) == TASKS


def takes_its_arguments(section: dict, left_out=frozenset(DESCRIPTION)) -> None:
    """What a section names exists, and can be called with what else is in it."""
    target = pkgutil.resolve_name(section["_target_"])
    inspect.signature(target).bind(**{k: v for k, v in section.items() if k not in left_out})


def in_suite(suite: str, task: str):
    """A cell of the paper's protocol; slow where a task of many metrics has the data and models of another."""
    is_slow = task == "fill_study" and suite != "embedded"
    return pytest.param("paper", suite, task, marks=[pytest.mark.slow] if is_slow else [])


# Data and models depend on the suite and the task, what is measured on the protocol and the task.
@pytest.mark.parametrize(
    ("protocol", "suite", "task"),
    [
        *(in_suite(*choice) for choice in product(choices("suite"), TASKS)),
        *(("clean", "embedded", task) for task in TASKS),
    ],
)
def test_every_cell_composes_and_its_targets_take_its_arguments(protocol, suite, task):
    config = composed(f"suite={suite}", f"protocol={protocol}", f"task={task}")
    assert config["task"]["name"] == task
    for section in ("dataset", "model"):
        takes_its_arguments(config[section])
    takes_its_arguments(config["task"], {"_target_"})
    for metric in config["task"]["metrics"].values():
        takes_its_arguments(metric, {"_target_", "reads"})
        for measurement in metric["reads"].values():
            takes_its_arguments(measurement)
    assert build("task", config["task"], {"_target_"}).built_metrics()
    # All that a method refers to is what the test below has tried every method with.
    tried = composed(*tried_with(protocol, config["task"]["modality"]))
    assert config["protocol"] == tried["protocol"]
    assert config["seed"] == tried["seed"]


def tried_with(protocol: str, modality: str) -> tuple[str, str]:
    """Under what every method is tried: a task that is quickly composed stands for all of its modality."""
    return f"protocol={protocol}", "task=" + {"image": "segmentation", "text": "token_f1"}[modality]


@pytest.mark.parametrize(("protocol", "modality"), [*product(choices("protocol"), ("image", "text"))])
def test_every_method_takes_its_arguments_under_every_protocol(protocol, modality):
    arguments = tried_with(protocol, modality)
    assert composed(*arguments)["task"]["modality"] == modality
    for method in (name for name in choices("method") if name != "custom"):
        section = method_section(method, arguments)
        assert section["name"] == method
        takes_its_arguments(section)


@pytest.mark.parametrize("method", choices("method"))
def test_a_method_refers_to_the_protocol_for_its_modality_and_to_the_seed_alone(method):
    """So it is the same in every task of a modality and in every suite."""
    content = str(Catalogue().read("method", method))
    assert set(re.findall(r"\$\{[\w.]*", content)) <= {"${protocol.methods.", "${task.modality", "${seed"}


def composing(group: str, choice: str):
    """A choice to compose; slow for those methods whose files hold values alone, which many tests read."""
    is_plain = not re.search(
        r"^defaults:|\$\{|\?\?\?", (CONF / group / f"{choice}.yaml").read_text(), re.MULTILINE
    )
    return pytest.param(group, choice, marks=[pytest.mark.slow] if group == "method" and is_plain else [])


@pytest.mark.parametrize(
    ("group", "choice"),
    [composing(group, choice) for group in ("dataset", "model", "method") for choice in choices(group)],
)
def test_every_choice_composes_by_name(group, choice):
    required = {
        "model/timm": ["model.architecture=x"],
        "model/transformers": ["model.path=x"],
        "model/transformers_image": ["model.path=x"],
        "model/torch": ["model._target_=torch.nn.Identity"],
        "method/custom": ["method._target_=methods.LRP"],
        **{f"dataset/{kind}": ["dataset.path=/x/mine"] for kind in OWN_DATA},
    }
    section = composed(f"{group}={choice}", *required.get(f"{group}/{choice}", []))[group]
    assert section["_target_"]
    assert section["name"]
    if group == "method" and choice != "custom":
        assert section == method_section(choice, [])  # which composes nothing


@cache
def owners() -> dict[str, list[str]]:
    """The tasks that have each metric of their own."""
    own = {task: composed("protocol=clean", f"task={task}")["task"]["metrics"] for task in TASKS}
    return {metric: [task for task in TASKS if metric in own[task]] for metric in choices("metric")}


def is_built_of(config: dict, metric: str) -> None:
    """A task makes a metric of a section with this name."""
    built = build("task", config["task"], {"_target_"}).built_metrics()[metric]
    assert built.title == config["task"]["metrics"][metric]["title"]
    assert built.range[0] < built.range[1]


@pytest.mark.parametrize("metric", choices("metric"))
def test_every_metric_belongs_to_a_task_or_can_be_added_to_one(metric):
    own = owners()[metric]
    for task in own or ["segmentation"]:
        added = [] if own else [f"+metric={metric}"]
        is_built_of(composed("protocol=clean", f"task={task}", *added), metric)


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_without_a_task_can_be_added_to_any(task):
    without = [metric for metric, own in owners().items() if not own]
    config = composed("protocol=clean", f"task={task}", f"+metric={','.join(without)}")
    assert without
    for metric in without:
        is_built_of(config, metric)


def test_metrics_are_added_by_name_and_by_their_class():
    config = configuration(["task=segmentation", "+metric=class_similarity"])
    metrics = config["task"]["metrics"]
    assert list(metrics) == ["pixel_accuracy", "map", "miou", "class_similarity"]
    assert with_metrics(["+metric=a,b", "limit=2"]) == [
        *("+metric@task.metrics.a=a", "+metric@task.metrics.b=b", "limit=2")
    ]
    own = ["metric._target_=tests.test_config.Share", "metric.least=3", "metric.name=share"]
    metrics = configuration(["task=segmentation", *own])["task"]["metrics"]
    assert metrics["share"]["least"] == 3
    assert list(metrics["share"]["reads"]) == ["mask_overlap"]
    built = build("task", configuration(["task=segmentation", *own])["task"], {"_target_"}).built_metrics()
    assert isinstance(built["share"], Share)
    with pytest.raises(BenchError, match=r"metric\.least: name the metric itself"):
        configuration(["task=segmentation", "metric.least=3"])
    with pytest.raises(BenchError, match=r"metric\._target_=no\.Such cannot be imported"):
        configuration(["task=segmentation", "metric._target_=no.Such"])


@dataclass(frozen=True, kw_only=True)
class Share(Metric):
    """A metric of one's own, for the test above."""

    measurements: ClassVar = ("mask_overlap",)

    least: int

    def statistics(self, columns):
        return {0: Statistic.mean(np.asarray(columns["correct"]) >= self.least)}


def test_a_choice_beats_the_suites():
    config = configuration(["suite=paper", "task=segmentation", "dataset=imagenet", "dataset.path=/x"])
    assert config["dataset"]["path"] == "/x"
    assert config["model"]["name"] == "vit_base_patch16_224"


def methods_of(experiment: str, protocol: str) -> list[str]:
    """The methods that an experiment sweeps over, each once."""
    cells = swept(experiment, [f"protocol={protocol}"])
    return list(dict.fromkeys(cell["method"]["name"] for cell in cells))


@pytest.mark.parametrize(
    ("experiment", "references"),
    [("table1", {"random"}), ("table2", {"random", "oracle"}), ("figure4", {"random", "oracle"})],
)
def test_experiments_sweep_all_methods_between_floor_and_ceiling(experiment, references):
    assert sorted(methods_of(experiment, "paper")) == sorted({*METHODS} | references)
    added = {"transformer_attribution_all_blocks"} if experiment == "figure4" else {*ALL_BLOCKS}
    assert sorted(methods_of(experiment, "clean")) == sorted({*METHODS} | references | added)


@pytest.mark.parametrize("protocol", choices("protocol"))
def test_the_ablation_compares_the_whole_with_its_parts(protocol):
    compared = ["transformer_attribution", *ABLATIONS, "random"]
    assert methods_of("ablation_perturbation", protocol) == compared
    assert methods_of("ablation_segmentation", protocol) == [*compared, "oracle"]


def test_protocols_spell_out_the_same_settings():
    def keys(settings) -> set[str]:
        return set(flatten(settings)) - {"name", "version"}

    settings = [composed(f"protocol={name}")["protocol"] for name in choices("protocol")]
    assert all(keys(other) == keys(settings[0]) for other in settings)
    assert len({s["name"] for s in settings}) == len(settings) == 2
    assert {s["name"] for s in settings} == set(choices("protocol"))
    assert all(isinstance(s["version"], int) for s in settings)


def test_all_blocks_are_rolled_up_from_the_first():
    for method, task in product(ALL_BLOCKS, ("segmentation", "token_f1")):
        config = composed(f"task={task}", f"method={method}", "protocol=clean")
        assert config["method"]["start_layer"] == 0
        assert config["method"]["name"] == method


def test_protocols_decide_how_methods_treat_images_and_text():
    image = configuration(["task=segmentation", "method=transformer_attribution"])["method"]
    text = configuration(["task=token_f1", "method=transformer_attribution"])["method"]
    assert (image["start_layer"], image["normalise_rows"]) == (1, False)
    assert (text["start_layer"], text["normalise_rows"]) == (-1, True)


def test_every_protocol_setting_is_reachable_by_name():
    config = configuration(["protocol.perturbation.fill=mean", "method=rollout", "method.start_layer=0"])
    (masking,) = (
        m for _, m in build("task", config["task"], {"_target_"}).measurements() if m.name == "masking"
    )
    assert masking.fill == "mean"
    assert config["method"]["start_layer"] == 0


def test_the_data_root_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("BENCH_DATA", "/somewhere")
    assert configuration(["suite=paper"])["dataset"]["path"] == "/somewhere/imagenet"
    monkeypatch.delenv("BENCH_DATA")
    assert configuration(["suite=paper"])["dataset"]["path"] == str(PROJECT / "data" / "imagenet")


def test_a_missing_method_is_named():
    with (
        initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(BenchError, match=r"method=rollout"),
    ):
        resolved(compose("bench"))


def test_an_unknown_key_is_named():
    with pytest.raises(BenchError, match="no_such_key"):
        configuration(["protocol.no_such_key=1"])
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(HydraException, match="no_such"):
        compose("bench", overrides=["method=no_such"])


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"_target_": "no_such_package.Method"}, "cannot be imported"),
        ({"_target_": "methods.NoSuchMethod"}, "cannot be imported"),
        ({"_target_": "methods.Rollout", "no_such_argument": 1}, "no_such_argument"),
        ({"_target_": "methods.GradCAM", "weights": "none"}, "'row' or 'matrix'"),
    ],
)
def test_what_cannot_be_built_is_named(choice, expected):
    with pytest.raises(BenchError, match=expected):
        build("method", choice)


IMAGES = {"size": 224, "resize": "squash", "interpolation": "bilinear"}


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Masking(steps=[0.1, 0.2], fill="black"), "perturbation.steps"),
        (lambda: Masking(steps=[0, 0.5, 0.2], fill="black"), "perturbation.steps"),
        (lambda: Masking(steps=[0, 1.1], fill="black"), "perturbation.steps"),
        (lambda: Masking(steps=[0, 0.5], fill="pink"), "perturbation.fill"),
        (lambda: Masking(steps=[0, 0.5], fill="blur"), "perturbation.blur_sigma"),
        (lambda: MaskOverlap("median"), "segmentation.threshold"),
        (lambda: ImageSettings.of(IMAGES | {"resize": "crop"}), "images.resize"),
        (lambda: ImageSettings.of(IMAGES | {"interpolation": "x"}), "images.interpolation"),
        (lambda: ImageSettings.of(IMAGES | {"resize": "model"}), "images.interpolation"),
        (lambda: RationaleOverlap(k=[0]), "token_f1.k"),
        (lambda: RationaleOverlap(k=[]), "token_f1.k"),
        (lambda: RationaleOverlap(k=[5], word_score="sum"), "token_f1.word_score"),
    ],
)
def test_settings_out_of_range_are_named(make, key):
    with pytest.raises(BenchError, match=key):
        make()


@pytest.mark.parametrize(
    ("task", "setting", "value"),
    [
        ("perturbation", "hits", "[]"),
        ("perturbation", "hits", "[target]"),
        ("perturbation", "only_correct", "often"),
        ("token_f1", "rationale", "[half]"),
        ("token_f1", "only_correct", "2"),
    ],
)
def test_scores_out_of_range_are_named_also_where_only_tables_are_made(task, setting, value):
    key = f"protocol.{task}.scores.{setting}"
    with pytest.raises(BenchError, match=re.escape(key)):
        configuration([f"task={task}", f"{key}={value}"])


def test_the_fingerprint_changes_with_any_value_and_not_with_the_order():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
