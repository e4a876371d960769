"""Every configuration file composes, and what it names exists and takes its arguments."""

import inspect
import pkgutil
from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

import bench  # noqa: F401
from bench.config import CONF, DESCRIPTION, PROJECT, build, configuration, fingerprint, resolved
from bench.errors import BenchError
from bench.store import flatten
from bench.tasks import Perturbation, Segmentation, TokenF1

TASKS = ("perturbation", "segmentation", "token_f1")
METHODS = ("gradcam", "lrp", "partial_lrp", "raw_attention", "rollout", "transformer_attribution")
ALL_BLOCKS = ("transformer_attribution_all_blocks", "rollout_all_blocks")
ABLATIONS = ("without_gradient", "last_block_only", "second_block_only")
REFERENCES = ("random", "oracle")


def choices(group: str) -> list[str]:
    folder = CONF / group
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))


def test_there_is_a_file_per_method():
    assert {*METHODS, *ALL_BLOCKS, *ABLATIONS, *REFERENCES, "custom"} == set(choices("method"))


# Data and models depend on the suite and the task, what a method is on the protocol and the task.
CELLS = [("paper", *choice, "rollout") for choice in product(choices("suite"), TASKS)]
CELLS += [
    (protocol, "embedded", task, method)
    for protocol, task, method in product(choices("protocol"), TASKS, choices("method"))
    if method != "custom"
]


@pytest.mark.parametrize(("protocol", "suite", "task", "method"), CELLS)
def test_every_cell_composes_and_its_targets_take_its_arguments(protocol, suite, task, method):
    config = configuration([f"suite={suite}", f"protocol={protocol}", f"task={task}", f"method={method}"])
    assert config["task"]["name"] == task
    for section in ("dataset", "model", "method", "task"):
        target = pkgutil.resolve_name(config[section]["_target_"])
        arguments = {k: v for k, v in config[section].items() if k not in DESCRIPTION}
        inspect.signature(target).bind(**arguments)


@pytest.mark.parametrize("group", ["dataset", "model", "method"])
def test_every_choice_composes_by_name(group):
    required = {"model/timm": ["model.architecture=x"], "model/transformers": ["model.path=x"]}
    required["method/custom"] = ["method._target_=methods.LRP"]
    for choice in choices(group):
        extra = required.get(f"{group}/{choice}", [])
        assert configuration([f"{group}={choice}", *extra])[group]["_target_"]


def test_a_choice_beats_the_suites():
    config = configuration(["suite=paper", "task=segmentation", "dataset=imagenet", "dataset.path=/x"])
    assert config["dataset"]["path"] == "/x"
    assert config["model"]["name"] == "vit_base_patch16_224"


def swept(experiment: str, protocol: str) -> list[str]:
    """The methods that an experiment sweeps over."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = [f"experiment={experiment}", f"protocol={protocol}", "method=lrp"]
        cfg = compose("bench", overrides=overrides, return_hydra_config=True)
    return cfg.hydra.sweeper.params.method.split(",")


@pytest.mark.parametrize(
    ("experiment", "references"),
    [("table1", {"random"}), ("table2", set(REFERENCES)), ("figure4", set(REFERENCES))],
)
def test_experiments_sweep_all_methods_between_floor_and_ceiling(experiment, references):
    assert sorted(swept(experiment, "paper")) == sorted({*METHODS} | references)
    added = {"transformer_attribution_all_blocks"} if experiment == "figure4" else {*ALL_BLOCKS}
    assert sorted(swept(experiment, "clean")) == sorted({*METHODS} | references | added)


@pytest.mark.parametrize("protocol", choices("protocol"))
def test_the_ablation_compares_the_whole_with_its_parts(protocol):
    compared = ["transformer_attribution", *ABLATIONS, "random"]
    assert swept("ablation_perturbation", protocol) == compared
    assert swept("ablation_segmentation", protocol) == [*compared, "oracle"]


def test_protocols_spell_out_the_same_settings():
    def keys(settings) -> set[str]:
        return set(flatten(settings, "")) - {"name", "version"}

    settings = [configuration([f"protocol={name}"])["protocol"] for name in choices("protocol")]
    assert all(keys(other) == keys(settings[0]) for other in settings)
    assert len({s["name"] for s in settings}) == len(settings) == 2
    assert {s["name"] for s in settings} == set(choices("protocol"))
    assert all(isinstance(s["version"], int) for s in settings)


def test_all_blocks_are_rolled_up_from_the_first():
    for method, task in product(ALL_BLOCKS, ("segmentation", "token_f1")):
        config = configuration([f"task={task}", f"method={method}", "protocol=clean"])
        assert config["method"]["start_layer"] == 0
        assert config["method"]["name"] == method


def test_protocols_decide_how_methods_treat_images_and_text():
    image = configuration(["task=segmentation", "method=transformer_attribution"])["method"]
    text = configuration(["task=token_f1", "method=transformer_attribution"])["method"]
    assert (image["start_layer"], image["normalise_rows"]) == (1, False)
    assert (text["start_layer"], text["normalise_rows"]) == (-1, True)


def test_every_protocol_setting_is_reachable_by_name():
    config = configuration(["protocol.perturbation.fill=mean", "method=rollout", "method.start_layer=0"])
    assert config["task"]["settings"]["fill"] == "mean"
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
PERTURBATION = {
    "steps": [0, 0.5],
    "fill": "black",
    "blur_sigma": None,
    "scores": {"hits": ["label"], "only_correct": False},
}
TOKEN_F1 = {
    "k": [5],
    "max_length": 512,
    "word_score": "max",
    "scores": {"rationale": ["document"], "only_correct": False},
}


def perturbation(**changed) -> Perturbation:
    return Perturbation(PERTURBATION | changed, IMAGES)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: perturbation(steps=[0.1, 0.2]), "perturbation.steps"),
        (lambda: perturbation(steps=[0, 0.5, 0.2]), "perturbation.steps"),
        (lambda: perturbation(steps=[0, 1.1]), "perturbation.steps"),
        (lambda: perturbation(fill="pink"), "perturbation.fill"),
        (lambda: perturbation(fill="blur"), "perturbation.blur_sigma"),
        (lambda: perturbation(scores={"hits": [], "only_correct": False}), "scores.hits"),
        (lambda: perturbation(scores={"hits": ["target"], "only_correct": False}), "scores.hits"),
        (lambda: perturbation(scores={"hits": ["label"], "only_correct": "yes"}), "scores.only_correct"),
        (lambda: Segmentation({"threshold": "median"}, IMAGES), "segmentation.threshold"),
        (lambda: Segmentation({"threshold": "mean"}, IMAGES | {"resize": "crop"}), "images.resize"),
        (
            lambda: Segmentation({"threshold": "mean"}, IMAGES | {"interpolation": "x"}),
            "images.interpolation",
        ),
        (lambda: Segmentation({"threshold": "mean"}, IMAGES | {"resize": "model"}), "images.interpolation"),
        (lambda: TokenF1(TOKEN_F1 | {"k": [0]}), "token_f1.k"),
        (lambda: TokenF1(TOKEN_F1 | {"k": []}), "token_f1.k"),
        (lambda: TokenF1(TOKEN_F1 | {"word_score": "sum"}), "token_f1.word_score"),
        (
            lambda: TokenF1(TOKEN_F1 | {"scores": {"rationale": ["half"], "only_correct": False}}),
            "scores.rationale",
        ),
        (
            lambda: TokenF1(TOKEN_F1 | {"scores": {"rationale": ["visible"], "only_correct": 2}}),
            "scores.only_correct",
        ),
    ],
)
def test_settings_out_of_range_are_named(make, key):
    with pytest.raises(BenchError, match=key):
        make()


def test_the_fingerprint_changes_with_any_value_and_not_with_the_order():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})
