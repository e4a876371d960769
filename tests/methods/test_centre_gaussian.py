"""The Gaussian at the centre, a floor."""

import math

import pytest
import torch

from methods import CentreGaussian, RefusedError
from tests.support.small_models import texts


def test_it_is_a_gaussian_about_the_centre_of_every_image():
    maps = CentreGaussian(0.25)(None, torch.rand(3, 3, 8, 12))
    assert maps.shape == (3, 8, 12)
    for row, column in ((0, 0), (3, 5), (7, 2)):
        squared = ((row - 3.5) / (0.25 * 8)) ** 2 + ((column - 5.5) / (0.25 * 12)) ** 2
        assert float(maps[1, row, column]) == pytest.approx(math.exp(-squared / 2))
    assert maps[0].equal(maps[2])
    assert maps.equal(maps.flip(1, 2))


def test_several_classes_have_the_same_map():
    several = CentreGaussian()(None, torch.rand(2, 3, 4, 4), torch.zeros(2, 5, dtype=torch.long))
    assert several.shape == (2, 5, 4, 4)


def test_what_has_no_centre_is_refused():
    with pytest.raises(RefusedError, match="texts have no centre"):
        CentreGaussian()(None, texts())
    with pytest.raises(ValueError, match="width"):
        CentreGaussian(0)
