"""Inputs from which units are removed: against loops over samples and units, and what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import metrics

pytestmark = pytest.mark.numerical

IMAGES = torch.rand(3, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.tensor([0, 2, 1])
WEIGHTS = torch.randn(3, 48, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
PIXELS = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def classifier(images):
    """Logits of three classes that every pixel moves, and not by itself alone."""
    return (images.flatten(1) ** 2) @ WEIGHTS.T + images.flatten(1).cumprod(dim=1) @ WEIGHTS.T


def of_one_image(image, mask, fill):
    """What the model says of an image, one pixel after the other replaced in Python."""
    changed = image.clone()
    for row, column in mask.nonzero().tolist():
        for channel in range(changed.shape[0]):
            changed[channel, row, column] = fill[channel, row, column]
    return classifier(changed[None])[0]


@pytest.mark.parametrize("grid", [None, (2, 3)])
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_curves_are_those_of_a_loop(grid, rows):
    fill = torch.tensor([0.5, -0.25], dtype=torch.float64).view(1, 2, 1, 1)
    units = 6 if grid else 24
    scores = torch.rand(3, units, generator=torch.Generator().manual_seed(3)).round(decimals=1)
    most_counts, least_counts = torch.tensor([0, 1, units // 2, units]), torch.tensor([2, 0, units])
    masked = metrics.MaskedImages(classifier, IMAGES, fill, grid)
    found = metrics.removal_curves(masked, metrics.rank(scores), most_counts, least_counts, TARGET, rows=rows)
    for sample in range(3):
        order = sorted(range(units), key=lambda i, s=sample: (-float(scores[s, i]), i))
        for outputs, counts, ordered in (
            (found[0], most_counts, order),
            (found[1], least_counts, order[::-1]),
        ):
            for step, count in enumerate(counts.tolist()):
                mask = torch.zeros(units, dtype=torch.bool)
                mask[ordered[:count]] = True
                mask = (
                    mask.view(*grid).repeat_interleave(2, 0).repeat_interleave(2, 1)
                    if grid
                    else mask.view(4, 6)
                )
                logits = of_one_image(IMAGES[sample], mask, fill.expand(1, 2, 4, 6)[0])
                assert outputs.logit[sample, step] == pytest.approx(float(logits[TARGET[sample]]))
                softmax = logits.exp() / logits.exp().sum()
                assert outputs.probability[sample, step] == pytest.approx(float(softmax[TARGET[sample]]))
                assert outputs.log_probability[sample, step] == pytest.approx(
                    float(softmax[TARGET[sample]].log())
                )
                assert outputs.prediction[sample, step] == logits.argmax()


def test_nothing_is_passed_twice():
    """Both directions begin with the whole input and end with nothing of it."""
    passed = []

    def counted(samples, removed):
        passed.append(len(samples))
        return torch.zeros(len(samples), 3)

    counts = torch.tensor([0, 1, 2, 4])
    ranks = metrics.rank(torch.rand(5, 4))
    metrics.removal_curves(counted, ranks, counts, counts, torch.zeros(5, dtype=torch.long))
    assert sum(passed) == 5 * 6
    assert passed == [5] * 6


def test_samples_of_different_sizes():
    """Units beyond the end of a short sample are never removed, wherever their scores would put them."""
    scores = torch.tensor([[0.1, 0.9, 0.5, 7.0], [-3.0, -1.0, -2.0, -4.0]])
    valid = torch.tensor([[True, True, True, False], [True] * 4])
    ranks = metrics.unit_ranks(scores, valid)
    assert ranks.tolist() == [[2, 0, 1, 3], [2, 0, 1, 3]]
    seen = {}

    def watched(samples, removed):
        for sample, row in zip(samples.tolist(), removed.tolist(), strict=True):
            seen.setdefault(sample, set()).add(tuple(row))
        return torch.zeros(len(samples), 2)

    counts, sizes = torch.tensor([[0, 1, 3], [0, 1, 4]]), valid.sum(dim=1)
    metrics.removal_curves(watched, ranks, counts, counts, torch.zeros(2, dtype=torch.long), sizes)
    assert seen[0] == {
        (False,) * 4,
        (False, True, False, False),
        (True, False, False, False),
        (True, True, True, False),
    }
    assert len(seen[1]) == 4


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.sampled_from(["first", "last"]))
def test_ties_go_to_either_end(values, ties):
    sign = 1 if ties == "first" else -1
    order = sorted(range(len(values)), key=lambda i: (-values[i], sign * i))
    ranks = metrics.unit_ranks(torch.tensor([values], dtype=torch.float32), ties=ties)[0].tolist()
    assert [ranks[i] for i in order] == list(range(len(values)))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: metrics.MaskedImages(classifier, IMAGES, IMAGES, (3, 3)), "grid"),
        (lambda: metrics.unit_ranks(torch.zeros(1, 2), ties="any"), "ties"),
        (lambda: metrics.fill_pixels("white", PIXELS, (0, 0, 0)), "fill"),
        (lambda: metrics.fill_pixels("blur", PIXELS, (0, 0, 0)), "sigma"),
        (lambda: metrics.inpaint(PIXELS, torch.ones(2, 9, 11, dtype=torch.bool)), r"sample\(s\) \[0, 1\]"),
        (lambda: metrics.inpaint(PIXELS / 0, torch.zeros(2, 9, 11, dtype=torch.bool)), "NaN or infinity"),
        (lambda: curves_of(torch.tensor([5])), "counts"),
        (lambda: curves_of(torch.tensor([-1])), "counts"),
        (lambda: curves_of(torch.tensor([1]), float("nan")), "logits: NaN or infinity"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def curves_of(counts, logit=0.0):
    ranks = metrics.rank(torch.rand(2, 4))
    target = torch.zeros(2, dtype=torch.long)
    return metrics.removal_curves(
        lambda samples, removed: torch.full((len(samples), 2), logit), ranks, counts, counts, target
    )


def test_colours_of_the_fill():
    assert metrics.fill_pixels("black", PIXELS, (0.1, 0.2, 0.3)).eq(0).all()
    mean = metrics.fill_pixels("mean", PIXELS, (0.1, 0.2, 0.3))
    assert mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    own = metrics.fill_pixels("image_mean", PIXELS, (0, 0, 0))
    assert own[1, 2].item() == pytest.approx(sum(PIXELS[1, 2].flatten().tolist()) / 99)


@pytest.mark.parametrize("sigma", [0.7, 2.0])
def test_blur_is_scipys(sigma):
    images = torch.rand(2, 3, 24, 20, dtype=torch.float64)
    expected = gaussian_filter(images.numpy(), (0, 0, sigma, sigma), mode="nearest")
    np.testing.assert_allclose(metrics.fill_pixels("blur", images, (0, 0, 0), sigma), expected, atol=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.98])
@pytest.mark.parametrize("scattered", [True, False])
def test_imputed_pixels_solve_the_dense_system(share, scattered):
    """One equation per missing pixel, written out with NumPy."""
    height, width = PIXELS.shape[2:]
    scores = torch.rand(2, height * width, generator=torch.Generator().manual_seed(4))
    scores = scores if scattered else torch.arange(height * width).float().expand(2, -1)
    missing = (metrics.rank(scores) < share * height * width).view(2, height, width)
    found = metrics.inpaint(PIXELS, missing)
    for image, gone, ours in zip(PIXELS.numpy(), missing.numpy(), found.numpy(), strict=True):
        places = {place: i for i, place in enumerate(zip(*np.nonzero(gone), strict=True))}
        matrix, right = np.zeros((len(places),) * 2), np.zeros((len(places), 3))
        for (row, column), i in places.items():
            for down in (-1, 0, 1):
                for across in (-1, 0, 1):
                    near = (row + down, column + across)
                    if (down, across) == (0, 0) or not (0 <= near[0] < height and 0 <= near[1] < width):
                        continue
                    weight = 1 / 6 if 0 in (down, across) else 1 / 12
                    matrix[i, i] += weight
                    if near in places:
                        matrix[i, places[near]] -= weight
                    else:
                        right[i] += weight * image[:, near[0], near[1]]
        expected = image.copy()
        expected[:, gone] = np.linalg.solve(matrix, right).T
        np.testing.assert_allclose(ours, expected, atol=1e-7)  # a relative residual of 1e-8 is asked for


def wide_areas(name, side):
    """Which pixels are missing: (side, side), by far the most of them."""
    row, column = np.mgrid[:side, :side]
    if name == "all but a pixel":
        return (row != side // 3) | (column != side // 4)
    if name == "a disc":
        return np.hypot(row - side / 2, column - side / 2) < side / 2
    if name == "all but a column":
        return column != side - 1
    return (row % 7 != 0) | (column % 11 != 0)


@pytest.mark.parametrize("name", ["all but a pixel", "a disc", "all but a column", "all but a lattice"])
@pytest.mark.parametrize("side", [97, 128])
def test_wide_missing_areas_are_solved_for(name, side):
    """Where plain iterations take longest: every missing pixel is the mean of its neighbours, by convolution."""
    missing = torch.from_numpy(wide_areas(name, side))[None]
    images = torch.rand(1, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = metrics.inpaint(images, missing)
    assert found[:, :, ~missing[0]].equal(images[:, :, ~missing[0]])
    kernel = torch.tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=torch.float64)[None, None] / 12

    def weighted(values):
        return torch.nn.functional.conv2d(values.flatten(0, 1)[:, None], kernel, padding=1).view_as(values)

    means = weighted(found) / weighted(torch.ones_like(found))
    known = weighted(found * ~missing[:, None])[:, :, missing[0]].norm()
    assert (found - means)[:, :, missing[0]].norm() < 2e-8 * known


def test_an_imputed_image_does_not_depend_on_its_batch():
    images = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    missing = (
        torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(1))
        < torch.tensor([0.1, 0.9, 0.99])[:, None, None]
    )
    images[2] = 0.0  # solved before the first iteration
    together = metrics.inpaint(images, missing)
    for i in range(3):
        assert metrics.inpaint(images[i : i + 1], missing[i : i + 1])[0].equal(together[i])


def test_the_noise_of_road_depends_on_the_sample_alone():
    """Not on the batch, and on imputed pixels only; its size is the setting's."""
    flat = torch.full((3, 3, 40, 40), 0.5)
    seeds, removed = torch.tensor([5, 6, 7]), torch.zeros(1, 1600, dtype=torch.bool)
    removed[0, :1400] = True
    seen = []

    def model(images):
        seen.append(images)
        return torch.zeros(len(images), 2)

    run = metrics.InpaintedImages(model, flat, lambda pixels: pixels, seeds)
    run(torch.tensor([0, 2]), removed.expand(2, -1))
    alone = metrics.InpaintedImages(model, flat[2:], lambda pixels: pixels, seeds[2:])
    alone(torch.tensor([0]), removed)
    assert seen[0][1].equal(seen[1][0])
    assert not seen[0][0].equal(seen[0][1])
    gone = removed.view(40, 40)
    assert seen[0][0][:, ~gone].eq(0.5).all()
    assert float((seen[0][0][:, gone] - 0.5).std()) == pytest.approx(0.01, rel=0.1)


IDS = torch.tensor([[2, 11, 12, 13, 14, 3], [2, 21, 22, 3, 0, 0]])
ATTENTION = (IDS > 0).long()
UNITS = torch.tensor([[-1, 0, 1, 1, 2, -1], [-1, 0, 1, -1, -1, -1]])
REMOVED = torch.tensor([[False, True, False], [True, False, False], [True, True, False], [False] * 3])
ROWS = torch.tensor([0, 0, 1, 1])
EXPECTED = {
    "mask": ([[2, 11, 9, 9, 14, 3], [2, 9, 12, 13, 14, 3], [2, 9, 9, 3], [2, 21, 22, 3]], None),
    "pad": ([[2, 11, 0, 0, 14, 3], [2, 0, 12, 13, 14, 3], [2, 0, 0, 3], [2, 21, 22, 3]], None),
    "delete": ([[2, 11, 14, 3], [2, 12, 13, 14, 3], [2, 3], [2, 21, 22, 3]], None),
    "attention": (
        [[2, 11, 12, 13, 14, 3], [2, 11, 12, 13, 14, 3], [2, 21, 22, 3], [2, 21, 22, 3]],
        [[1, 1, 0, 0, 1, 1], [1, 0, 1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]],
    ),
}


@pytest.mark.parametrize("fill", EXPECTED)
def test_removed_words(fill):
    """The rows of a batch, written down; what follows them is padding, which is not attended to."""
    ids, attention = EXPECTED[fill]
    attention = attention or [[1] * len(row) for row in ids]
    seen = {}

    def model(inputs):
        seen.update(inputs)
        return torch.zeros(len(inputs["input_ids"]), 2)

    inputs = {"input_ids": IDS, "attention_mask": ATTENTION, "token_type_ids": torch.zeros_like(IDS)}
    metrics.MaskedTexts(model, inputs, UNITS, fill, mask_id=9, pad_id=0)(ROWS, REMOVED)
    width = seen["input_ids"].shape[1]
    assert seen["input_ids"].tolist() == [row + [0] * (width - len(row)) for row in ids]
    assert seen["attention_mask"].tolist() == [row + [0] * (width - len(row)) for row in attention]
    assert seen["token_type_ids"].shape == seen["input_ids"].shape
    if fill == "delete":
        assert width == 5


@pytest.mark.parametrize(
    ("fill", "ids", "named"),
    [("mask", {}, "mask_id"), ("pad", {"mask_id": 9}, "pad_id"), ("blank", {"mask_id": 9}, "fill")],
)
def test_a_text_without_the_token_is_refused(fill, ids, named):
    inputs = {"input_ids": IDS, "attention_mask": ATTENTION}
    with pytest.raises(ValueError, match=named):
        metrics.MaskedTexts(lambda given: given, inputs, UNITS, fill, **ids)


def test_texts_of_several_lengths_need_padding():
    inputs = {"input_ids": IDS, "attention_mask": ATTENTION}
    with pytest.raises(ValueError, match="pad_id"):
        metrics.MaskedTexts(lambda given: given, inputs, UNITS, "delete")(ROWS, REMOVED)
