"""The six methods against numbers of the reference implementation (float64, CPU, one sample at a time)."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import numpy as np
import pytest
import timm
import torch

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import PROPOSED, Tape
from tests.support import goldens
from tests.support.goldens import (
    BERT_CASES,
    FLOAT32,
    FLOAT64,
    VIT_CASES,
    bert_errors,
    error,
    in_models_precision,
    vit_map,
    with_epsilon_of,
)

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def vit_golden():
    return goldens.vit_golden()


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def vit(request):
    return goldens.vit().to(request.param)


@pytest.mark.parametrize(("name", "method"), VIT_CASES)
def test_vit(name, method, vit, vit_golden):
    # Float32 is the type of the weights. The input stays in float64: see the next test.
    reference = vit_golden[name]
    ours = vit_map(name, method, vit, vit_golden["images"][: len(reference)], vit_golden["targets"])
    assert error(ours, reference) < (FLOAT64 if next(vit.parameters()).dtype == torch.float64 else FLOAT32)


@pytest.mark.parametrize("vit", [torch.float32], indirect=True, ids=["float32"])
@pytest.mark.parametrize(("name", "method"), VIT_CASES)
def test_vit_with_float32_input(name, method, vit, vit_golden):
    """Rounding the input to float32 moves some maps by far more than float32's precision.

    Relevance divides by sums of terms of both signs, which multiplies the rounding of the pixels by 1e3 and
    more, the deeper the more. On this model only LRP, which goes through all blocks, misses 1e-3 (8e-3).
    """
    reference = vit_golden[name]
    ours = vit_map(name, method, vit, vit_golden["images"][: len(reference)].float(), vit_golden["targets"])
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


@pytest.fixture(scope="module")
def bert_golden():
    return goldens.bert_golden()


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def bert(request):
    return goldens.bert(request.param)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("name", "method", "target"), BERT_CASES)
def test_bert(name, method, target, dtype, bert, bert_golden):
    # Token ids are exact, so that float32 is only the type of the weights here.
    errors = bert_errors(name, method, target, bert.to(dtype), bert_golden)
    assert max(errors) < (FLOAT64 if dtype == torch.float64 else FLOAT32)


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
    ours = vit_map(name, method, model, images[two], golden["targets"][two])
    # Where GradCAM's map is nowhere positive the reference divides 0 by 0; ours is 0 there.
    undefined = np.isnan(reference).reshape(2, -1).all(axis=1)
    assert (ours[undefined] == 0).all()
    tolerance = FLOAT32 if in_models_precision(method) else FLOAT64
    assert error(ours[~undefined], reference[~undefined]) < tolerance
