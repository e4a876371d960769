"""Whatever a user gets wrong ends in one message that names it, and leaves no file."""

import shutil

import pytest
import torch

from bench.config import configuration
from bench.errors import BenchError
from bench.runner.cell import run
from bench.store.cells import cells_folder, results
from tests.support.stored_rows import kept
from tests.support.tiny_images import WNIDS


def nan_map(forward, inputs, target=None):
    maps = torch.ones(inputs.shape[0], *inputs.shape[-2:])
    maps[-1, 0, 0] = torch.nan
    return maps


def wrong_shape(forward, inputs, target=None):
    return torch.ones(inputs.shape[0], 5)


class Own:
    """Bad methods by name, for the test below."""

    nan = staticmethod(lambda: nan_map)
    nothing = staticmethod(lambda: lambda forward, inputs, target=None: None)
    shape = staticmethod(lambda: wrong_shape)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["method=custom", "method._target_=tests.robustness.test_bad_input.Own.nan"], r"NaN.*n00000002_0"),
        (
            ["method=custom", "method._target_=tests.robustness.test_bad_input.Own.shape"],
            r"\(4, 5\); expected \(batch, 17\)",
        ),
        (["method.start_layer=9"], r"start_layer=9.*between -2 and 1"),
        (["model.checkpoint=/no/such.safetensors"], r"there is no file /no/such.safetensors"),
        (["model.options.embed_dim=48"], r"tiny.safetensors does not fit.*shape"),
        (["+model.options.no_such_option=1"], r"model.options.*no_such_option"),
        (["model.architecture=no_such_model"], r"timm has no model 'no_such_model'"),
        (
            ["model.architecture=resnet18", "model.options=null"],
            r"resnet18 is not supported: expected a Vision Transformer",
        ),
        (["protocol.images.size=64"], r"protocol.images.size=64: the model takes \(32, 32\)"),
        (["explained=both"], r"explained=both: expected predicted or target"),
        (["seed=abc"], r"seed=abc: expected a whole number"),
        (["num_workers=-1"], r"num_workers=-1"),
        (
            ["method=lrp", "method.dtype=float31"],
            r"dtype='float31': expected one of float64, mixed, float32",
        ),
        (["method=gradcam", "+method.prefix_tokens=2"], r"prefix_tokens=2: the model has 1"),
        (
            ["method=custom", "method._target_=tests.robustness.test_bad_input.Own.nothing"],
            r"<lambda> returned NoneType for 4 samples; expected a tensor",
        ),
        (["device=cuda:77"], r"device=cuda:77"),
        (["batch_size=0"], r"batch_size=0"),
        (["limit=-1"], r"limit=-1"),
    ],
)
def test_bad_input_gives_one_message_and_leaves_nothing(configure, tmp_path, overrides, expected):
    config = configure("perturbation", *overrides)
    with pytest.raises(BenchError, match=expected) as raised:
        run(config)
    assert "\n" not in str(raised.value)
    assert not kept(tmp_path / "results")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named_whoever_reads_it(configure, root, tmp_path, workers):
    shutil.copytree(root / "imagenet", tmp_path / "imagenet")
    image = tmp_path / "imagenet" / "val" / WNIDS[1] / f"{WNIDS[1]}_1.JPEG"
    image.write_bytes(image.read_bytes()[:200])
    config = configure("perturbation", f"dataset.path={tmp_path / 'imagenet'}", f"num_workers={workers}")
    with pytest.raises(BenchError, match=f"^{image}: cannot be decoded"):
        run(config)
    assert not list(results(cells_folder(config), "masking"))


@pytest.mark.parametrize(
    ("task", "dataset", "model", "expected"),
    [
        ("perturbation", "imagenet", "embedded/image", "it has 10 classes, but the data set has 3"),
        ("segmentation", "embedded/token_f1", "embedded/image", "dataset: expected images, got TextSample"),
        ("token_f1", "imagenet", "embedded/text", "dataset: expected texts, got ImageSample"),
        ("token_f1", "imagenet", "embedded/image", "model: expected a model of texts, got VisionTransformer"),
        (
            "segmentation",
            "imagenet",
            "embedded/text",
            "model: expected a model of images, got BertForSequenceClassification",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(root, tmp_path, task, dataset, model, expected):
    choices = [f"task={task}", f"dataset={dataset}", f"model={model}", "method=rollout"]
    config = configuration([*choices, f"paths.data={root}", f"paths.results={tmp_path / 'results'}"])
    with pytest.raises(BenchError, match=expected):
        run(config)
    assert not kept(tmp_path / "results")


def test_segmentation_has_no_target_class_to_explain(configure):
    with pytest.raises(BenchError, match="explained=predicted"):
        run(configure("segmentation", "explained=target"))


def test_a_checkpoint_that_is_damaged_is_named(configure, root, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes((root / "tiny.safetensors").read_bytes()[:1000])
    with pytest.raises(BenchError, match=r"damaged.safetensors cannot be read as weights"):
        run(configure("perturbation", f"model.checkpoint={damaged}"))
