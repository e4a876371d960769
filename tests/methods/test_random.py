"""The random map: random, and yet the same for the same sample."""

import pytest
import torch

from methods import RandomMap
from tests.support.small_models import IMAGES, LENGTHS, make_bert, make_vit, texts

pytestmark = pytest.mark.numerical


def of_images(images, seed=0):
    return RandomMap(seed)(make_vit(), images)


def of_texts(inputs):
    bert = make_bert()
    return RandomMap()(lambda batch: bert(**batch).logits, inputs)


def test_a_sample_has_the_same_map_in_any_batch_and_any_order():
    together = of_images(IMAGES)
    assert together.shape == (3, 17)
    assert torch.equal(of_images(IMAGES.flip(0)).flip(0), together)
    assert all(torch.equal(of_images(IMAGES[i : i + 1])[0], together[i]) for i in range(3))


def test_samples_and_seeds_have_maps_of_their_own():
    maps = torch.stack([*of_images(IMAGES), *of_images(IMAGES, seed=1)])
    assert maps.flatten().unique().numel() == maps.numel()


def test_padding_changes_nothing_and_has_no_relevance():
    narrow, wide = of_texts(texts(9)), of_texts(texts(12))
    assert torch.equal(narrow, wide[:, :9])
    for row, length in zip(wide, LENGTHS, strict=True):
        assert (row[:length] > 0).all()
        assert (row[length:] == 0).all()


def test_it_is_uniform():
    images = torch.randn(200, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = of_images(images)
    assert abs(maps.mean().item() - 1 / 2) < 0.02
    assert abs(maps.var().item() - 1 / 12) < 0.005
    assert ((maps >= 0) & (maps < 1)).all()
