"""Maps against masks: loops over pixels, scikit-learn, and what is undefined or refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import metrics

pytestmark = pytest.mark.numerical

SIZE = (5, 7)
values = st.lists(st.integers(-2, 4), min_size=35, max_size=35)
bits = st.lists(st.booleans(), min_size=35, max_size=35)
FORMULAS = {
    "pointing_game": metrics.pointing_game,
    "mass_accuracy": metrics.mass_accuracy,
    "mass_over_chance": metrics.mass_over_chance,
    "rank_accuracy": metrics.rank_accuracy,
    "roc_auc": metrics.roc_auc,
    "top_k_intersection": lambda maps, masks: metrics.top_k_intersection(maps, masks, 9),
}


def batch(numbers, kind=torch.float32):
    return torch.tensor(numbers, dtype=kind).view(-1, *SIZE)


def slowly(name, values, mask):
    """One sample, pixel by pixel; NaN where it is undefined."""
    inside = [i for i, bit in enumerate(mask) if bit]
    if not inside:
        return math.nan
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    if name == "pointing_game":
        return float(order[0] in inside)
    if name.startswith("mass"):
        total = sum(max(v, 0) for v in values)
        if not total or (name == "mass_over_chance" and len(inside) == len(values)):
            return math.nan
        mass = sum(max(values[i], 0) for i in inside) / total
        return mass if name == "mass_accuracy" else mass / (len(inside) / len(values))
    if name == "rank_accuracy":
        return len(set(order[: len(inside)]) & set(inside)) / len(inside)
    if name == "top_k_intersection":
        return len(set(order[:9]) & set(inside)) / 9
    if len(inside) == len(values):
        return math.nan
    return roc_auc_score(mask, values)


@settings(deadline=None)
@given(values, bits)
@pytest.mark.parametrize("name", FORMULAS)
def test_each_formula_by_loops(name, values, bits):
    found = float(FORMULAS[name](batch(values), batch(bits, torch.bool)))
    assert found == pytest.approx(slowly(name, values, bits), nan_ok=True)


@settings(deadline=None)
@given(values, bits, st.floats(0, 6))
def test_the_pointing_game_with_tolerance_is_a_distance(values, bits, tolerance):
    best = divmod(min(range(35), key=lambda i: (-values[i], i)), 7)
    near = [math.dist(best, divmod(i, 7)) <= tolerance for i, bit in enumerate(bits) if bit]
    found = float(metrics.pointing_game(batch(values), batch(bits, torch.bool), tolerance))
    assert found == pytest.approx(float(any(near)) if near else math.nan, nan_ok=True)


@pytest.mark.parametrize("name", FORMULAS)
def test_a_batch_is_its_samples(name):
    generator = torch.Generator().manual_seed(0)
    maps, masks = torch.randn(4, *SIZE, generator=generator), torch.rand(4, *SIZE, generator=generator) < 0.3
    masks[2] = False
    together = FORMULAS[name](maps, masks)
    assert together.dtype == torch.float64
    alone = torch.cat([FORMULAS[name](maps[i : i + 1], masks[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, equal_nan=True)
    assert together.isnan().tolist() == [False, False, True, False]  # an empty mask is no hit


@pytest.mark.parametrize("name", FORMULAS)
def test_bad_maps_are_named(name):
    masks = torch.ones(2, *SIZE, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"maps: NaN or infinity in sample\(s\) \[1\]"):
        FORMULAS[name](torch.tensor([0.0, math.nan])[:, None, None].expand(2, *SIZE), masks)
    with pytest.raises(ValueError, match="masks: expected shape"):
        FORMULAS[name](torch.zeros(2, 3, 3), masks)
    with pytest.raises(ValueError, match="k=36"):
        metrics.top_k_intersection(torch.zeros(2, *SIZE), masks, 36)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-4, 12)] * 4), max_size=3))
def test_boxes_cover_every_pixel_they_touch(boxes):
    boxes = [(min(a, c), min(b, d), max(a, c) + 0.5, max(b, d) + 0.5) for a, b, c, d in boxes]
    mask = metrics.box_mask(boxes, SIZE)
    for row in range(SIZE[0]):
        for column in range(SIZE[1]):
            touched = any(
                x0 < column + 1 and x1 > column and y0 < row + 1 and y1 > row for x0, y0, x1, y1 in boxes
            )
            assert mask[row, column] == touched


@pytest.mark.parametrize("box", [(3, 0, 3, 2), (0, 2, 1, 1), (0, 0, math.nan, 2), (0, 0, 1)])
def test_a_box_without_extent_is_refused(box):
    with pytest.raises(ValueError, match="box"):
        metrics.box_mask([box], SIZE)


@settings(deadline=None)
@given(values, values)
def test_class_sensitivity_by_loops(one, other):
    left, right = list(range(5)), list(range(20, 30))
    masks = [[i in region for i in range(35)] for region in (left, right)]
    shares = []
    for numbers, own in ((one, left), (other, right)):
        both = sum(max(numbers[i], 0) for i in (*left, *right))
        shares.append(sum(max(numbers[i], 0) for i in own) / both if both else math.nan)
    found = float(
        metrics.class_sensitivity(batch(one), batch(other), *(batch(mask, torch.bool) for mask in masks))
    )
    assert found == pytest.approx(np.mean(shares), nan_ok=True)
    if one == other and not math.isnan(found):
        assert found == pytest.approx(0.5)


def test_a_map_for_every_class_tells_nothing_apart():
    maps = torch.rand(1, *SIZE)
    masks, others = torch.zeros(2, 1, *SIZE, dtype=torch.bool)
    masks[0, 0, 0], others[0, 3, 3] = True, True
    assert float(metrics.class_sensitivity(maps, maps, masks, others)) == pytest.approx(0.5)
    assert float(metrics.class_sensitivity(masks.float(), others.float(), masks, others)) == 1
    with pytest.raises(ValueError, match="in common"):
        metrics.class_sensitivity(maps, maps, masks, masks)
