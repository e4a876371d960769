"""Which methods can be told apart: simultaneous intervals of all pairwise differences, rank intervals, letters.

All from one paired bootstrap over samples: the differences of every pair are standardised, and the largest of
them over all pairs decides at once for all (Romano & Wolf, "Exact and Approximate Stepdown Methods for Multiple
Hypothesis Testing", Journal of the American Statistical Association 100 (2005)). Unlike a correction of one
p-value for each pair, which no number of resamples makes small enough for 300 pairs, this needs no more
resamples for more methods.
"""

from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.bootstrap import TIE

BLOCK = 4_000_000  # numbers that are held at a time: standardised differences of some pairs on all resamples


@dataclass(frozen=True)
class Comparisons:
    """All pairs of M statistics of one data set, each (M, M): row minus column.

    Attributes:
        differences: of the statistics themselves.
        low, high: the ends of intervals that hold for all pairs at once.
        p_values: two-sided, corrected for all pairs, step by step; 1 on the diagonal.
        detectable: the smallest difference that so many samples could detect, between a pair of median noise.
        first: (M,), the share of resamples in which a statistic is the largest, ties split. A description,
            no probability.
    """

    differences: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_values: np.ndarray
    detectable: float
    first: np.ndarray

    def apart(self, level: float = 0.95) -> np.ndarray:
        """(M, M), boolean: which pairs are told apart."""
        return self.p_values < 1 - level

    def rank_intervals(self, level: float = 0.95) -> np.ndarray:
        """(M, 2): 1 + how many are significantly larger, and M − how many are significantly smaller."""
        apart, larger = self.apart(level), self.differences < 0
        above, below = (apart & larger).sum(axis=1), (apart & ~larger).sum(axis=1)
        return np.stack([1 + above, len(apart) - below], axis=1)

    def letters(self, level: float = 0.95) -> list[str]:
        """A compact letter display: two share a letter if and only if they are not told apart.

        Piepho, "An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons", Journal of
        Computational and Graphical Statistics 13 (2004): insert and absorb. The first letter belongs to the
        largest.
        """
        if not len(self.differences):
            return []
        apart = self.apart(level)
        groups = [frozenset(range(len(apart)))]
        for i, j in zip(*np.nonzero(np.triu(apart)), strict=True):
            split = [g - {k} for g in groups if i in g and j in g for k in (i, j)]
            kept = {g for g in groups if not (i in g and j in g)} | set(split)
            groups = [g for g in kept if not any(g < other for other in kept)]
        size = self.differences.mean(axis=1)
        groups.sort(key=lambda g: sorted((-size[i], i) for i in g))
        names = [_letter(n) for n in range(len(groups))]
        return ["".join(n for n, g in zip(names, groups, strict=True) if i in g) for i in range(len(apart))]


def compare(values: ArrayLike, resampled: ArrayLike, level: float = 0.95) -> Comparisons:
    """Compare M statistics of the same samples with one another, all pairs at once.

    With d a difference, d* the same on a resample and s the standard deviation of d*, the interval is d ± c s,
    c the ``level`` quantile of max |d* − d| / s over all pairs. The p-values go down from the clearest pair, the
    maximum running over the pairs that are left. Values within 1e-9 of their size are equal. A pair that
    differs by the same on every resample is told apart if it differs at all; a resample on which one of a pair
    is not defined, NaN, speaks against telling it apart.

    Args:
        values: (M,), of the samples themselves.
        resampled: (M, resamples), paired: as :func:`metrics.bootstrap` draws them.
        level: of the simultaneous intervals.

    Raises:
        ValueError: if the shapes do not fit, or a value is not finite.
    """
    values, resampled = np.asarray(values, dtype=np.float64), np.asarray(resampled, dtype=np.float64)
    if resampled.ndim != 2 or values.shape != resampled.shape[:1] or not np.isfinite(values).all():
        raise ValueError(
            f"values {values.shape}, resampled {resampled.shape}: expected finite (M,) and (M, resamples)"
        )
    count, size = len(values), max(np.abs(values).max(initial=0), np.nanmax(np.abs(resampled), initial=0))
    first, second = np.triu_indices(count, k=1)
    d = values[first] - values[second]
    d[np.abs(d) <= TIE * size] = 0
    noise = _noise(resampled, first, second)
    noise[noise <= TIE * size] = 0
    statistic = np.divide(np.abs(d), noise, out=np.where(d == 0, 0, np.inf), where=noise > 0)
    # From the least clear pair on, so that the maximum over the pairs that are left runs along.
    order = np.argsort(statistic, kind="stable")
    samples = torch.from_numpy(np.ascontiguousarray(resampled))
    largest = torch.zeros(samples.shape[1], dtype=samples.dtype)
    exceeding = np.empty(len(d))
    step = max(1, BLOCK // max(1, samples.shape[1]))
    for start in range(0, len(order), step):
        some = order[start : start + step]
        maxima = _standardised(samples, first[some], second[some], d[some], noise[some])
        maxima = torch.maximum(maxima, largest).cummax(dim=0).values
        largest = maxima[-1]
        reached = maxima >= torch.from_numpy(statistic[some] * (1 - TIE))[:, None]
        exceeding[some] = reached.sum(dim=1).numpy()
    p = (1 + exceeding) / (1 + samples.shape[1])
    down = order[::-1]
    p[down] = np.maximum.accumulate(p[down])
    p[d == 0] = 1
    critical = float(np.quantile(largest.numpy(), level, method="higher")) if len(d) else 0.0
    width = critical * noise
    detectable = float(np.median(width)) if len(d) else 0.0
    return Comparisons(
        _square(count, first, second, d, -d),
        _square(count, first, second, d - width, -d - width),
        _square(count, first, second, d + width, -d + width),
        _square(count, first, second, p, p, diagonal=1.0),
        detectable,
        _first(resampled),
    )


def _noise(resampled: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The standard deviation of each pair's difference over the resamples on which all are defined."""
    known = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if known.shape[1] < 2:
        return np.full(len(first), np.inf)
    centred = torch.from_numpy(known - known.mean(axis=1, keepdims=True))
    products = (centred @ centred.T).numpy() / (known.shape[1] - 1)
    own = np.diag(products)
    return np.sqrt(np.maximum(own[first] + own[second] - 2 * products[first, second], 0))


def _standardised(
    samples: Tensor, first: np.ndarray, second: np.ndarray, d: np.ndarray, noise: np.ndarray
) -> Tensor:
    """|d* − d| / s of some pairs on all resamples; 0 for pairs without noise."""
    deviation = samples[first] - samples[second] - torch.from_numpy(d)[:, None]
    found = deviation.abs_() / torch.from_numpy(np.where(noise > 0, noise, np.inf))[:, None]
    return found.nan_to_num_(nan=torch.inf)


def _first(resampled: np.ndarray) -> np.ndarray:
    known = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if not known.size:
        return np.full(len(resampled), np.nan)
    wins = known == known.max(axis=0)
    return (wins / wins.sum(axis=0)).mean(axis=1)


def _square(
    count: int, first: np.ndarray, second: np.ndarray, above: np.ndarray, below: np.ndarray, diagonal=0.0
) -> np.ndarray:
    square = np.full((count, count), float(diagonal))
    square[first, second], square[second, first] = above, below
    return square


def _letter(number: int) -> str:
    """a, b, … z, a1, b1, …"""
    again, place = divmod(number, len(ascii_lowercase))
    return ascii_lowercase[place] + (str(again) if again else "")
