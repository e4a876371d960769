"""What the model sees: how images are resized and, in the perturbation test, which pixels are gone."""

from types import SimpleNamespace

import bench  # noqa: F401  isort: skip  (lets timm be imported)

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.config import build
from bench.models import Maps
from bench.models.build import build_model
from bench.models.preprocessing import ImageSettings
from bench.tasks import Explanations

pytestmark = pytest.mark.numerical

SIGMA = 2.0


def gaussian_blur(image: np.ndarray) -> np.ndarray:
    """Of one (height, width) channel, by its definition: a weighted mean, the border repeated."""
    radius = int(4 * SIGMA + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    padded = np.pad(image, radius, mode="edge")
    blurred = np.zeros_like(image)
    for y, x in np.ndindex(*image.shape):
        window = padded[y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        blurred[y, x] = weights @ window @ weights
    return blurred


def expected_fill(fill: str, image: np.ndarray) -> np.ndarray:
    if fill == "black":
        return np.zeros_like(image)
    if fill == "mean":
        return np.full_like(image, 0.25)
    return np.stack([gaussian_blur(channel) for channel in image])


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
def test_masked_pixels_are_filled_and_the_others_are_left(configure, fill):
    config = configure(
        "perturbation",
        f"protocol.perturbation.fill={fill}",
        f"protocol.perturbation.blur_sigma={SIGMA}",
        "model.mean=[0.25,0.25,0.25]",
        "model.std=[1.0,1.0,1.0]",
    )
    dataset, model, settings = (
        build("dataset", config["dataset"]),
        build_model(config["model"]),
        config["task"]["inputs"],
    )
    batch = model.batch([model.preparation(settings)(dataset[0])], settings)
    seen, forward = [], model.forward
    model.forward = lambda x: seen.append(x + 0.25) or forward(x)
    # Relevance grows from the upper left to the lower right, so the positive test starts at the end.
    relevance, target = torch.arange(32 * 32.0).view(1, 32, 32), torch.tensor([0])
    maps = Maps(relevance, torch.zeros(1, 0), target)
    task = build("task", config["task"], description={"_target_"})
    (masking,) = (measurement for _, measurement in task.measurements() if measurement.needs_maps)
    masking.measure(Explanations(model, batch, range(3), target, maps))

    clean, positive, negative = batch.inputs[0] + 0.25, seen[:9], seen[9:]
    assert len(seen) == 18  # what is predicted for the clean image is known
    filled = torch.from_numpy(expected_fill(fill, clean.double().numpy())).float().flatten(1)
    for step in range(1, 10):
        count = 32 * 32 * step // 10
        for images, masked in ((positive, slice(32 * 32 - count, None)), (negative, slice(0, count))):
            image, kept = images[step - 1][0].flatten(1), torch.ones(32 * 32, dtype=torch.bool)
            kept[masked] = False
            assert torch.equal(image[:, kept], clean.flatten(1)[:, kept])
            assert torch.allclose(image[:, ~kept], filled[:, ~kept], atol=1e-6)


@given(st.integers(20, 90), st.integers(20, 90), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_the_models_own_preprocessing_is_timms_to_the_pixel(width, height, seed):
    model = SimpleNamespace(crop=0.9, interpolation="bicubic", input_size=(32, 32))
    images = ImageSettings(size=32, resize="model", interpolation=None)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = timm.data.create_transform(
        (3, 32, 32), interpolation="bicubic", crop_pct=0.9, mean=(0, 0, 0), std=(1, 1, 1)
    )
    image = Image.fromarray(pixels)
    assert torch.equal(images.pixels(image, model), theirs(image))
    # The mask goes the same way, by the nearest pixel.
    mask = pixels[:, :, 0] > 128
    nearest = timm.data.create_transform((3, 32, 32), interpolation="nearest", crop_pct=0.9, mean=0, std=1)
    expected = nearest(Image.fromarray(np.stack([mask] * 3, axis=-1).astype(np.uint8) * 255))[0] > 0.5
    assert torch.equal(images.mask(mask, model), expected)


@pytest.mark.parametrize("size", [(300, 200), (150, 260)])
def test_what_readers_are_shown_is_what_the_model_sees(size):
    """A picture whose colours tell the place, so that the wrong part of it would have other colours."""
    width, height = size
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = Image.fromarray(np.stack([across, down, across], axis=-1).astype(np.uint8))
    model = SimpleNamespace(crop=0.875, interpolation="bicubic")
    for resize, interpolation in (("squash", "bilinear"), ("model", None)):
        images = ImageSettings(size=56, resize=resize, interpolation=interpolation)
        shown = images.seen(image, model)
        again = torch.from_numpy(np.array(shown.resize((56, 56)))).permute(2, 0, 1) / 255
        assert (again - images.pixels(image, model)).abs().max() < 0.02
    assert shown.width == pytest.approx(min(size) * 0.875, abs=2)
