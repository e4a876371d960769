"""Faithfulness on random subsets that all methods share, as metrics on stored columns; formulas in
:mod:`metrics.subsets`."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from metrics.faithfulness import PerSample
from metrics.metric import Columns, stacked
from metrics.subsets import faithfulness_correlation, rank_correlation, relative_infidelity


@dataclass(frozen=True, kw_only=True)
class _OnSubsets(PerSample):
    """What these metrics have in common.

    Args:
        sizes: how many units the subsets have.
        subsets: how many there are of each size.
        chosen: the sizes whose numbers are averaged; None for all.
        quantity: of which the drop is: ``probability`` or ``logit``.

    Raises:
        ValueError: for settings that do not fit together.
    """

    columns: ClassVar[tuple[str, ...]] = ("subset_sums", "drop_probability", "drop_logit")

    sizes: Sequence[int]
    subsets: Sequence[int]
    chosen: Sequence[int] | None = None
    quantity: Literal["probability", "logit"] = "probability"

    def __post_init__(self):
        if self.quantity not in ("probability", "logit"):
            raise ValueError(f"quantity={self.quantity!r}: expected probability or logit")
        if len(self.sizes) != len(self.subsets):
            raise ValueError(f"subsets={self.subsets}: expected a number for each of the sizes {self.sizes}")
        if self.chosen is not None and (not self.chosen or not set(self.chosen) <= set(self.sizes)):
            raise ValueError(f"chosen={self.chosen}: expected some of the sizes {list(self.sizes)}")

    def values(self, columns: Columns) -> np.ndarray:
        """The mean over the chosen sizes, NaN where it is undefined for one of them."""
        total = sum(self.subsets)
        sums, drops = (
            stacked(columns[name], total).astype(np.float64)
            for name in ("subset_sums", f"drop_{self.quantity}")
        )
        ends = np.cumsum(self.subsets)
        found = [
            self.of_one_size(sums[:, end - number : end], drops[:, end - number : end])
            for size, number, end in zip(self.sizes, self.subsets, ends, strict=True)
            if self.chosen is None or size in self.chosen
        ]
        return np.mean(found, axis=0)

    @abstractmethod
    def of_one_size(self, sums: np.ndarray, drops: np.ndarray) -> np.ndarray:
        """The number of each sample, from the sums and drops of subsets of one size, both (samples, subsets)."""


@dataclass(frozen=True, kw_only=True)
class SubsetCorrelation(_OnSubsets):
    """Correlation of the relevance in random subsets with what removing them does.

    For one size the faithfulness correlation (Bhatt et al. 2020); the mean over several is sensitivity-n
    (Ancona et al. 2018). Undefined for a constant map, and where no subset changes anything.

    Args:
        ranks: Spearman's correlation in the place of Pearson's.
    """

    ranks: bool = False
    range: tuple[float, float] = (-1.0, 1.0)

    def of_one_size(self, sums: np.ndarray, drops: np.ndarray) -> np.ndarray:
        """Pearson's correlation, or Spearman's."""
        missing = np.isnan(sums).any(axis=1) | np.isnan(drops).any(axis=1)
        correlation = rank_correlation if self.ranks else faithfulness_correlation
        return np.where(missing, np.nan, correlation(np.nan_to_num(sums), np.nan_to_num(drops)))


@dataclass(frozen=True, kw_only=True)
class Infidelity(_OnSubsets):
    """Mean squared difference of relevance and drop, the map scaled to make it least, over the mean squared
    drop.

    Yeh et al. 2019; 1 for a map that says nothing of the drops. Undefined where no subset changes anything.
    """

    higher_is_better: bool = False

    def of_one_size(self, sums: np.ndarray, drops: np.ndarray) -> np.ndarray:
        """From 0 to 1."""
        return relative_infidelity(sums, drops)
