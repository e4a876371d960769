"""One class per sample or several."""

from collections.abc import Callable

import torch
from torch import Tensor


def for_each_class(target: Tensor | None, explain: Callable[[Tensor | None], Tensor]) -> Tensor:
    """What ``explain`` returns for the class of each sample, or for each of its classes.

    Args:
        target: (batch,), or None for the predicted classes; or (batch, classes): several classes of each.
        explain: from (batch,) classes, or None, to (batch, ...). It reads a tape that was recorded once.

    Returns:
        (batch, ...), or (batch, classes, ...) for several.

    Raises:
        ValueError: for a target of another shape.
    """
    if target is None or target.ndim == 1:
        return explain(target)
    if target.ndim != 2 or target.shape[1] == 0:
        raise ValueError(
            f"target of shape {tuple(target.shape)}: expected (batch,), or (batch, classes) to explain "
            "several classes of each sample"
        )
    return torch.stack([explain(classes) for classes in target.unbind(dim=1)], dim=1)
