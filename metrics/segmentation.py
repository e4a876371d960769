"""Segmentation test: how well the foreground of a map agrees with an annotated mask.

Chefer, Gur, Wolf, CVPR 2021, section 4, on ImageNet-Segmentation (Guillaumin, Küttel, Ferrari, 2014).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.bootstrap import Statistic
from metrics.checks import require_finite, require_shape
from metrics.metric import Columns, Metric, stacked


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
    classes, equal scores being one threshold, as ``sklearn.metrics.average_precision_score``. Scores count as
    equal if they are within 2⁻²⁵, which is what float32 can tell of 1 − map. A constant map ranks nothing:
    both its channels count as 0, and the result is 0.5 (what the reference makes of 0/0).

    With H·W = n and s = map − ½ at foreground, ½ − map at background pixels, the n positives score s and the
    n negatives −s. So one sort of |s| serves both. Of the pixels in descending order of |s|, let the i-th be
    the last of its magnitude and the (b + 1)-th the first, and let R(j) of the first j be on the right side
    (s > 0). Such a pixel meets a threshold at which the precision is

        on the right side:   R(i) / i
        on the wrong side:   (n − b + R(b)) / (2n − b)

    and average precision is the mean of these precisions over the pixels.

    Raises ValueError for NaN, shapes that differ and maps that are not in [0, 1].
    """
    return _precisions(maps, masks)[0].mean(1)


def precision_at(recalls: Tensor, maps: Tensor, masks: Tensor) -> Tensor:
    """Precision per image at the thresholds that just reach these recalls (R,) in (0, 1]: (B, R), float64.

    Of the curve whose mean over all recalls is :func:`average_precision`, with the same arguments.
    """
    precision, right = _precisions(maps, masks)
    n = precision.shape[1]
    # A falling threshold meets the pixels on the right side from the greatest magnitude down, then the others
    # from the least magnitude up; each adds 1 / n of recall.
    position = torch.arange(n, device=maps.device)
    falling = torch.where(right > 0, position, 2 * n - position).argsort(1)
    reached = (recalls.to(maps.device).double() * n).sub(1e-6).ceil().long().clamp(1, n) - 1
    return precision.gather(1, falling[:, reached])


def _precisions(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The precision at each pixel's threshold, and which pixels are on the right side, by magnitude."""
    require_shape("maps", maps, None, None, None)
    require_shape("masks", masks, *maps.shape)
    low, high = maps.flatten(1).aminmax(dim=1)
    if not ((low >= 0) & (high <= 1)).all():  # so it is with NaN, too
        require_finite("maps", maps)
        raise ValueError("maps: expected values in [0, 1], as metrics.minmax gives them")

    # In units of 2⁻²⁴ all of this fits into 32-bit integers, which sort in half the time.
    above = (maps.flatten(1) * 2**24).round_().int().sub_(2**23)
    if (low == high).any():
        above[low == high] = 0
    magnitude, right = _descending(above.mul_(masks.flatten(1).char().mul_(2).sub_(1)))

    n = magnitude.shape[1]
    i = torch.arange(1, n + 1, dtype=torch.float64, device=maps.device)
    seen_right = right.cumsum(1)
    if_wrong = (seen_right + (n - i + 1)).div_(2 * n - i + 1)
    precision = (seen_right / i).sub_(if_wrong).mul_(right).add_(if_wrong)
    _join_ties(precision, magnitude, right, seen_right)
    return precision, right


def _descending(s: Tensor) -> tuple[Tensor, Tensor]:
    """The magnitudes of int32 rows in descending order, and which of them were of numbers above 0."""
    # |4s − 1| + 1 is 4|s| for s > 0 and 4|s| + 2 for s ≤ 0: with the sign in the key, the sort needs no
    # indices, and on the CPU NumPy's vectorised one, several times as fast as torch's, can do it.
    keys = s.mul_(4).sub_(1).abs_().add_(1).neg_()
    keys = torch.from_numpy(np.sort(keys.numpy())) if keys.device.type == "cpu" else keys.sort(dim=1).values
    keys.neg_()
    return keys >> 2, 1 - ((keys >> 1) & 1).double()


def _join_ties(precision: Tensor, magnitude: Tensor, right: Tensor, seen_right: Tensor) -> None:
    """Correct, in place, the precision at pixels of equal magnitude, which share one threshold."""
    n = magnitude.shape[1]
    row, column = (magnitude[:, 1:] == magnitude[:, :-1]).nonzero(as_tuple=True)
    upper = row * n + column  # flat positions of pixels that equal the next
    starts = torch.ones_like(upper, dtype=torch.bool)
    starts[1:] = upper[1:] != upper[:-1] + 1
    run = starts.cumsum(0) - 1
    first = upper[starts]
    last = first + run.bincount()
    tied, run = torch.cat([upper, last]), torch.cat([run, torch.arange(len(last), device=run.device)])

    right, seen_right = right.flatten(), seen_right.flatten()
    before, before_right = (first % n).double(), seen_right[first] - right[first]
    at_last, at_first = seen_right[last] / (last % n + 1), (n - before + before_right) / (2 * n - before)
    precision.view(-1)[tied] = torch.where(right[tied] > 0, at_last[run], at_first[run])


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


@dataclass(frozen=True, kw_only=True)
class PixelAccuracy(Metric):
    """Share of all pixels of the data set that are labelled rightly as foreground or background, in per cent.

    Columns: ``correct`` and ``labelled`` (:class:`SegmentationCounts`).
    """

    columns: ClassVar[tuple[str, ...]] = ("correct", "labelled")

    unit: str = "%"
    range: tuple[float, float] = (0.0, 100.0)

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The ratio of the sums over all images at k = 0."""
        counts = np.stack([columns["correct"], columns["labelled"]], axis=1)
        ends = [
            [0, counts[:, 1].mean()],
            [counts[:, 1].mean()] * 2,
        ]  # an image of mean size, all wrong or all right
        return {0: Statistic(counts, self.of_sums, ends=np.array(ends))}

    @staticmethod
    def of_sums(sums: np.ndarray) -> np.ndarray:
        """From sums of right and of all pixels (…, 2)."""
        return pixel_accuracy(sums[..., :1], sums[..., 1:])


@dataclass(frozen=True, kw_only=True)
class MeanAveragePrecision(Metric):
    """Mean over images of :func:`average_precision`, in per cent. Column: ``average_precision``."""

    columns: ClassVar[tuple[str, ...]] = ("average_precision",)
    scale: ClassVar[float] = 100.0

    unit: str = "%"
    range: tuple[float, float] = (0.0, 100.0)

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The mean at k = 0."""
        return {0: Statistic.mean(columns["average_precision"], self.scale)}


@dataclass(frozen=True, kw_only=True)
class MeanIoU(Metric):
    """Mean of the intersection over union of background and of foreground, in per cent.

    Both are ratios of sums over the data set (:func:`miou`). Columns: ``intersection`` and ``union``, pairs of
    (background, foreground).
    """

    columns: ClassVar[tuple[str, ...]] = ("intersection", "union")

    unit: str = "%"
    range: tuple[float, float] = (0.0, 100.0)

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The ratio of the sums over all images at k = 0."""
        counts = np.concatenate([stacked(columns["intersection"], 2), stacked(columns["union"], 2)], axis=1)
        union = counts[:, 2:].mean(axis=0)  # of a mean image, of which nothing is found or everything
        ends = np.array([[0, 0, *union], [*union, *union]])
        return {0: Statistic(counts, self.of_sums, ends=ends)}

    @staticmethod
    def of_sums(sums: np.ndarray) -> np.ndarray:
        """From sums of both intersections and of both unions (…, 4)."""
        return miou(sums[..., None, :2], sums[..., None, 2:])
