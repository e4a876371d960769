"""How far two maps of one sample agree: Kendall's τ_b, and the overlap of their most relevant units.

Both take maps (batch, units) and give (batch,) float64; :func:`metrics.spearman` and :func:`metrics.pearson`
are two more. Agreement is no merit: two methods may be wrong together.
"""

import math

import torch
from torch import Tensor

from metrics.checks import require_finite, require_shape
from metrics.ranking import rank


def kendall(maps: Tensor, others: Tensor) -> Tensor:
    """Kendall's τ_b of each map with its partner: (batch,) float64 in −1..1, NaN where either is constant.

    Concordant less discordant pairs over the geometric mean of the numbers of pairs that are not tied in
    each.
    """
    _check(maps, others)
    result = []
    for a, b in zip(maps, others, strict=True):
        # One sample at a time: all pairs of 196 patches are 38,416.
        signs_a, signs_b = (torch.sign(v[:, None] - v[None, :]).double() for v in (a, b))
        untied = ((signs_a**2).sum() * (signs_b**2).sum()).sqrt()
        result.append((signs_a * signs_b).sum() / untied if untied > 0 else untied.new_tensor(float("nan")))
    return torch.stack(result) if result else maps.new_zeros(0, dtype=torch.float64)


def top_share_iou(maps: Tensor, others: Tensor, share: float = 0.1) -> Tensor:
    """Intersection over union of the most relevant units of both: (batch,) float64 in 0..1.

    Args:
        share: of the units that are taken, ⌊share · units + ½⌋ and at least one.
    """
    _check(maps, others)
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: expected a number in (0, 1]")
    k = max(1, math.floor(share * maps.shape[1] + 0.5))
    top, other = rank(maps) < k, rank(others) < k
    return (top & other).sum(dim=1).double() / (top | other).sum(dim=1)


def _check(maps: Tensor, others: Tensor) -> None:
    require_shape("maps", maps, None, None)
    require_shape("others", others, *maps.shape)
    require_finite("maps", maps)
    require_finite("others", others)
