"""What a map looks like, whatever it is worth: descriptions of one map, of magnitudes on the map's own grid.

None of them says that a map is good: one that is 1 in a single place is the sparsest of all and says nothing.
Upsampling changes all three.
"""

import torch
from torch import Tensor

from metrics.checks import require_finite, require_shape


def gini(values: Tensor) -> Tensor:
    """Gini index of |values| (batch, units): (batch,) float64, 0 for a constant map up to 1 − 1/units.

    Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", ICML 2020:
    sparseness. Nothing is added to a denominator, so it does not depend on the scale. A map of zeros is
    constant: 0.
    """
    v = _magnitudes(values).sort(dim=1).values
    n = v.shape[1]
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64, device=v.device) - n - 1
    total = v.sum(dim=1)
    return (v * weights).sum(dim=1) / (n * total.where(total > 0, 1))


def entropy(values: Tensor) -> Tensor:
    """Entropy of |values| (batch, units) over their sum, in nats: (batch,) float64 in 0..ln units.

    Bhatt, Weller, Moura, "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020:
    complexity. A map of zeros is constant: ln units.
    """
    v = _magnitudes(values)
    total = v.sum(dim=1, keepdim=True)
    share = (v / total.where(total > 0, 1)).where(total > 0, 1 / v.shape[1])
    return -torch.special.xlogy(share, share).sum(dim=1)


def effective_complexity(values: Tensor, threshold: float = 0.01) -> Tensor:
    """How many of |values| (batch, units) exceed ``threshold`` times the greatest of the same map: (batch,)
    int64.

    Nguyen, Martínez, "On Quantitative Aspects of Model Interpretability", 2020 (arXiv 2007.07584).
    """
    v = _magnitudes(values)
    return (v > threshold * v.amax(dim=1, keepdim=True)).sum(dim=1)


def tied_share(values: Tensor, valid: Tensor | None = None) -> Tensor:
    """Share of the units whose value another unit of the map has as well: (batch,) float64 in 0..1.

    Among these the order is that of their places, not the map's.

    Args:
        values: (batch, units).
        valid: (batch, units), False at units that do not count; None where all do.
    """
    require_shape("values", values, None, None)
    valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
    ordered = values.double().where(valid, torch.nan).sort(dim=1).values  # NaN last, and equal to nothing
    equal = ordered[:, 1:] == ordered[:, :-1]
    tied = torch.zeros_like(valid)
    tied[:, 1:] |= equal
    tied[:, :-1] |= equal
    return tied.sum(dim=1).double() / valid.sum(dim=1)


def _magnitudes(values: Tensor) -> Tensor:
    require_shape("values", values, None, None)
    require_finite("values", values)
    return values.double().abs()
