"""Patches whose tokens are left out, against a model in which nobody looks at them."""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from bench.errors import BenchError
from bench.models.dropping import DroppedPatches
from tests.support.small_models import IMAGES, enlarged, make_vit

pytestmark = pytest.mark.numerical

SAMPLES = torch.tensor([0, 1, 2, 2, 1])
REMOVED = (
    torch.rand(5, 16, generator=torch.Generator().manual_seed(0)) < torch.tensor([[0.5, 0, 1, 0.1, 0.5]]).T
)


def with_masked_keys(model, image, removed, prefix):
    """Logits of one image where the attention of every block leaves the removed patches out as keys."""
    keys = torch.cat([torch.ones(prefix, dtype=torch.bool), ~removed])
    tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(image[None]))))
    for block in model.blocks:
        tokens = block(tokens, attn_mask=keys.expand(1, 1, len(keys), len(keys)))
    return model.forward_head(model.norm(tokens))[0]


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 3}, {"class_token": True, "no_embed_class": True}])
def test_it_is_the_model_with_these_tokens_masked_as_keys(options):
    model, images = make_vit(**options).double(), IMAGES.double()
    prefix = model.num_prefix_tokens
    found = DroppedPatches(model, model, images, prefix)(SAMPLES, REMOVED)
    for sample, removed, logits in zip(SAMPLES, REMOVED, found, strict=True):
        expected = with_masked_keys(model, images[sample], removed, prefix)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(model(images[1:2])[0], found[1], rtol=0, atol=1e-12)  # nothing removed
    assert not model.patch_drop._forward_hooks


def test_models_of_transformers():
    """Dropping all patches but some is the model on an image of these alone."""
    config = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
    )
    model = enlarged(ViTForImageClassification(config)).double()
    images = IMAGES.double()
    found = DroppedPatches(lambda x: model(x).logits, model, images, 1)(SAMPLES, REMOVED)
    for sample, removed, logits in zip(SAMPLES, REMOVED, found, strict=True):
        tokens = model.vit.embeddings(images[sample][None])
        kept = torch.cat([torch.tensor([True]), ~removed])
        hidden = tokens[:, kept]
        for layer in model.vit.encoder.layer if hasattr(model.vit, "encoder") else model.vit.layers:
            hidden = layer(hidden)
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        expected = model.classifier(model.vit.layernorm(hidden)[:, 0])[0]
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (lambda: make_vit(global_pool="avg", class_token=False), "pools its patches"),
        (lambda: torch.nn.Linear(1, 1), "Linear is not known"),
    ],
)
def test_models_that_need_all_patches_are_refused_by_name(model, named):
    with pytest.raises(BenchError, match=named):
        DroppedPatches(lambda x: x, model(), IMAGES, 0)
