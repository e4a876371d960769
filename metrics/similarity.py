"""Similarity of two maps of one sample: for two classes, two inputs or two models.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (arXiv 1810.03292); Sixt, Granz & Landgraf,
"When Explanations Lie", ICML 2020 (arXiv 1912.09818), random logit.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metrics.bootstrap import Statistic
from metrics.checks import require_finite, require_shape
from metrics.metric import Columns, Metric


def spearman(maps: Tensor, others: Tensor, valid: Tensor | None = None) -> Tensor:
    """Spearman's rank correlation of each map with its partner, (batch,) float64 in −1..1.

    Equal values share their mean rank. NaN where either map is constant, which ranks nothing.

    Args:
        maps, others: (batch, units), signed: magnitudes are not taken.
        valid: (batch, units), False at units that do not count, such as padding.

    Raises:
        ValueError: for shapes that differ, NaN or infinity.
    """
    require_shape("maps", maps, None, None)
    require_shape("others", others, *maps.shape)
    require_finite("maps", maps)
    require_finite("others", others)
    valid = torch.ones_like(maps, dtype=torch.bool) if valid is None else valid
    return torch.stack(
        [_correlation(_ranks(m[v]), _ranks(o[v])) for m, o, v in zip(maps, others, valid, strict=True)]
    )


def _ranks(values: Tensor) -> Tensor:
    """Mean ranks of (units,), float64."""
    _, group, counts = values.unique(sorted=True, return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[group]


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(), b - b.mean()
    return (a @ b) / (a.norm() * b.norm())


@dataclass(frozen=True, kw_only=True)
class ClassSimilarity(Metric):
    """Mean similarity of the map to that for another class: maps that ignore the class have 1, lower is better.

    Random logit (Sixt et al., ICML 2020). Undefined, and left out, where either map is constant. Column:
    ``class_similarity``.
    """

    columns: ClassVar[tuple[str, ...]] = ("class_similarity",)

    higher_is_better: bool = False
    range: tuple[float, float] = (-1.0, 1.0)

    def statistics(self, columns: Columns) -> dict[int, Statistic]:
        """The mean at k = 0."""
        values = np.asarray(columns["class_similarity"], dtype=np.float64)
        return {0: Statistic.mean(values, defined=np.isfinite(values))}
