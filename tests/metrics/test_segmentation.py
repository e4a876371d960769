"""Segmentation numbers against the reference implementation, scikit-learn and ten-line definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, jaccard_score, precision_recall_curve

from metrics import (
    average_precision,
    foreground,
    mean_average_precision,
    minmax,
    miou,
    pixel_accuracy,
    precision_at,
    segmentation_counts,
    upsample,
)

pytestmark = pytest.mark.numerical

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def reference():
    with np.load(GOLDEN / "segmentation.npz") as arrays:
        relevance = torch.from_numpy(arrays["relevance"])
        masks = torch.from_numpy(np.unpackbits(arrays["masks"], axis=-1)).bool()
    return relevance, masks, json.loads((GOLDEN / "segmentation.json").read_text())


@pytest.fixture(scope="module")
def scored(reference):
    relevance, masks, _ = reference
    maps = minmax(upsample(relevance, (224, 224)))
    return segmentation_counts(foreground(maps), masks), average_precision(maps, masks)


def test_reference_images(reference, scored):
    counts, precisions = scored
    for i, expected in enumerate(reference[2]["per_image"]):
        for name in counts._fields:
            assert getattr(counts, name)[i].tolist() == expected[name], (i, name)
        assert precisions[i].item() == pytest.approx(expected["ap"], abs=1e-6), i


def test_reference_totals(reference, scored):
    counts, precisions = scored
    expected = reference[2]["total"]
    assert pixel_accuracy(counts.correct, counts.labelled) / 100 == pytest.approx(
        expected["pixel_accuracy"], abs=1e-9
    )
    assert miou(counts.intersection, counts.union) / 100 == pytest.approx(expected["miou"], abs=1e-9)
    assert mean_average_precision(precisions) / 100 == pytest.approx(expected["map"], abs=1e-6)


def test_float32_maps_agree_with_the_reference(reference):
    relevance, masks, expected = reference
    precisions = average_precision(minmax(upsample(relevance.float(), (224, 224))), masks)
    assert precisions.numpy() == pytest.approx([each["ap"] for each in expected["per_image"]], abs=1e-6)


def sklearn_average_precision(scaled, mask):
    scores = np.zeros((2, scaled.size)) if np.ptp(scaled) == 0 else np.stack([1 - scaled, scaled])
    return average_precision_score(np.stack([~mask, mask]).ravel(), scores.ravel())


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5, 9, 10**6]), st.floats(0, 1))
def test_average_precision_is_sklearns_with_ties(seed, levels, share):
    rng = np.random.default_rng(seed)
    # Sixteenths and the like are exact, so that m and 1 − m of two pixels really tie.
    maps = rng.integers(0, levels, (3, 4, 5)) / (1 << (levels - 1).bit_length())
    masks = rng.random((3, 4, 5)) < share
    ours = average_precision(torch.from_numpy(maps), torch.from_numpy(masks))
    expected = [sklearn_average_precision(m.ravel(), t.ravel()) for m, t in zip(maps, masks, strict=True)]
    assert ours.numpy() == pytest.approx(expected, abs=1e-12)


def test_average_precision_by_its_definition():
    maps, masks = torch.randint(9, (4, 6, 6)) / 8, torch.rand(4, 6, 6) < 0.4
    for scaled, mask, ours in zip(maps, masks, average_precision(maps, masks), strict=True):
        scores = torch.cat([1 - scaled.flatten(), scaled.flatten()])
        truth = torch.cat([~mask.flatten(), mask.flatten()])
        area = recall = 0
        for threshold in sorted(set(scores.tolist()), reverse=True):
            chosen = scores >= threshold
            hits = int((chosen & truth).sum())
            area += (hits / int(truth.sum()) - recall) * hits / int(chosen.sum())
            recall = hits / int(truth.sum())
        assert ours.item() == pytest.approx(area, abs=1e-12)


def test_the_annotation_itself_is_the_ceiling():
    masks = torch.rand(3, 8, 8) < 0.3
    maps = masks.double()
    counts = segmentation_counts(foreground(maps), masks)
    assert average_precision(maps, masks).tolist() == [1.0] * 3
    assert average_precision(1 - maps, masks) == pytest.approx([0.5] * 3)
    assert pixel_accuracy(counts.correct, counts.labelled) == 100
    assert miou(counts.intersection, counts.union) == 100


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_a_constant_map_has_no_foreground_and_half_precision(share):
    masks = torch.rand(1, 224, 224) < share
    for value in (0.0, 0.3, 0.5, 0.6, 1.0):  # the mean of 50,176 times 0.3 or 0.6 rounds down
        maps = torch.full((1, 224, 224), value, dtype=torch.float64)
        assert not foreground(maps).any()
        assert average_precision(maps, masks).tolist() == [0.5]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_counts_are_sklearns(seed, share, predicted_share):
    rng = np.random.default_rng(seed)
    masks, predicted = rng.random((3, 5, 7)) < share, rng.random((3, 5, 7)) < predicted_share
    counts = segmentation_counts(torch.from_numpy(predicted), torch.from_numpy(masks))
    truth, guess = masks.ravel(), predicted.ravel()
    assert pixel_accuracy(counts.correct, counts.labelled) == pytest.approx(
        100 * accuracy_score(truth, guess)
    )
    per_class = jaccard_score(truth, guess, labels=[False, True], average=None, zero_division=0)
    assert miou(counts.intersection, counts.union) == pytest.approx(100 * per_class.mean())


def test_foreground_is_strictly_above_the_mean_or_a_number():
    maps = torch.tensor([[[0.0, 0.25], [0.75, 1.0]], [[0.0, 0.5], [0.5, 1.0]]])
    assert foreground(maps).tolist() == [[[False, False], [True, True]], [[False, False], [False, True]]]
    assert foreground(maps, threshold=0.2)[1].tolist() == [[False, True], [True, True]]
    assert foreground(maps, threshold=0.5)[1].tolist() == [[False, False], [False, True]]


def test_a_batch_scores_what_its_images_score_alone(reference, scored):
    relevance, masks, _ = reference
    counts, precisions = scored
    for i in (0, 7, 20, 21, 22, 23):
        maps = minmax(upsample(relevance[i : i + 1], (224, 224)))
        alone = segmentation_counts(foreground(maps), masks[i : i + 1])
        assert all(a[0].equal(b[i]) for a, b in zip(alone, counts, strict=True))
        # Interpolated in another shape, pixels that nearly tie may change places.
        assert average_precision(maps, masks[i : i + 1]).item() == pytest.approx(
            precisions[i].item(), abs=1e-6
        )


def test_totals_take_resamples_gathered_or_summed(scored):
    counts = type(scored[0])(*(each.numpy() for each in scored[0]))
    chosen = np.random.default_rng(0).integers(0, 24, (11, 24))
    weights = np.stack([np.bincount(each, minlength=24) for each in chosen])
    gathered = miou(counts.intersection[chosen], counts.union[chosen])
    summed = miou((weights @ counts.intersection)[:, None], (weights @ counts.union)[:, None])
    one_by_one = [float(miou(counts.intersection[each], counts.union[each])) for each in chosen]
    assert gathered == pytest.approx(one_by_one)
    assert summed == pytest.approx(one_by_one)
    assert pixel_accuracy(counts.correct[chosen], counts.labelled[chosen]) == pytest.approx(
        [100 * counts.correct[each].sum() / counts.labelled[each].sum() for each in chosen]
    )
    assert mean_average_precision(scored[1].numpy()[chosen]).shape == (11,)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_totals_are_ratios_of_sums_over_images_of_any_size(images):
    """Images of a pixels that are right, b missed and c found in vain, beside one right background pixel."""
    correct, labelled = [a + 1 for a, _, _ in images], [a + b + c + 1 for a, b, c in images]
    overlaps = np.array([[(1, a) for a, _, _ in images], [(1 + b + c, a + b + c) for a, b, c in images]])
    a, b, c = map(sum, zip(*images, strict=True))
    n = len(images)
    assert pixel_accuracy(correct, labelled) == pytest.approx(100 * (a + n) / (a + b + c + n))
    foreground_iou = a / (a + b + c) if a + b + c else 0
    assert miou(*overlaps) == pytest.approx(100 * (n / (n + b + c) + foreground_iou) / 2)
    shares = [a / (a + b + c + 1) for a, b, c in images]
    assert mean_average_precision(shares) == pytest.approx(100 * sum(shares) / n)


def test_what_cannot_be_scored_is_refused():
    maps, masks = torch.rand(2, 4, 4), torch.rand(2, 4, 4) < 0.5
    with pytest.raises(ValueError, match=r"masks: expected shape \(2, 4, 4\), got \(2, 4, 5\)"):
        average_precision(maps, torch.zeros(2, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="masks: expected shape"):
        segmentation_counts(masks, masks[:1])
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        average_precision(maps + 0.5, masks)
    maps[1, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinity in sample\(s\) \[1\]"):
        average_precision(maps, masks)
    with pytest.raises(ValueError, match="NaN"):
        foreground(maps)


def test_precision_at_recalls_is_sklearns_curve():
    generator = torch.Generator().manual_seed(3)
    maps = torch.randint(9, (4, 6, 6), generator=generator) / 8  # with ties
    masks = torch.rand(4, 6, 6, generator=generator) < 0.4
    recalls = torch.tensor([1 / 36, 0.25, 0.5, 0.51, 1.0])
    ours = precision_at(recalls, maps, masks)
    for scaled, mask, curve in zip(maps, masks, ours.tolist(), strict=True):
        scores = torch.cat([1 - scaled.flatten(), scaled.flatten()])
        truth = torch.cat([~mask.flatten(), mask.flatten()])
        precision, recall, _ = precision_recall_curve(truth, scores)
        expected = [precision[recall >= r - 1e-6][-1] for r in recalls.tolist()]
        assert curve == pytest.approx(expected)


def test_the_mean_of_the_precisions_is_average_precision(reference):
    relevance, masks, _ = reference
    maps = minmax(upsample(relevance[:3], (64, 64)))
    masks = masks[:3, ::4, ::4][:, :56, :56]
    maps = maps[:, :56, :56].clamp(0, 1)
    n = masks[0].numel()
    every = precision_at(torch.arange(1, n + 1).double() / n, maps, masks)
    assert every.mean(1).tolist() == pytest.approx(average_precision(maps, masks).tolist())
