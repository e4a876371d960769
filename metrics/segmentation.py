"""Segmentation test: how well the foreground of a map agrees with an annotated mask.

Chefer, Gur, Wolf, CVPR 2021, section 4, on ImageNet-Segmentation (Guillaumin, Küttel, Ferrari, 2014).
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.checks import require_finite, require_shape


class SegmentationCounts(NamedTuple):
    """Pixels per image, int64. The last dimension of the two pairs is (background, foreground)."""

    correct: Tensor  # (B,)
    labelled: Tensor  # (B,)
    intersection: Tensor  # (B, 2)
    union: Tensor  # (B, 2)


def foreground(maps: Tensor, threshold: Literal["mean"] | float = "mean") -> Tensor:
    """Pixels of (B, H, W) strictly above the threshold, bool: each map's own mean, or one number for all.

    A constant map has no foreground at its mean. Raises ValueError for NaN or infinity.
    """
    require_shape("maps", maps, None, None, None)
    require_finite("maps", maps)
    if threshold != "mean":
        return maps > threshold
    maps = maps.double()
    # A mean is never below the minimum, except by rounding, where a constant map would turn all foreground.
    return maps > torch.maximum(maps.mean((1, 2), keepdim=True), maps.amin((1, 2), keepdim=True))


def segmentation_counts(predicted: Tensor, masks: Tensor) -> SegmentationCounts:
    """Counts per image from two bool (B, H, W): the predicted and the annotated foreground.

    Raises ValueError for shapes that differ.
    """
    require_shape("predicted", predicted, None, None, None)
    require_shape("masks", masks, *predicted.shape)
    predicted, masks = predicted.bool().flatten(1), masks.bool().flatten(1)
    labelled = torch.full((len(masks),), masks.shape[1], device=masks.device)
    both, either = (predicted & masks).sum(1), (predicted | masks).sum(1)
    return SegmentationCounts(
        correct=labelled - either + both,
        labelled=labelled,
        intersection=torch.stack([labelled - either, both], 1),
        union=torch.stack([labelled - both, either], 1),
    )


def average_precision(maps: Tensor, masks: Tensor) -> Tensor:
    """Average precision per image (B,), float64, of min–max scaled maps (B, H, W) against bool masks.

    The joined scores [1 − map, map] against the one-hot mask [background, foreground], micro over the two
    classes, equal scores being one threshold, as ``sklearn.metrics.average_precision_score``. A constant map
    ranks nothing: both its channels count as 0, and the result is 0.5 (what the reference makes of 0/0).

    With H·W = n and s = map − ½ at foreground, ½ − map at background pixels, the n positives score s and the
    n negatives −s. A threshold t leaves #(s ≥ t) true and #(s ≤ −t) false positives, and one sort of |s|
    serves both ends: with R, W the numbers of pixels on the right (s > 0) and on the wrong side,

        t = a > 0:    R(|s| ≥ a) true,        W(|s| ≥ a) false positives
        t = −a ≤ 0:   n − W(|s| > a) true,    n − R(|s| > a) false positives

    Raises ValueError for NaN, shapes that differ and maps that are not in [0, 1].
    """
    require_shape("maps", maps, None, None, None)
    require_shape("masks", masks, *maps.shape)
    require_finite("maps", maps)
    low, high = maps.amin((1, 2)), maps.amax((1, 2))
    if (low < 0).any() or (high > 1).any():
        raise ValueError("maps: expected values in [0, 1], as metrics.minmax gives them")

    above = (maps.double().flatten(1) - 0.5).where((low < high)[:, None], 0)
    right = torch.where(masks.bool().flatten(1), above > 0, above < 0)
    magnitude, right = _descending(above.abs(), right)

    n = magnitude.shape[1]
    seen = torch.arange(1, n + 1, dtype=torch.float64, device=maps.device).expand_as(magnitude)
    seen_right = right.cumsum(1, dtype=torch.float64)
    # A threshold takes in all pixels of one magnitude, so only the last of each counts.
    last = torch.ones_like(right)
    last[:, :-1] = magnitude[:, 1:] != magnitude[:, :-1]
    before, before_right = _before(seen, last), _before(seen_right, last)
    new_right = seen_right - before_right
    new_wrong = seen - before - new_right
    gained = new_right * seen_right / seen + new_wrong * (n - before + before_right) / (2 * n - before)
    return (gained * last).sum(1) / n


def _descending(magnitude: Tensor, flag: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of float64 ≥ 0 in descending order, as int64 keys of the same order, and a flag sorted along."""
    # The bits of a float ≥ 0, read as an integer, keep its order and leave the sign bit for the flag. So the
    # sort needs no indices, and on the CPU NumPy's vectorised one, four times as fast as torch's, can do it.
    keys = (magnitude.view(torch.int64) << 1) | flag
    keys = torch.from_numpy(np.sort(keys.numpy())) if keys.device.type == "cpu" else keys.sort(dim=1).values
    keys = keys.flip(1)
    return keys >> 1, (keys & 1).bool()


def _before(counts: Tensor, last: Tensor) -> Tensor:
    """Of running counts (B, n), the value reached before the group that ends at each ``last``."""
    reached = (counts * last).cummax(1).values
    return torch.cat([torch.zeros_like(reached[:, :1]), reached[:, :-1]], 1)


def pixel_accuracy(correct: ArrayLike, labelled: ArrayLike) -> np.ndarray:
    """Per cent of all pixels (…) from counts (…, n) of n images; sums of resamples pass as n = 1."""
    return 100 * _total(correct, -1) / _total(labelled, -1)


def miou(intersection: ArrayLike, union: ArrayLike) -> np.ndarray:
    """Mean of the IoU of background and foreground over the data set, in per cent (…), from counts (…, n, 2).

    A class that was neither annotated nor predicted anywhere has an IoU of 0. Sums of resamples pass as
    n = 1.
    """
    union = _total(union, -2)
    return 100 * (_total(intersection, -2) / np.where(union > 0, union, 1)).mean(-1)


def mean_average_precision(average_precisions: ArrayLike) -> np.ndarray:
    """Mean over images of (…, n) average precisions, in per cent (…)."""
    return 100 * np.asarray(average_precisions, dtype=np.float64).mean(-1)


def _total(counts: ArrayLike, axis: int) -> np.ndarray:
    return np.asarray(counts, dtype=np.float64).sum(axis)
