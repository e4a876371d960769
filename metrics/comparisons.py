"""Which methods can be told apart: simultaneous intervals of all pairwise differences, rank intervals, letters.

All from one paired bootstrap over samples: the differences of every pair are standardised, and the largest of
them over all pairs decides at once for all (Romano & Wolf, "Exact and Approximate Stepdown Methods for Multiple
Hypothesis Testing", Journal of the American Statistical Association 100 (2005)). Unlike a correction of one
p-value for each pair, which no number of resamples makes small enough for 300 pairs, this needs no more
resamples for more methods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from metrics.bootstrap import TIE, Draws, Statistic

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

    def among(self, chosen: ArrayLike) -> "Comparisons":
        """Those of some statistics alone, (M,) boolean: what was said of all pairs at once holds for fewer.

        Their shares of first places are still those among all.
        """
        kept = np.flatnonzero(chosen)
        pairs = np.ix_(kept, kept)
        squares = {name: getattr(self, name)[pairs] for name in ("differences", "low", "high", "p_values")}
        return replace(self, **squares, first=self.first[kept])

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
    size = max(np.abs(values).max(initial=0), np.nanmax(np.abs(resampled), initial=0))
    first, second = np.triu_indices(len(values), k=1)
    samples = torch.from_numpy(np.ascontiguousarray(resampled))
    return _step_down(
        len(values),
        values[first] - values[second],
        _noise(resampled, first, second),
        lambda some: samples[first[some]] - samples[second[some]],
        size,
        first_share(resampled),
        level,
    )


def compare_defined(statistics: Sequence[Statistic], draws: Draws, level: float = 0.95) -> Comparisons:
    """Compare M statistics, each pair on the samples on which both are defined.

    As :func:`compare`, which it is where all are defined on the same samples. Else a difference is not that of
    the two values, and three differences need not add up.

    Args:
        statistics: of the same n samples, those on which one is not defined among them; more is better.
        draws: resamples of these n.

    Raises:
        ValueError: if one is defined on no sample, or a pair on none in common.
    """
    resampled, values = draws.of(statistics), [statistic.value for statistic in statistics]
    patterns = [statistic.known.tobytes() for statistic in statistics]
    if len(set(patterns)) <= 1:
        return compare(values, resampled, level)
    first, second = np.triu_indices(len(statistics), k=1)
    d, stars = np.empty(len(first)), np.empty((len(first), resampled.shape[1]))
    keys = np.array([patterns.index(pattern) for pattern in patterns])
    of_pair = np.sort(np.stack([keys[first], keys[second]]), axis=0)
    for one, other in np.unique(of_pair, axis=1).T:
        both = statistics[one].known & statistics[other].known
        if not both.any():
            raise ValueError("two statistics have no sample on which both are defined")
        members = np.flatnonzero(np.isin(keys, (one, other)))
        narrowed = [statistics[i].among(both) for i in members]
        own, of_own = np.array([s.value for s in narrowed]), draws.of(narrowed)
        pairs = np.flatnonzero((of_pair[0] == one) & (of_pair[1] == other))
        i, j = np.searchsorted(members, first[pairs]), np.searchsorted(members, second[pairs])
        d[pairs], stars[pairs] = own[i] - own[j], of_own[i] - of_own[j]
    size = max(np.abs(values).max(initial=0), np.nanmax(np.abs(resampled), initial=0))
    with np.errstate(invalid="ignore"):
        noise = np.array([_deviation(row) for row in stars])
    differences = torch.from_numpy(stars)
    return _step_down(
        len(values), d, noise, lambda some: differences[some], size, first_share(resampled), level
    )


def _step_down(
    count: int,
    d: np.ndarray,
    noise: np.ndarray,
    resampled: Callable[[np.ndarray], Tensor],
    size: float,
    share: np.ndarray,
    level: float,
) -> Comparisons:
    """From the differences of all pairs, (pairs,), their noise, and their resamples (some pairs, resamples)."""
    first, second = np.triu_indices(count, k=1)
    d[np.abs(d) <= TIE * size] = 0
    noise[noise <= TIE * size] = 0
    statistic = np.divide(np.abs(d), noise, out=np.where(d == 0, 0, np.inf), where=noise > 0)
    # From the least clear pair on, so that the maximum over the pairs that are left runs along.
    order = np.argsort(statistic, kind="stable")
    draws = resampled(order[:0]).shape[1]
    largest = torch.zeros(draws, dtype=torch.float64)
    exceeding = np.empty(len(d))
    step = max(1, BLOCK // max(1, draws))
    for start in range(0, len(order), step):
        some = order[start : start + step]
        maxima = _standardised(resampled(some), d[some], noise[some])
        maxima = torch.maximum(maxima, largest).cummax(dim=0).values
        largest = maxima[-1]
        reached = maxima >= torch.from_numpy(statistic[some] * (1 - TIE))[:, None]
        exceeding[some] = reached.sum(dim=1).numpy()
    p = (1 + exceeding) / (1 + draws)
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
        share,
    )


def _deviation(differences: np.ndarray) -> float:
    """The standard deviation of a difference over the resamples on which it is defined."""
    known = differences[~np.isnan(differences)]
    return float(known.std(ddof=1)) if len(known) > 1 else np.inf


def _noise(resampled: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The standard deviation of each pair's difference over the resamples on which all are defined."""
    known = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if known.shape[1] < 2:
        return np.full(len(first), np.inf)
    centred = torch.from_numpy(known - known.mean(axis=1, keepdims=True))
    products = (centred @ centred.T).numpy() / (known.shape[1] - 1)
    own = np.diag(products)
    return np.sqrt(np.maximum(own[first] + own[second] - 2 * products[first, second], 0))


def _standardised(differences: Tensor, d: np.ndarray, noise: np.ndarray) -> Tensor:
    """|d* − d| / s of some pairs on all resamples; 0 for pairs without noise."""
    deviation = differences - torch.from_numpy(d)[:, None]
    found = deviation.abs_() / torch.from_numpy(np.where(noise > 0, noise, np.inf))[:, None]
    return found.nan_to_num_(nan=torch.inf)


def first_share(resampled: np.ndarray) -> np.ndarray:
    """In which share of the resamples each of M statistics, (M, resamples), is the largest, ties split: (M,).

    A description of the resamples, not the probability that it is the best.
    """
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
