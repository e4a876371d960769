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
        return letters(self.apart(level), self.differences.mean(axis=1)) if len(self.differences) else []


def letters(apart: ArrayLike, size: ArrayLike) -> list[str]:
    """The letters of M statistics, of which (M, M) pairs are told apart: :meth:`Comparisons.letters`.

    Args:
        size: (M,), the first letter belongs to the largest.
    """
    apart, size = np.asarray(apart), np.asarray(size)
    groups = [frozenset(range(len(apart)))] if len(apart) else []
    for i, j in zip(*np.nonzero(np.triu(apart)), strict=True):
        split = [g - {k} for g in groups if i in g and j in g for k in (i, j)]
        kept = {g for g in groups if not (i in g and j in g)} | set(split)
        groups = [g for g in kept if not any(g < other for other in kept)]
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
    (found,) = compare_cells(values[None], resampled[None], level)
    return found


def compare_cells(values: ArrayLike, resampled: ArrayLike, level: float = 0.95) -> list[Comparisons]:
    """Compare M statistics with one another in each of C cells, all pairs of all cells at once.

    As :func:`compare`; the maximum runs over the pairs of all cells, so the intervals hold for all together. Cells
    may be on scales of their own.

    Args:
        values: (C, M), of the samples themselves.
        resampled: (C, M, resamples), paired; also over cells that are of the same samples.

    Raises:
        ValueError: if the shapes do not fit, or a value is not finite.
    """
    values, resampled = np.asarray(values, dtype=np.float64), np.asarray(resampled, dtype=np.float64)
    if values.ndim != 2 or values.shape != resampled.shape[:2] or not np.isfinite(values).all():
        raise ValueError(
            f"values {values.shape}, resampled {resampled.shape}: expected finite (C, M) and (C, M, resamples)"
        )
    first, second = np.triu_indices(values.shape[1], k=1)
    cells = [
        _pairs(v[first] - v[second], _noise(r, first, second), _size(v, r))
        for v, r in zip(values, resampled, strict=True)
    ]
    samples = torch.from_numpy(np.ascontiguousarray(resampled))

    def differences(some: np.ndarray) -> Tensor:
        cell, pair = np.divmod(some, max(1, len(first)))
        return samples[cell, first[pair]] - samples[cell, second[pair]]

    d, noise = (np.concatenate([cell[i] for cell in cells]) if cells else np.empty(0) for i in (0, 1))
    p, critical = _step_down(d, noise, differences, level)
    return [
        _comparisons(values.shape[1], *cells[i], p[i * len(first) : (i + 1) * len(first)], critical, r)
        for i, r in enumerate(resampled)
    ]


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
    with np.errstate(invalid="ignore"):
        noise = np.array([_deviation(row) for row in stars])
    pairs, differences = _pairs(d, noise, _size(np.array(values), resampled)), torch.from_numpy(stars)
    p, critical = _step_down(*pairs, lambda some: differences[some], level)
    return _comparisons(len(values), *pairs, p, critical, resampled)


def _size(values: np.ndarray, resampled: np.ndarray) -> float:
    return max(np.abs(values).max(initial=0), np.nanmax(np.abs(resampled), initial=0))


def _pairs(d: np.ndarray, noise: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Differences and their noise, those of nothing but rounding being 0."""
    return np.where(np.abs(d) <= TIE * size, 0, d), np.where(noise <= TIE * size, 0, noise)


def _step_down(
    d: np.ndarray, noise: np.ndarray, resampled: Callable[[np.ndarray], Tensor], level: float
) -> tuple[np.ndarray, float]:
    """Corrected p-values (pairs,), and the quantile of the largest standardised deviation of any pair.

    Args:
        d, noise: (pairs,), differences and their standard deviation.
        resampled: gives the differences of some pairs on all resamples, (some, resamples).
    """
    statistic = np.divide(np.abs(d), noise, out=np.where(d == 0, 0, np.inf), where=noise > 0)
    # From the least clear pair on, so that the maximum over the pairs that are left runs along.
    order = np.argsort(statistic, kind="stable")
    if not len(order):
        return np.empty(0), 0.0
    draws = resampled(order[:1]).shape[1]
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
    return p, float(np.quantile(largest.numpy(), level, method="higher"))


def _comparisons(
    count: int, d: np.ndarray, noise: np.ndarray, p: np.ndarray, critical: float, resampled: np.ndarray
) -> Comparisons:
    first, second = np.triu_indices(count, k=1)
    width = critical * noise
    return Comparisons(
        _square(count, first, second, d, -d),
        _square(count, first, second, d - width, -d - width),
        _square(count, first, second, d + width, -d + width),
        _square(count, first, second, p, p, diagonal=1.0),
        float(np.median(width)) if len(d) else 0.0,
        first_share(resampled),
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
