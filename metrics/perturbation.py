"""Perturbation test: accuracy while the pixels disappear in the order of their relevance.

Chefer, Gur, Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021, section 4.
"""

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.checks import require_shape


def removed(ranks: Tensor, fraction: float, most_relevant_first: bool) -> Tensor:
    """Which pixels are gone when ``fraction`` of them is masked: bool (B, H, W), True at ⌊H·W·fraction⌋ each.

    ``ranks`` (B, H, W) is :func:`metrics.rank` of the pixel maps. The positive test removes the most relevant
    pixels first, the negative test the least relevant, from the same ranking read backwards; so of equally
    relevant pixels the positive test removes the upper left first and the negative test the lower right, and
    even a constant map has two curves. Masks of growing fractions contain each other.

    Raises ValueError for a fraction outside [0, 1].
    """
    require_shape("ranks", ranks, None, None, None)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: expected a number in [0, 1], got {fraction}")
    pixels = ranks[0].numel()
    # Rounded first: 90 · 0.7 is 62.99999999999999 in floating point and means 63.
    count = int(round(pixels * fraction, 6))
    return ranks < count if most_relevant_first else ranks >= pixels - count


def accuracy_curve(hits: ArrayLike) -> np.ndarray:
    """Top-1 accuracy (…, steps) in 0..1 from hits (…, n, steps): one row per image, one column per step."""
    return np.asarray(hits, dtype=np.float64).mean(-2)


def auc(curve: ArrayLike, fractions: ArrayLike) -> np.ndarray:
    """Area under curves (…, steps) over the masked ``fractions`` (steps,) by the trapezoid rule, times 100.

    The steps 0, 0.1, …, 0.9 end at 0.9, so a perfect curve is worth 90, not 100. The area is linear in the
    curve: that of the mean curve is the mean of the areas under each image's own hits.

    Raises ValueError if the fractions do not increase or differ in number from the steps of the curve.
    """
    curve, fractions = np.asarray(curve, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    if fractions.shape != curve.shape[-1:]:
        raise ValueError(f"fractions: expected shape {curve.shape[-1:]}, as the curve, got {fractions.shape}")
    widths = np.diff(fractions)
    if (widths <= 0).any():
        raise ValueError(f"fractions: expected increasing numbers, got {fractions.tolist()}")
    return 100 * ((curve[..., 1:] + curve[..., :-1]) / 2 * widths).sum(-1)
