"""One ranking, whatever is ranked: pixels of an image or words of a document."""

import torch
from torch import Tensor

from metrics.checks import require_finite


def rank(scores: Tensor) -> Tensor:
    """Position of every entry of (B, …) in its sample's ranking, same shape, int32: 0 = most relevant.

    Ties go to the lower flat index, on every device and at every batch size: the earlier word, the upper
    pixel before the lower one and the left before the right. Raises ValueError for NaN or infinity.
    """
    require_finite("scores", scores)
    order = scores.flatten(1).argsort(dim=1, descending=True, stable=True)
    positions = torch.arange(order.shape[1], dtype=torch.int32, device=scores.device).expand_as(order)
    ranks = torch.empty_like(order, dtype=torch.int32).scatter_(1, order, positions)
    return ranks.view(scores.shape)
