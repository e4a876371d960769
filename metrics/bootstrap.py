"""How sure a number is: intervals and paired tests by resampling the samples of a data set.

Efron & Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, chapter 13); Holm, A Simple
Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

CHUNK = 50_000_000  # weights in memory at a time, 400 MB


@dataclass(frozen=True)
class Statistic:
    """A metric of a data set, as a function of sums over its samples.

    So a resample costs one product with the numbers of times that each sample was drawn, and ratios of sums,
    such as mIoU, are recomputed from the sums, not averaged.

    Attributes:
        terms: what is summed, (n, terms), one row per sample.
        reduce: from sums (…, terms) to the metric (…).
    """

    terms: np.ndarray
    reduce: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def mean(cls, values: ArrayLike, scale: float = 1.0) -> "Statistic":
        """``scale`` times the mean of one number per sample (n,)."""
        values = np.asarray(values, dtype=np.float64)
        return cls(np.stack([values, np.ones_like(values)], axis=1), lambda s: scale * s[..., 0] / s[..., 1])

    @property
    def value(self) -> float:
        """The metric of the data set itself."""
        return float(self.reduce(self.terms.sum(axis=0)))


def bootstrap(statistics: Sequence[Statistic], resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Each statistic on the same resamples of n samples with replacement: (statistics, resamples).

    The draws depend on n, ``resamples`` and ``seed`` only, so numbers from different calls are paired too.

    Raises:
        ValueError: if the statistics are not of the same number of samples.
    """
    sizes = {len(statistic.terms) for statistic in statistics}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"statistics: expected one number of samples, 1 or more, got {sorted(sizes)}")
    (n,) = sizes
    rng = np.random.default_rng(seed)
    results = np.empty((len(statistics), resamples))
    step = max(1, CHUNK // n)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        times_drawn = rng.multinomial(n, np.full(n, 1 / n), size=stop - start).astype(np.float64)
        for row, statistic in zip(results, statistics, strict=True):
            row[start:stop] = statistic.reduce(times_drawn @ statistic.terms)
    return results


def interval(resampled: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of resampled values (…, resamples): its lower and upper ends (…)."""
    tail = 50 * (1 - level)
    low, high = np.percentile(resampled, [tail, 100 - tail], axis=-1)
    return low, high


def paired_p_value(resampled: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p-value of the hypothesis that two statistics, resampled together (resamples,), are equal.

    Twice the smaller share of resamples on which either is not above the other; never 0, as the samples
    themselves count as one resample.
    """
    difference = resampled - other
    rarer = min(np.count_nonzero(difference <= 0), np.count_nonzero(difference >= 0))
    return float(min(1.0, 2 * (1 + rarer) / (1 + len(difference))))


def holm(p_values: ArrayLike) -> np.ndarray:
    """p-values corrected for their number, in the same order, by Holm's step-down procedure."""
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(factors * p_values[order]))
    return corrected
