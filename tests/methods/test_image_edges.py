"""The edges of the image itself, a floor."""

import pytest
import torch

from methods import ImageEdges, RefusedError
from tests.support.small_models import texts


def slowly(image: torch.Tensor) -> torch.Tensor:
    """The definition pixel by pixel: (height, width) of an image (channels, height, width)."""
    channels, height, width = image.shape
    weights = {-1: 1.0, 0: 2.0, 1: 1.0}
    strength = torch.zeros(height, width, dtype=torch.float64)

    def at(channel: int, row: int, column: int) -> float:  # the border is repeated
        return float(image[channel, min(max(row, 0), height - 1), min(max(column, 0), width - 1)])

    for row in range(height):
        for column in range(width):
            for channel in range(channels):
                across = sum(
                    w * (at(channel, row + i, column + 1) - at(channel, row + i, column - 1)) / 8
                    for i, w in weights.items()
                )
                down = sum(
                    w * (at(channel, row + 1, column + i) - at(channel, row - 1, column + i)) / 8
                    for i, w in weights.items()
                )
                strength[row, column] += across**2 + down**2
    return strength.sqrt()


def test_it_is_the_strength_of_the_edges():
    images = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    maps = ImageEdges()(None, images)
    assert maps.shape == (2, 5, 7)
    for image, relevance in zip(images, maps, strict=True):
        torch.testing.assert_close(relevance, slowly(image))


def test_an_even_image_has_no_edge_and_a_step_has_one_along_it():
    image = torch.ones(1, 1, 6, 6)
    assert not ImageEdges()(None, image).any()
    image[..., 3:] = 3.0
    assert ImageEdges()(None, image)[0, 2].tolist() == [0, 0, 1, 1, 0, 0]


def test_several_classes_have_the_same_map():
    several = ImageEdges()(None, torch.rand(2, 3, 4, 4), torch.zeros(2, 5, dtype=torch.long))
    assert several.shape == (2, 5, 4, 4)


def test_texts_are_refused():
    with pytest.raises(RefusedError, match="texts have no edges"):
        ImageEdges()(None, texts())
