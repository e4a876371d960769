"""Values of settings that make no sense: each ends in one line that names the setting, and leaves no file."""

import re
from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bench.catalogue import CONF
from bench.config import configuration, resolved
from bench.runner.cell import run
from tests.support.refusals import refused
from tests.support.stored_rows import kept
from tests.support.tiny_images import TINY
from tests.support.tiny_texts import write

IMAGE = {
    "protocol.images.size": ["0", "-1", "32.0", "large", "true", "null", "64"],
    "protocol.images.resize": ["crop", "null", "1"],
    "protocol.images.interpolation": ["null", "cubic", "3"],
    "method.start_layer": ["2", "-3", "first", "1.5", "null"],
}
VALUES = {
    "perturbation": {
        **IMAGE,
        "protocol.perturbation.steps": [
            *(
                "[0]",
                "[]",
                "[0,0]",
                "[0,0.5,0.4]",
                "[0.1,0.2]",
                "[0,1.01]",
                "[-0.1,0.5]",
                "[0,.nan]",
                "[0,.inf]",
            ),
            *("[0,half]", "[0,null]", "[false,true]", "0.5", "half", "null", "{a:0}"),
        ],
        "protocol.perturbation.fill": ["grey", "null", "0", "[black]"],
        "protocol.perturbation.scores.hits": ["[]", "label", "[clean]", "null", "[[label]]", "{label:1}"],
        "protocol.perturbation.scores.only_correct": ["1", "null", "often"],
        "explained": ["both", "null", "1", "[target]"],
        "limit": ["0", "-1", "2.5", "some", "true"],
        "batch_size": ["0", "-1", "1.5", "null", "many", "true"],
        "num_workers": ["-1", "0.5", "null", "all", "true"],
        "seed": ["-1", "0.5", "null", "random", "4294967296", "false"],
        "device": ["gpu", "cuda:77", "cpu:cpu", "null", "meta"],
        "rerun": ["1", "null", "maybe"],
        "keep": ["1", "null", "everything", "true"],
        "task.metrics": ["null", "{}", "[negative_auc]"],
        "task.metrics.negative_auc": ["null", "5"],
        "task.metrics.negative_auc._target_": ["5", "methods.Rollout", "metrics.NoSuchMetric"],
        "task.metrics.negative_auc.direction": ["sideways", "null", "1"],
        "task.metrics.negative_auc.steps": ["[0]", "null"],
        "task.metrics.negative_auc.reads": ["{masking:5}", "5", "{}"],
        "task.inputs": ["null", "5", "{size:32}"],
        "wandb.mode": ["on", "null", "true"],
        "wandb.project": ["5", "[a]"],
        "wandb.entity": ["5"],
        "dataset.split": ["validation", "5"],
        "dataset.path": ["/no/such/folder", "5", "null", "[a]"],
        "dataset._target_": ["5", "ImageNet", "bench.data.NoSuchData", "null"],
        "paths.results": ["5", "null"],
        "paths.embedded": ["5", "null"],
        "model.architecture": ["5", "vit", "local-dir:/tmp"],
        "model.checkpoint": ["5", "/no/such/file.pth", "[a]"],
        "model.mean": ["0.5", "[0.5]", "[0.5,0.5,half]", "[0.5,0.5,.nan]", "[127,127,127]", "grey"],
        "model.std": ["0.5", "[0.5,0.5]", "[0.5,0.5,0]", "[0.5,0.5,-1]"],
        "model.options": ["5", "[a]", "{checkpoint_path:evil.pth}", "{pretrained_cfg:{file:evil.pth}}"],
        "model.options.num_heads": ["5", "0", "many"],
        "model.options.patch_size": ["0", "-8", "large"],
        "model.options.depth": ["many"],
        "model.options.img_size": ["0", "many"],
        "method._target_": ["5", "rollout", "methods.NoSuchMethod"],
    },
    "segmentation": {
        "protocol.segmentation.threshold": ["median", "-0.1", "1", ".nan", "true", "null", "[mean]"]
    },
    "token_f1": {
        "protocol.token_f1.k": [
            *("[]", "[0]", "[-1,5]", "[5,5]", "[10,5]", "[5.5]", "[five]", "[true]", "5", "five", "null"),
        ],
        "protocol.token_f1.max_length": ["0", "-1", "2", "1000000000", "32.0", "long", "null", "true"],
        "protocol.token_f1.word_score": ["sum", "null", "1"],
        "protocol.token_f1.scores.rationale": ["[]", "document", "[whole]", "null"],
        "protocol.token_f1.scores.only_correct": ["1", "null"],
        "dataset.split": ["dev", "null", "../test"],
        "method.start_layer": ["3", "first"],
        "model.path": ["5", "null", "/no/such/folder", "[a]"],
    },
}
# Values that are refused for one method, or beside another value.
BESIDE = {
    "transformer_attribution": {
        "method.start_layer=last": "start_layer=last: the model has 2 blocks",
        "method.stop_layer=5": "stop_layer=5",
        "method.stop_layer=two": "stop_layer=two",
        "method.stop_layer=1": "stop_layer=1",
        "method.stop_layer=0": "stop_layer=0",
        "method.normalise_rows=2": "normalise_rows=2",
        "method.use_gradient=sometimes": "use_gradient='sometimes'",
        "method.dtype=double": "dtype='double'",
    },
    "lrp": {"method.dtype=64": "dtype=64", "method.alpha=1": "method: .*alpha"},
    "partial_lrp": {"method.dtype=int8": "dtype='int8'"},
    "gradcam": {"method.weights=column": "weights='column'", "method.weights=null": "weights=None"},
    "rollout": {
        "protocol.perturbation.fill=blur": "blur_sigma=None",
        **{
            f"protocol.perturbation.fill=blur protocol.perturbation.blur_sigma={sigma}": "blur_sigma="
            for sigma in ("0", "-3", ".nan", ".inf", "1e9", "true", "wide")
        },
        "protocol.images.resize=model": "interpolation='bilinear': expected null",
        "model.options.depth=3": "does not fit vit_tiny_patch16_224: blocks.2",
        "model.options.img_size=64": "does not fit vit_tiny_patch16_224: pos_embed has shape",
        "wandb.api_key=0123456789": r"wandb\.api_key: .*WANDB_API_KEY",
        "wandb.dir=here": r"wandb\.dir: expected wandb\.mode",
        "wandb=null": "wandb: expected a section",
    },
}


def named(key: str, value: str) -> str:
    """What a message has to hold: a protocol's setting in full, the last part of another, or a path."""
    if key.startswith("protocol."):
        return re.escape(key)
    return rf"\b{key.rpartition('.')[2]}\b" + (f"|{value}" if value.startswith("/") else "")


CASES = {
    **{
        f"{task}: {key}={value}": (task, "rollout", [f"{key}={value}"], named(key, value))
        for task, settings in VALUES.items()
        for key, values in settings.items()
        for value in values
    },
    **{
        f"{method}: {changes}": ("perturbation", method, changes.split(), expected)
        for method, cases in BESIDE.items()
        for changes, expected in cases.items()
    },
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write(tmp_path_factory.mktemp("texts"))


@cache
def composed(task: str, method: str):
    """The configuration files put together once, as that takes longer than all that follows."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("bench", overrides=[f"task={task}", f"method={method}", *CHOICES[task]])


CHOICES = {
    "perturbation": ["model=timm", "dataset=imagenet"],
    "segmentation": ["model=timm", "dataset=imagenet_segmentation"],
    "token_f1": ["model=transformers", "dataset=movies"],
}


@pytest.fixture
def changed(root, texts, tmp_path):
    """The resolved configuration of a cell on tiny data, with some values changed."""

    def changed(task, method, changes):
        image = {"architecture": "vit_tiny_patch16_224", "checkpoint": f"{root / 'tiny.safetensors'}"}
        text = task == "token_f1"
        tiny = {
            "model": {"path": str(texts / "bert")} if text else image | {"options": TINY},
            "protocol": {"images": {"size": 32}, "token_f1": {"max_length": 32}},
            "paths": {"data": str(texts if text else root), "results": str(tmp_path / "results")},
            "device": "cpu",
        }
        cfg = OmegaConf.merge(composed(task, method), tiny)
        for change in changes:
            key, _, value = change.partition("=")
            OmegaConf.update(cfg, key, OmegaConf.create(f"value: {value}").value, merge=False, force_add=True)
        return resolved(cfg)

    return changed


@pytest.mark.parametrize(("task", "method", "changes", "expected"), CASES.values(), ids=CASES)
def test_a_value_that_makes_no_sense(changed, tmp_path, monkeypatch, task, method, changes, expected):
    monkeypatch.chdir(tmp_path)
    with refused(expected):
        run(changed(task, method, changes))
    assert not kept(tmp_path)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("suite=embeded", "suite=embeded: .*did you mean embedded"),
        ("protocol=papr", "protocol=papr: .*did you mean paper"),
        ("method=rolout", "method=rolout: .*did you mean rollout"),
        ("dataset=imagnet", "dataset=imagnet: .*did you mean imagenet"),
        ("model=tim", "model=tim: .*did you mean timm"),
        ("task=segment", "task=segment: .*segmentation"),
        ("+experiment=table9", "experiment=table9: .*table1"),
        ("protocol.perturbation.stepz=[0]", "stepz"),
        ("metod=rollout", "metod: .*did you mean method"),
        ("batch_size", "batch_size"),
        ("protocol=null", "must be a string"),
        ("limit=[", r"limit=\["),
        ("limit=${nothing}", "limit has no value"),
        ("dataset.path=???", r"dataset\.path has no value"),
    ],
)
def test_a_name_that_is_misspelled(override, expected):
    with refused(expected):
        configuration([override])


@pytest.mark.parametrize("key", ["paths.results", "paths.embedded", "paths.data"])
def test_a_file_for_a_folder(configure, tmp_path, key):
    (tmp_path / "file").write_text("here")
    data = ["dataset=embedded/perturbation"] if key == "paths.embedded" else ["dataset=imagenet"]
    path = ["dataset.path=${paths.data}/imagenet"] if key == "paths.data" else []
    with refused(str(tmp_path / "file")):
        run(configure("perturbation", *data, *path, f"{key}={tmp_path / 'file'}"))
    assert [path.name for path in kept(tmp_path)] == ["file"]
