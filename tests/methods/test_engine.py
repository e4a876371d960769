"""What the engine promises on unmodified models: any batch, any target, no traces."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import gc
import weakref
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import BatchEncoding

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution
from methods.relevance import PROPOSED, Tape
from tests.support.small_models import LENGTHS, TOKENS, Model, make_bert, texts

pytestmark = pytest.mark.numerical

METHODS = [TransformerAttribution(), RawAttention(), Rollout(), GradCAM(), LRP(), PartialLRP()]
TEXT_METHODS = [
    TransformerAttribution(start_layer=0, normalise_rows=True),
    TransformerAttribution(start_layer=-1, normalise_rows=True),
    RawAttention(),
    Rollout(start_layer=0),
    GradCAM(weights="matrix"),
    LRP(),
    PartialLRP(),
]
CLASS_SPECIFIC = (TransformerAttribution, GradCAM, LRP, PartialLRP)


def called(method) -> str:
    return type(method).__name__


every_method = pytest.mark.parametrize("method", METHODS, ids=called)
every_text_method = pytest.mark.parametrize("method", TEXT_METHODS, ids=called)


def same(a, b):
    """Equal up to rounding, of float64 for relevance and of the float32 model for the rest."""
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


# --- batches and kinds of models


@every_method
def test_a_batch_of_images_gives_the_maps_of_its_samples(method, vit, images):
    together = method(vit, images)
    assert together.shape == ((3, 32, 32) if isinstance(method, LRP) else (3, 17))
    for i in range(3):
        same(together[i : i + 1], method(vit, images[i : i + 1]))


@every_text_method
def test_a_padded_batch_gives_the_maps_of_its_samples(method, bert):
    def forward(batch):
        return bert(**batch).logits

    inputs = texts()
    together, wider = method(forward, inputs), method(forward, texts(width=14))
    assert (together[inputs["attention_mask"] == 0] == 0).all()
    assert (wider[:, 9:] == 0).all()
    same(wider[:, :9], together)
    for i, length in enumerate(LENGTHS):
        alone = method(forward, {key: value[i : i + 1, :length] for key, value in inputs.items()})
        same(together[i : i + 1, :length], alone)
        unmasked = method(forward, {"input_ids": inputs["input_ids"][i : i + 1, :length]})
        same(unmasked, alone)


@every_method
def test_fused_attention_gives_the_maps_of_unfused(method, vit, images):
    assert all(block.attn.fused_attn for block in vit.blocks)
    fused = method(vit, images)
    for block in vit.blocks:
        block.attn.fused_attn = False
    same(fused, method(vit, images))


@every_text_method
def test_sdpa_gives_the_maps_of_eager_attention(method):
    sdpa, eager = make_bert("sdpa"), make_bert("eager")
    same(method(lambda x: sdpa(**x).logits, texts()), method(lambda x: eager(**x).logits, texts()))


@pytest.mark.parametrize("kind", ["boolean", "additive", "additive of -inf", "causal"])
def test_masks_of_fused_attention(kind):
    visible = torch.ones(4, 4, dtype=torch.bool)
    visible = visible.tril() if kind == "causal" else visible & (torch.arange(4) < 3)
    low = -torch.inf if kind.endswith("inf") else torch.finfo(torch.float32).min
    mask = visible if kind == "boolean" else torch.zeros(4, 4).masked_fill(~visible, low)
    options = {"is_causal": True} if kind == "causal" else {"attn_mask": mask}

    def attend(model, x):
        query, values = model.query(x)[:, None], x[:, None]
        return x + F.scaled_dot_product_attention(query, values, values, **options)[:, 0]

    model = Model(attend)
    tape = Tape.record(model, TOKENS, dtype="float64")
    torch.testing.assert_close(tape.logits.float(), model(TOKENS))
    assert (tape.attentions[1][:, 0, ~visible] == 0).all()
    (relevance,) = tape.relevance(None, [tape.entry], PROPOSED)
    # Nothing is lost to the mask.
    torch.testing.assert_close(relevance.sum((1, 2)), torch.ones(2).double(), rtol=0, atol=1e-5)


def test_inputs_may_be_a_tensor_a_mapping_or_a_batch_encoding(bert):
    inputs = texts()
    method = TransformerAttribution(start_layer=0)
    expected = method(lambda batch: bert(**batch).logits, inputs)
    assert torch.equal(method(lambda batch: bert(**batch).logits, BatchEncoding(inputs)), expected)


@every_method
def test_forward_may_be_a_module_or_any_callable(method, vit, images):
    assert torch.equal(method(vit, images), method(lambda x: vit(x), images))


@every_method
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_need_not_care_for_grad_mode(method, mode, vit, images):
    with mode():
        inside = method(vit, images.clone())
    assert torch.equal(inside, method(vit, images))


# --- targets


@every_method
def test_no_target_means_the_predicted_class(method, vit, images):
    with torch.no_grad():
        predicted = vit(images).argmax(dim=1)
    assert torch.equal(method(vit, images), method(vit, images, predicted))


@every_method
def test_only_class_specific_methods_change_with_the_target(method, vit, images):
    zero, one = (method(vit, images, torch.full((3,), c)) for c in (0, 1))
    assert torch.equal(zero, one) is not isinstance(method, CLASS_SPECIFIC)


@every_method
def test_each_sample_has_its_own_target(method, vit, images):
    mixed = method(vit, images, torch.tensor([2, 0, 4]))
    same(mixed[1:2], method(vit, images[1:2], torch.tensor([0])))


# --- nothing else is touched


@every_method
def test_model_and_inputs_are_left_as_they_were(method, vit, images):
    copy, weights = images.clone(), {name: p.detach().clone() for name, p in vit.named_parameters()}
    answer = method(vit, images)
    assert torch.equal(images, copy)
    assert not images.requires_grad
    assert not answer.requires_grad
    for name, p in vit.named_parameters():
        assert p.grad is None
        assert p.requires_grad
        assert p.dtype == torch.float32
        assert torch.equal(p, weights[name])
    assert vit(images).dtype == torch.float32


@every_method
def test_nothing_of_a_pass_outlives_it(method, vit, images):
    """Without help from the garbage collector, which knows nothing of the memory that a tensor holds."""
    seen = []
    vit.blocks[1].register_forward_hook(lambda _, __, output: seen.append(weakref.ref(output)))
    gc.collect()
    gc.disable()
    try:
        method(vit, images)
        assert seen
        assert all(reference() is None for reference in seen)
    finally:
        gc.enable()


# --- rule sets are values


def test_a_rule_set_of_ones_own(vit, images):
    class Counting:
        calls = 0

        def __call__(self, R, z, u, v):
            Counting.calls += 1
            return R / 2, R / 2

    own = replace(PROPOSED, name="halves", add=Counting())
    maps = TransformerAttribution(rules=own)(vit, images)
    assert Counting.calls > 0
    assert not torch.equal(maps, TransformerAttribution()(vit, images))


def test_gradcam_scales_between_0_and_1_and_leaves_prefix_tokens_out(vit, images):
    maps = GradCAM(prefix_tokens=3)(vit, images)
    assert (maps[:, :3] == 0).all()
    assert (maps[:, 3:].amin(dim=1) == 0).all()
    assert (maps[:, 3:].amax(dim=1) == 1).all()
