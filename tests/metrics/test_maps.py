"""Pixel maps from patch maps, and the ranking of their pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import minmax, rank, upsample

pytestmark = pytest.mark.numerical


def slow_bilinear(patches, size):
    """Bilinear interpolation with pixel centres at (i + ½) / scale − ½, borders repeated."""
    height, width = patches.shape
    out = torch.empty(size, dtype=torch.float64)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * height / size[0] - 0.5, 0), height - 1)
            x = min(max((j + 0.5) * width / size[1] - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = (1 - (x - left)) * patches[top, left] + (x - left) * patches[top, right]
            lower = (1 - (x - left)) * patches[bottom, left] + (x - left) * patches[bottom, right]
            out[i, j] = (1 - (y - top)) * upper + (y - top) * lower
    return out


sides = st.integers(1, 5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**30), sides, sides, st.integers(1, 9), st.integers(1, 9))
def test_upsample_follows_the_definition(seed, height, width, rows, columns):
    generator = torch.Generator().manual_seed(seed)
    # Of very different size, so that the bounds of one map cannot hold for another.
    patches = torch.randn(2, height, width, generator=generator, dtype=torch.float64)
    patches[1] = 100 + 10 * patches[1]
    expected = torch.stack([slow_bilinear(each, (rows, columns)) for each in patches])
    torch.testing.assert_close(upsample(patches, (rows, columns)), expected, rtol=1e-14, atol=1e-13)


@given(st.floats(-1e6, 1e6, width=32))
def test_constant_patches_stay_constant(value):
    # 14 → 224 happens to round to nothing; a size that is no multiple does not.
    constant, another = torch.full((14, 14), value), torch.linspace(-2e6, 2e6, 196).view(14, 14)
    pixels = upsample(torch.stack([constant, another]), (37, 50))[:1]
    assert pixels.unique().numel() == 1
    assert minmax(pixels).eq(0).all()


def test_minmax_spans_zero_to_one_per_image():
    maps = torch.randn(5, 6, 7) * torch.tensor([1e-9, 1, 1e9, 3, 5])[:, None, None] + 2
    scaled = minmax(maps)
    assert scaled[1:].amin((1, 2)).eq(0).all()
    assert scaled[1:].amax((1, 2)).eq(1).all()
    assert scaled[0].eq(0).all(), "1e-9 beside 2 is nothing in float32"
    for single, among_others in zip(maps, scaled, strict=True):
        assert minmax(single[None])[0].equal(among_others)


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=4))
def test_rank_counts_who_comes_first(rows):
    scores = torch.tensor(rows, dtype=torch.float32)
    ranks = rank(scores.view(-1, 2, 3)).flatten(1)
    for row, positions in zip(rows, ranks.tolist(), strict=True):
        for i, score in enumerate(row):
            ahead = sum(other > score or (other == score and j < i) for j, other in enumerate(row))
            assert positions[i] == ahead


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_ties_of_long_rows_go_to_the_lower_index(seed, levels):
    # An unstable sort keeps the order of a few equal entries by accident, but not that of hundreds.
    scores = np.random.default_rng(seed).integers(0, levels, (2, 300)).astype(np.float32)
    expected = [np.argsort(np.lexsort([np.arange(300), -row])).tolist() for row in scores]
    assert rank(torch.from_numpy(scores)).tolist() == expected


@pytest.mark.parametrize("function", [minmax, rank, lambda maps: upsample(maps, (8, 8))])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_infinity_are_refused_and_located(function, bad):
    maps = torch.rand(4, 2, 2)
    maps[2, 1, 1] = bad
    with pytest.raises(ValueError, match=r"NaN or infinity in sample\(s\) \[2\] of this batch of 4"):
        function(maps)


@pytest.mark.parametrize("function", [minmax, lambda maps: upsample(maps, (8, 8))])
def test_a_map_without_its_batch_is_refused(function):
    with pytest.raises(ValueError, match="expected shape"):
        function(torch.rand(2, 2))
