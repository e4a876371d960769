"""Kinds of models that single methods were wrong on: types that differ, poolers that nobody reads, LayerNorms."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
from torch import nn

from methods import (
    AGCAM,
    ALTI,
    BeyondIntuition,
    FullGradPlus,
    Gradient,
    RefusedError,
    SmoothGrad,
    Tape,
    ViTCX,
)
from tests.support.small_models import IMAGES, make_bert, make_llama, make_vit, texts

pytestmark = pytest.mark.numerical


def logits_of(module):
    return lambda inputs: module(**inputs).logits


@pytest.mark.parametrize("method", [AGCAM(), ALTI()], ids=lambda m: type(m).__name__)
def test_a_softmax_may_be_in_another_type_than_its_scores(method):
    """As Llama's own is, in float32 whatever the type of its weights."""
    ours, fused = (
        method(logits_of(make_llama(attn_implementation=name).double()), texts()).double()
        for name in ("eager", "sdpa")
    )
    torch.testing.assert_close(ours, fused, rtol=1e-4, atol=1e-6)


class WithUnreadLayer(nn.Module):
    """A model beside a layer whose result, made of the same tokens, nobody reads."""

    def __init__(self, module):
        super().__init__()
        self.module, self.unread = module, nn.Linear(24, 3)
        module.norm.register_forward_hook(lambda module, given, result: void(self.unread(result)))

    def forward(self, x):
        return self.module(x)


def void(_):
    """So that a hook returns nothing, and changes nothing."""


def test_what_no_logit_depends_on_is_no_constant():
    model = make_vit(depth=2).double()
    plain, maps = Tape.record(model, IMAGES.double()).constants, FullGradPlus()(model, IMAGES.double())
    model = WithUnreadLayer(model).double().eval()
    assert len(Tape.record(model, IMAGES.double()).constants) == len(plain)
    torch.testing.assert_close(FullGradPlus()(model, IMAGES.double()), maps)


@pytest.mark.parametrize(
    "method", [Gradient("sum"), SmoothGrad(samples=2, reduce="sum")], ids=["gradient", "smooth"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_that_are_rounding_are_refused(method, dtype):
    with pytest.raises(RefusedError, match="what is left is rounding; choose reduce=l2"):
        method(logits_of(make_bert().to(dtype)), texts())


def test_the_gradient_of_texts_is_reduced_to_its_norm():
    bert, llama = (logits_of(make().double()) for make in (make_bert, make_llama))
    torch.testing.assert_close(Gradient()(bert, texts()), Gradient("l2")(bert, texts()))
    assert not torch.allclose(
        Gradient("sum")(llama, texts()), Gradient()(llama, texts())
    )  # RMSNorms see the mean
    torch.testing.assert_close(Gradient()(make_vit(), IMAGES), Gradient("sum")(make_vit(), IMAGES))


def test_a_pixel_outside_of_every_mask_gets_nothing():
    maps = ViTCX(distance=2)(make_vit().double(), IMAGES.double())  # one mask, which is 0 somewhere
    assert maps.isfinite().all()
    assert (maps == 0).any(dim=-1).any(dim=-1).all()


def test_beyond_intuition_reads_pooling_attention_alone_as_in_a_batch():
    model, images = make_vit(depth=2, class_token=False, global_pool="map").double(), IMAGES.double()
    method = BeyondIntuition(start_layer=0, points=2)
    together = method(model, images)
    assert together.shape == (3, 16)
    torch.testing.assert_close(together[1:2], method(model, images[1:2], model(images)[1:2].argmax(dim=1)))
