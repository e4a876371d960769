"""The six methods against numbers of the reference implementation (float64, CPU, one sample at a time).

The reference has two ViT files that disagree about the epsilon of LayerNorm. Logits, rollout and GradCAM
come from the one with 1e-5 inside the blocks and 1e-6 at the end, everything else from the one with 1e-6
throughout. It shows (1.5e-4 in GradCAM), so each map is compared on a model with its own epsilon.
"""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import PROPOSED, Tape

pytestmark = pytest.mark.numerical

HERE = Path(__file__).parents[1] / "golden"
FLOAT64, FLOAT32 = 1e-4, 1e-3
OTHER_FILE = ("logits", "rollout", "gradcam")

TO_CLASS = {
    "transformer_attribution.start0": TransformerAttribution(start_layer=0),
    "transformer_attribution.start1": TransformerAttribution(start_layer=1),
    "transformer_attribution_without_gradient.start1": TransformerAttribution(use_gradient=False),
    # Rolling up one block adds the identity to its map, which only the class token's own entry sees.
    "ablation.last_block": TransformerAttribution(start_layer=-1),
    "ablation.second_block": TransformerAttribution(start_layer=1, stop_layer=2),
    "partial_lrp": PartialLRP(),
    "lrp": LRP(),
    "gradcam": GradCAM(weights="row"),
}
TO_NO_CLASS = {
    "raw_attention": RawAttention(),
    "rollout.start0": Rollout(start_layer=0),
    "rollout.start1": Rollout(start_layer=1),
}


EXPLAINED = ("predicted", "target")
VIT_CASES = [(f"{name}.{which}", method) for name, method in TO_CLASS.items() for which in EXPLAINED]
VIT_CASES += TO_NO_CLASS.items()


def error(ours, reference) -> float:
    """The greatest relative error ‖ours − reference‖ / ‖reference‖ of a map in the batch."""
    reference = torch.from_numpy(reference).double()
    difference = (ours.double() - reference).flatten(1).norm(dim=1)
    return (difference / reference.flatten(1).norm(dim=1)).max().item()


def patches(maps):
    return maps[:, 1:] if maps.ndim == 2 else maps


def with_epsilon_of(name, model):
    for block in model.blocks:
        block.norm1.eps = block.norm2.eps = 1e-5 if name.startswith(OTHER_FILE) else 1e-6
    return model


@pytest.fixture(scope="module")
def vit_golden():
    golden = dict(np.load(HERE / "vit_small_random.npz"))
    return golden | {"images": torch.from_numpy(golden["images"]).double() / 255 * 2 - 1}


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def vit(request):
    model = timm.create_model("vit_base_patch16_224", embed_dim=48, depth=4, num_heads=3, num_classes=10)
    model.load_state_dict(load_file(HERE / "vit_small_random.safetensors"))
    return model.eval().to(request.param)


def in_models_precision(method) -> bool:
    """Whether the method does without relevance, and so without float64."""
    return not hasattr(method, "dtype")


def explain(name, method, model, images, targets):
    """Our map for the reference's ``name``, without the class token's entry."""
    if in_models_precision(method):
        images = images.to(next(model.parameters()).dtype)
    targets = torch.from_numpy(targets)[: len(images)] if name.endswith(".target") else None
    return patches(method(with_epsilon_of(name, model), images, targets))


@pytest.mark.parametrize(("name", "method"), VIT_CASES)
def test_vit(name, method, vit, vit_golden):
    # Float32 is the type of the weights. The input stays in float64: see the next test.
    reference = vit_golden[name]
    ours = explain(name, method, vit, vit_golden["images"][: len(reference)], vit_golden["targets"])
    assert error(ours, reference) < (FLOAT64 if next(vit.parameters()).dtype == torch.float64 else FLOAT32)


@pytest.mark.parametrize("vit", [torch.float32], indirect=True, ids=["float32"])
@pytest.mark.parametrize(("name", "method"), VIT_CASES)
def test_vit_with_float32_input(name, method, vit, vit_golden):
    """Rounding the input to float32 moves some maps by far more than float32's precision.

    Relevance divides by sums of terms of both signs, which multiplies the rounding of the pixels by 1e3 and
    more, the deeper the more. On this model only LRP, which goes through all blocks, misses 1e-3 (8e-3).
    """
    reference = vit_golden[name]
    ours = explain(name, method, vit, vit_golden["images"][: len(reference)].float(), vit_golden["targets"])
    assert error(ours, reference) < (3e-2 if name.startswith("lrp") else FLOAT32)


def test_vit_logits(vit, vit_golden):
    with torch.no_grad():
        logits = with_epsilon_of("logits", vit)(vit_golden["images"].to(next(vit.parameters()).dtype))
    assert error(logits, vit_golden["logits"]) < 1e-5


def test_vit_single_blocks(vit, vit_golden):
    """∇A and R of one block."""
    targets = torch.from_numpy(vit_golden["targets"])
    tape = Tape.record(with_epsilon_of("debug", vit), vit_golden["images"], dtype="float64")
    gradients = tape.gradient(targets, tape.attentions)
    relevances = tape.relevance(targets, tape.attentions, PROPOSED)
    # Of the matrices the first image's and first head's are stored.
    assert error(gradients[2][:1, 0], vit_golden["debug.attention_gradient.block2"][None]) < FLOAT64
    assert error(relevances[2][:1, 0], vit_golden["debug.attention_relevance.block2"][None]) < FLOAT64


BERT_TO_CLASS = {
    "transformer_attribution.start0": TransformerAttribution(start_layer=0, normalise_rows=True),
    "transformer_attribution.start3": TransformerAttribution(start_layer=3, normalise_rows=True),
    "partial_lrp": PartialLRP(),
    "lrp": LRP(),
    "gradcam": GradCAM(weights="matrix"),
}
BERT_TO_NO_CLASS = {"raw_attention": RawAttention(), "rollout.start0": Rollout(start_layer=0)}


@pytest.fixture(scope="module")
def bert_golden():
    return dict(np.load(HERE / "bert_small_random.npz"))


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def bert(request):
    config = BertConfig(
        **json.loads((HERE / "bert_small_random.config.json").read_text()), attn_implementation=request.param
    )
    model = BertForSequenceClassification(config)
    model.load_state_dict(load_file(HERE / "bert_small_random.safetensors"))
    return model.eval()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "method", "target"),
    [(f"{name}.class{c}", method, c) for name, method in BERT_TO_CLASS.items() for c in (0, 1)]
    + [(name, method, None) for name, method in BERT_TO_NO_CLASS.items()],
)
def test_bert(name, method, target, dtype, bert, bert_golden):
    # Token ids are exact, so that float32 is only the type of the weights here.
    bert = bert.to(dtype)
    inputs = {key: torch.from_numpy(bert_golden[key]) for key in ("input_ids", "attention_mask")}
    targets = None if target is None else torch.full((len(inputs["input_ids"]),), target)
    maps = method(lambda batch: bert(**batch).logits, inputs, targets)
    for ours, reference, mask in zip(maps, bert_golden[name], inputs["attention_mask"].bool(), strict=True):
        assert (ours[~mask] == 0).all()
        length = int(mask.sum())  # the reference overwrote the class token's entry
        tolerance = FLOAT64 if dtype == torch.float64 else FLOAT32
        assert error(ours[None, 1:length], reference[None, 1:length]) < tolerance


REAL = [
    ("transformer_attribution.start1.predicted", TransformerAttribution()),
    ("transformer_attribution.start1.target", TransformerAttribution()),
    ("transformer_attribution_without_gradient.start1.predicted", TransformerAttribution(use_gradient=False)),
    ("ablation.last_block.target", TransformerAttribution(start_layer=-1)),
    ("ablation.second_block.predicted", TransformerAttribution(start_layer=1, stop_layer=2)),
    ("partial_lrp.target", PartialLRP()),
    ("lrp.predicted", LRP()),
    ("gradcam.predicted", GradCAM()),
    ("gradcam.target", GradCAM()),
    ("raw_attention", RawAttention()),
    ("rollout.start1", Rollout()),
]


@pytest.mark.parametrize(("name", "method"), REAL)
def test_deit_on_real_images(name, method, real_data):
    """A real float32 checkpoint on ImageNet images given in float64.

    Given in float32, the rounding of the pixels alone moves transformer attribution by up to 1e-1 and LRP by
    up to 3e-1 of their norm, whatever the precision of the arithmetic.
    """
    file = real_data.parent / "golden" / "deit_tiny_real.npz"
    if not file.exists():
        pytest.skip(f"the reference's maps of DeiT-Tiny are not here: {file}")
    golden = np.load(file)
    checkpoint = real_data / "models" / "deit_tiny_patch16_224_in1k.safetensors"
    model = timm.create_model("deit_tiny_patch16_224", checkpoint_path=str(checkpoint)).eval()
    images, mean, std = (torch.from_numpy(golden[key]).double() for key in ("images", "mean", "std"))
    images = (images / 255 - mean) / std
    two, reference = [1, 3], golden[name][[1, 3]]
    ours = explain(name, method, model, images[two], golden["targets"][two])
    # Where GradCAM's map is nowhere positive the reference divides 0 by 0; ours is 0 there.
    undefined = np.isnan(reference).reshape(2, -1).all(axis=1)
    assert (ours[undefined] == 0).all()
    tolerance = FLOAT32 if in_models_precision(method) else FLOAT64
    assert error(ours[~undefined], reference[~undefined]) < tolerance
