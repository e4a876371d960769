"""Which pixels are masked, and the area under the accuracy that is left."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import auc as sklearn_auc

from metrics import accuracy_curve, auc, rank, removed

pytestmark = pytest.mark.numerical

FRACTIONS = [i / 10 for i in range(10)]


@pytest.mark.parametrize("most_relevant_first", [True, False])
def test_exact_counts_of_the_protocol(most_relevant_first):
    ranks = rank(torch.rand(2, 224, 224).round(decimals=2))
    for fraction in FRACTIONS:
        masks = removed(ranks, fraction, most_relevant_first)
        assert masks.sum((1, 2)).tolist() == [int(50176 * fraction)] * 2


def test_counts_are_free_of_rounding():
    ranks = rank(torch.rand(1, 9, 10))
    assert int(90 * 0.7) == 62, "the trap this guards against"
    assert removed(ranks, 0.7, True).sum() == 63


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 100))
def test_removed_is_the_head_or_the_tail_of_the_sorted_pixels(values, percent):
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    count = len(values) * percent // 100
    ranks = rank(torch.tensor(values, dtype=torch.float32)[None, :, None])
    for direction, gone in ((True, order[:count]), (False, order[len(order) - count :])):
        masked = removed(ranks, percent / 100, direction).flatten().nonzero().flatten()
        assert masked.tolist() == sorted(gone)


@given(st.lists(st.integers(0, 4), min_size=20, max_size=20), st.floats(0, 1))
def test_masked_pixels_are_the_most_or_least_relevant(values, fraction):
    maps = torch.tensor(values, dtype=torch.float32).view(1, 4, 5)
    ranks = rank(maps)
    most, least = removed(ranks, fraction, True), removed(ranks, fraction, False)
    if 0 < most.sum() < 20:
        assert maps[most].min() >= maps[~most].max()
        assert maps[least].max() <= maps[~least].min()
    count = int(most.sum())
    assert removed(ranks, (20 - count) / 20, False).equal(~most), "one ranking, read from both ends"


@pytest.mark.parametrize("most_relevant_first", [True, False])
def test_masks_are_nested(most_relevant_first):
    ranks = rank(torch.zeros(1, 7, 9))
    masks = [removed(ranks, fraction, most_relevant_first) for fraction in [*FRACTIONS, 1.0]]
    assert not masks[0].any()
    assert masks[-1].all()
    for smaller, larger in pairwise(masks):
        assert (smaller <= larger).all()


def test_ties_go_by_place():
    ranks = rank(torch.zeros(1, 2, 2))
    assert removed(ranks, 0.5, True)[0].tolist() == [[True, True], [False, False]]
    assert removed(ranks, 0.5, False)[0].tolist() == [[False, False], [True, True]]


def test_a_batch_masks_what_its_images_mask_alone():
    maps = torch.rand(5, 8, 8).round(decimals=1)
    together = removed(rank(maps), 0.3, True)
    for alone, among_others in zip(maps, together, strict=True):
        assert removed(rank(alone[None]), 0.3, True)[0].equal(among_others)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_outside_the_image(fraction):
    with pytest.raises(ValueError, match="fraction"):
        removed(rank(torch.rand(1, 2, 2)), fraction, True)


def test_a_perfect_curve_is_worth_90():
    assert auc(np.ones(10), FRACTIONS) == pytest.approx(90, abs=1e-12)


def test_auc_by_hand_and_by_sklearn():
    assert auc([1.0, 0.5, 0.0], [0.0, 0.1, 0.3]) == pytest.approx(100 * (0.075 + 0.05))
    hits = np.random.default_rng(0).random((50, 10)) < np.linspace(0.9, 0.1, 10)
    curve = accuracy_curve(hits)
    assert curve.tolist() == [sum(step) / 50 for step in hits.T.tolist()]
    assert auc(curve, FRACTIONS) == pytest.approx(100 * sklearn_auc(FRACTIONS, curve), abs=1e-10)


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=11, unique=True),
    st.integers(0, 2**32 - 1),
)
def test_auc_is_the_sum_of_trapezoids_and_sklearns(fractions, seed):
    # A width below the smallest normal number is not positive to every library.
    fractions = sorted({round(f, 6) for f in fractions})
    assume(len(fractions) > 1)
    hits = np.random.default_rng(seed).random((7, len(fractions))) < 0.5
    curve = [sum(step) / len(hits) for step in zip(*hits.tolist(), strict=True)]
    area = sum(
        (right - left) * (before + after) / 2
        for (left, right), (before, after) in zip(pairwise(fractions), pairwise(curve), strict=True)
    )
    ours = auc(accuracy_curve(hits), fractions)
    assert ours == pytest.approx(100 * area, abs=1e-10)
    assert ours == pytest.approx(100 * sklearn_auc(fractions, curve), abs=1e-10)


def test_resamples_and_images_have_areas_of_their_own():
    rng = np.random.default_rng(1)
    hits = rng.random((30, 10)) < 0.4
    resamples = hits[rng.integers(0, 30, (7, 30))]
    expected = [float(auc(accuracy_curve(each), FRACTIONS)) for each in resamples]
    assert auc(accuracy_curve(resamples), FRACTIONS) == pytest.approx(expected)
    assert auc(hits, FRACTIONS).mean() == pytest.approx(auc(accuracy_curve(hits), FRACTIONS))


@pytest.mark.parametrize("fractions", [[0.0, 0.1], [0.0, 0.2, 0.1], [0.0, 0.1, 0.1]])
def test_fractions_that_make_no_axis(fractions):
    with pytest.raises(ValueError, match="fractions"):
        auc([1.0, 0.5, 0.0], fractions)
