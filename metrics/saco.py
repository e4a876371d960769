"""SaCo: do groups of units differ in their influence as they do in their relevance?

Wu et al., "On the Faithfulness of Vision Transformer Explanations", CVPR 2024: salience-guided faithfulness
coefficient.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.checks import require_shape


def rank_groups(ranks: Tensor, groups: int = 10) -> Tensor:
    """The group of each unit, 0 for the most relevant: int64 (batch, units) from :func:`metrics.rank` (batch,
    units).

    Group i of K holds the ranks from ⌊i · n/K⌋ to below ⌊(i + 1) · n/K⌋.

    Raises:
        ValueError: for fewer units than groups, or fewer than two groups.
    """
    require_shape("ranks", ranks, None, None)
    units = ranks.shape[1]
    if not 2 <= groups <= units:
        raise ValueError(f"groups={groups}: expected from 2 to the {units} units of a sample")
    bounds = torch.tensor([i * units // groups for i in range(1, groups)], device=ranks.device)
    return torch.bucketize(ranks.long(), bounds, right=True)


def group_salience(maps: Tensor, groups: Tensor, number: int = 10) -> Tensor:
    """Sum of the relevance of each group: (batch, number) float64 from two (batch, units)."""
    require_shape("groups", groups, *maps.shape)
    return maps.new_zeros(len(maps), number, dtype=torch.float64).scatter_add_(1, groups, maps.double())


def saco(salience: ArrayLike, drop: ArrayLike) -> np.ndarray:
    """The coefficient (…) in −1..1 from each group's salience and what removing it alone does, both (…,
    groups).

    Σ_{i<j} ±(s_i − s_j) / Σ_{i<j} |s_i − s_j|, with + where d_i ≥ d_j. Higher is better, about 0 for a random
    map. Depends on how peaked the map is. NaN where all groups are equally salient.

    Args:
        drop: p(x) − p(x without the group).
    """
    salience, drop = np.asarray(salience, dtype=np.float64), np.asarray(drop, dtype=np.float64)
    first, second = np.triu_indices(salience.shape[-1], k=1)
    difference = salience[..., first] - salience[..., second]
    sign = np.where(drop[..., first] >= drop[..., second], 1, -1)
    total = np.abs(difference).sum(-1)
    return np.where(total > 0, (sign * difference).sum(-1) / np.where(total > 0, total, 1), np.nan)
