"""Do the sums of relevance over random subsets say what removing these subsets does?

The subsets are drawn without looking at the map, so one set of forward passes serves all methods: from a map,
only the sums are needed. All take arrays (…, subsets) of sums and of drops, v(x) − v(x without the subset),
and give (…).

Bhatt, Weller, Moura, IJCAI 2020: faithfulness correlation; Ancona et al., "Towards Better Understanding of
Gradient-based Attribution Methods", ICLR 2018: sensitivity-n; Yeh et al., "On the (In)fidelity and
Sensitivity of Explanations", NeurIPS 2019.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.checks import require_finite, require_shape


def draw_subsets(units: int, size: int, subsets: int, seed: int) -> Tensor:
    """Random subsets of ``size`` different units: their numbers, int64 (subsets, size).

    They depend on nothing but the arguments, so that all methods meet the same.

    Raises:
        ValueError: for a size below 1 or beyond the units.
    """
    if not 1 <= size <= units:
        raise ValueError(f"size={size}: expected from 1 to the {units} units of the sample")
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.choice(units, size, replace=False) for _ in range(subsets)]))


def subset_masks(subsets: Tensor, units: int) -> Tensor:
    """The units of each subset (…, size) as bool (…, units)."""
    return torch.zeros(*subsets.shape[:-1], units, dtype=torch.bool).scatter_(-1, subsets, True)


def subset_sums(maps: Tensor, subsets: Tensor) -> Tensor:
    """Sums of the relevance in subsets: (batch, subsets), float64.

    Args:
        maps: (batch, units), with their sign.
        subsets: numbers of units, (subsets, size) for all samples or (batch, subsets, size).
    """
    require_shape("maps", maps, None, None)
    require_finite("maps", maps)
    subsets = subsets.expand(len(maps), *subsets.shape[-2:]).to(maps.device)
    return maps.double().gather(1, subsets.flatten(1)).view(subsets.shape).sum(dim=2)


def faithfulness_correlation(sums: ArrayLike, drops: ArrayLike) -> np.ndarray:
    """Pearson's correlation of sums and drops (…, subsets): (…) in −1..1, higher is better.

    Bhatt et al. 2020; with subsets of one size n it is sensitivity-n (Ancona et al. 2018). NaN where sums or
    drops are constant, up to rounding.
    """
    return pearson(sums, drops)


def rank_correlation(sums: ArrayLike, drops: ArrayLike) -> np.ndarray:
    """Spearman's correlation of sums and drops (…, subsets): (…), as :func:`faithfulness_correlation`, of
    mean ranks."""
    return pearson(mean_ranks(sums), mean_ranks(drops))


def infidelity(sums: ArrayLike, drops: ArrayLike, scaled: bool = False) -> np.ndarray:
    """Mean squared difference of sums and drops (…, subsets): (…) from 0, lower is better (Yeh et al. 2019).

    Args:
        scaled: multiply the map by the number that makes this least, E[sum · drop] / E[sum²], first. Without that small
            maps are rewarded for being small. A map whose sums are all 0 stays as it is.
    """
    sums, drops = np.asarray(sums, dtype=np.float64), np.asarray(drops, dtype=np.float64)
    if scaled:
        power = (sums**2).mean(-1, keepdims=True)
        sums = sums * (sums * drops).mean(-1, keepdims=True) / np.where(power > 0, power, 1)
    return ((sums - drops) ** 2).mean(-1)


def relative_infidelity(sums: ArrayLike, drops: ArrayLike) -> np.ndarray:
    """Scaled :func:`infidelity` over the mean squared drop: (…) in 0..1, 1 for a map that says nothing of the
    drops.

    NaN where no subset changes anything.
    """
    power = (np.asarray(drops, dtype=np.float64) ** 2).mean(-1)
    return np.where(power > 0, infidelity(sums, drops, scaled=True) / np.where(power > 0, power, 1), np.nan)


def pearson(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Pearson's correlation along the last dimension: (…) in −1..1, NaN where either is constant up to rounding."""
    a, b = (np.asarray(each, dtype=np.float64) for each in (a, b))
    centred = [each - each.mean(-1, keepdims=True) for each in (a, b)]
    norms = [np.linalg.norm(each, axis=-1) for each in centred]
    rounding = [1e-13 * np.linalg.norm(each, axis=-1) for each in (a, b)]
    varies = (norms[0] > rounding[0]) & (norms[1] > rounding[1])
    product = norms[0] * norms[1]
    return np.where(varies, (centred[0] * centred[1]).sum(-1) / np.where(varies, product, 1), np.nan)


def mean_ranks(values: ArrayLike) -> np.ndarray:
    """Ranks from 1 along the last dimension, (…, n) float64; equal values share the mean of theirs.

    NaN where one of the n values is.
    """
    values = np.asarray(values, dtype=np.float64)
    flat = values.reshape(-1, values.shape[-1])
    ranks = np.empty_like(flat)
    for row, out in zip(flat, ranks, strict=True):
        if np.isnan(row).any():
            out[:] = np.nan
            continue
        _, group, counts = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks.reshape(values.shape)
